"""What an evaluation returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from typedloops.loops.run.metrics import MetricValues


@dataclass(frozen=True)
class LoaderResult:
    """The evaluation of one loader.

    Args:
        batches: How many batches were evaluated.
        metrics: The mean of each scalar that the step returned or logged, weighted by
            the batches' sizes.
    """

    batches: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class EvaluationResult:
    """The evaluation of every loader, in their order.

    Args:
        dataloaders: What each loader gave.
        logged: What was logged outside of the loaders, as in `on_validation_epoch_end`.
    """

    dataloaders: tuple[LoaderResult, ...] = ()
    logged: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def batches(self) -> int:
        """How many batches were evaluated in all."""
        return sum(loader.batches for loader in self.dataloaders)

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics by name; those of several loaders by `name/dataloader_idx_<i>`.

        Asked for one that is not there, it says which there are.
        """
        if len(self.dataloaders) == 1:
            return MetricValues({**self.dataloaders[0].metrics, **self.logged})
        of_loaders = {
            f"{name}/dataloader_idx_{i}": value
            for i, loader in enumerate(self.dataloaders)
            for name, value in loader.metrics.items()
        }
        return MetricValues({**of_loaders, **self.logged})
