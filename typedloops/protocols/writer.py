"""What a prediction asks of something that takes its predictions."""

from __future__ import annotations

from typing_extensions import Protocol, TypeVar

Q_contra = TypeVar("Q_contra", contravariant=True)
B_contra = TypeVar("B_contra", contravariant=True, default=object)


class PredictionWriter(Protocol[Q_contra, B_contra]):
    """Takes predictions one at a time, so that none need be kept.

    A writer that is a context manager is entered before the first batch and left when the last
    prediction is written, or with the error that ended the run; it cannot swallow that.  One that has
    a `close` instead is closed then.
    """

    def write(self, prediction: Q_contra, batch: B_contra, batch_idx: int, dataloader_idx: int, /) -> object:
        """Take what `predict_step` returned.

        Args:
            prediction: What it returned.
            batch: For which batch, as the step was given it.
            batch_idx: Which batch of its loader, from 0.
            dataloader_idx: Which loader, from 0.
        """
        ...
