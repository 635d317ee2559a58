"""How much a label would tell: scores of items without one, from what a module predicts for them."""

from __future__ import annotations

from collections.abc import Sequence, Sized

import torch
from torch import Tensor
from typing_extensions import Protocol, TypeVar

from typedloops.errors import ConfigurationError

Q_contra = TypeVar("Q_contra", contravariant=True)


class Acquisition(Protocol[Q_contra]):
    """Scores every item without a label; those with the highest scores are labelled next.

    Any function of this shape will do.
    """

    def __call__(self, predictions: Sequence[Q_contra], /) -> Tensor:
        """Score the items.

        Args:
            predictions: What `predict_step` gave for each batch, in the order of the items.

        Returns:
            One number for each item, of shape `(items,)`; which unit they have does not matter.
        """
        ...


def entropy_sampling(predictions: Sequence[Tensor]) -> Tensor:
    """The entropy of the predicted classes, in nats: high where the module spreads over many of them.

    Args:
        predictions: Logits or log-probabilities, a tensor `(batch, classes)` for each batch.

    Source:
        Settles: Active Learning Literature Survey, 2009, section 3.1.
    """
    probability_NC = probabilities(predictions)
    # Zero times the logarithm of zero is zero here.
    return -torch.xlogy(probability_NC, probability_NC).sum(1)


def margin_sampling(predictions: Sequence[Tensor]) -> Tensor:
    """How near the second class is to the first, from -1 to 0.

    Args:
        predictions: Logits or log-probabilities, a tensor `(batch, classes)` for each batch.

    Source:
        Scheffer, Decomain, Wrobel: Active Hidden Markov Models for Information Extraction, 2001.
    """
    first_N2 = probabilities(predictions).topk(2, dim=1).values
    return first_N2[:, 1] - first_N2[:, 0]


def least_confidence_sampling(predictions: Sequence[Tensor]) -> Tensor:
    """One minus the probability of the first class.

    Args:
        predictions: Logits or log-probabilities, a tensor `(batch, classes)` for each batch.

    Source:
        Lewis, Gale: A Sequential Algorithm for Training Text Classifiers, 1994.
    """
    return 1 - probabilities(predictions).amax(1)


def random_sampling(predictions: Sequence[Sized]) -> Tensor:
    """Random numbers of torch's generator: what every other score is to be compared with.

    Args:
        predictions: Anything that has, for each batch, as many parts as there are items.
    """
    return torch.rand(sum(map(len, predictions)))


def probabilities(predictions: Sequence[Tensor]) -> Tensor:
    """The probabilities of the classes, of shape `(items, classes)`, in 32 bits or more.

    Raises:
        ConfigurationError: The predictions have no axis of classes.
    """
    for logits_BC in predictions:
        if logits_BC.ndim != 2 or logits_BC.shape[1] < 2 or not logits_BC.is_floating_point():
            raise ConfigurationError(
                "predict_step",
                f"a score of classes needs logits (batch, classes), got {logits_BC.dtype} {tuple(logits_BC.shape)}",
                "Let it return the logits, or score its predictions with a function of your own.",
            )
    logits_NC = torch.cat(list(predictions))
    return logits_NC.to(torch.promote_types(logits_NC.dtype, torch.float32)).softmax(1)
