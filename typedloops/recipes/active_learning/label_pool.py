"""Items of which some have a label, and who knows the labels of the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic

import torch
from torch import Tensor
from torch.utils.data import TensorDataset
from typing_extensions import Protocol, TypeVar

from typedloops.data import BatchLoader
from typedloops.errors import ConfigurationError

B_co = TypeVar("B_co", covariant=True)
U_co = TypeVar("U_co", covariant=True)
Y = TypeVar("Y")
Y_co = TypeVar("Y_co", covariant=True)
Y_contra = TypeVar("Y_contra", contravariant=True)


class LabelPool(Protocol[B_co, U_co, Y_contra]):
    """All items, as loaders of those with a label and of those without."""

    def __len__(self) -> int:
        """How many items there are."""
        ...

    def labelled(self, indices: Sequence[int], labels: Sequence[Y_contra], /) -> Iterable[B_co]:
        """A loader to train on.

        Args:
            indices: Which items have a label, in the order in which they got it.
            labels: Their labels.
        """
        ...

    def unlabelled(self, indices: Sequence[int], /) -> Iterable[U_co]:
        """A loader to predict on: these items, once each and in this order."""
        ...


class Oracle(Protocol[Y_co]):
    """Knows labels: a person, an experiment, or in a benchmark the data set."""

    def __call__(self, indices: Sequence[int], /) -> Iterable[Y_co]:
        """The labels of these items, in their order.

        A generator is asked for one label after the other, and each is kept as soon as it is given.
        """
        ...


class KnownLabels(Generic[Y]):
    """An oracle whose answers are known beforehand.

    Args:
        labels: The label of every item.
    """

    def __init__(self, labels: Sequence[Y]) -> None:
        self.labels = labels

    def __call__(self, indices: Sequence[int]) -> list[Y]:
        return [self.labels[index] for index in indices]


class TensorPool:
    """Items in one tensor, with numbers for labels.

    Args:
        inputs: The items, along the first axis.
        batch_size: Items in a batch to train on, which come in a new order each epoch.
        predict_batch_size: Items in a batch to predict on; by default as many.

    Raises:
        ConfigurationError: A batch size is not positive.
    """

    def __init__(self, inputs: Tensor, *, batch_size: int, predict_batch_size: int | None = None) -> None:
        self.inputs = inputs
        self.batch_size = batch_size
        self.predict_batch_size: int = batch_size if predict_batch_size is None else predict_batch_size
        for name in ("batch_size", "predict_batch_size"):
            if (size := getattr(self, name)) < 1:
                raise ConfigurationError(f"TensorPool.{name}", f"it is {size}", "Give a positive number of items.")

    def __len__(self) -> int:
        return len(self.inputs)

    def labelled(self, indices: Sequence[int], labels: Sequence[float]) -> BatchLoader[tuple[Tensor, Tensor]]:
        """Batches of items and labels; whole numbers become int64."""
        dataset = TensorDataset(self.inputs[list(indices)], torch.tensor(labels))
        return BatchLoader(dataset, batch_size=self.batch_size, shuffle=True)

    def unlabelled(self, indices: Sequence[int]) -> list[Tensor]:
        """Batches of items."""
        size = self.predict_batch_size
        return [self.inputs[list(indices[start : start + size])] for start in range(0, len(indices), size)]
