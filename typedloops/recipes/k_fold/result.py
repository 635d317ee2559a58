"""What folds come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite, nan
from statistics import fmean, stdev
from typing import Generic, cast

import torch
from torch import Tensor
from typing_extensions import TypeVar

from typedloops.errors import ConfigurationError
from typedloops.loops.fit.result import FitResult
from typedloops.loops.fit.stopping import StopReason
from typedloops.loops.run.computing.rng import isolated_rng
from typedloops.loops.run.saving.data import is_data
from typedloops.loops.run.saving.module_state import load_weights_into

M = TypeVar("M")
S = TypeVar("S", default=object)


@dataclass(frozen=True)
class Summary:
    """A metric over the folds.

    Args:
        mean: The mean of its values.
        std: Their standard deviation, as of a sample (n - 1); nan with fewer than two, or where one is not finite.
        values: Its value in each fold that has it.
    """

    mean: float
    std: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        has_std = len(values) > 1 and all(map(isfinite, values))
        return cls(fmean(values), stdev(values) if has_std else nan, tuple(values))

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.std:.4f}"


@dataclass(frozen=True)
class FoldResult(Generic[S]):
    """What a fold came to.

    Args:
        fold: Which one it was, from 0.
        train_items: How many items it was trained on.
        val_indices: The indices of the items that it was validated on.
        fit: What its fit returned.
        metrics: Those that belong to its weights: of the end of the fit, or of the validation that was the best.
        weights: The weights and buffers of its module by name, on the CPU; None where none are kept.
        predictions: What its module predicted of the items that it was validated on, a row for each; None where
            that was not asked for.
    """

    fold: int
    train_items: int
    val_indices: tuple[int, ...]
    fit: FitResult[S]
    metrics: Mapping[str, float]
    weights: Mapping[str, object] | None = None
    predictions: Tensor | None = None


@dataclass(frozen=True)
class KFoldResult(Generic[S]):
    """What a cross-validation came to; as a string, a table of its metrics.

    Args:
        folds: What each fold came to, in the order in which they were run.
        items: How many items there were.
    """

    folds: tuple[FoldResult[S], ...]
    items: int

    @property
    def metrics(self) -> dict[str, Summary]:
        """Every metric over the folds that have it."""
        names = dict.fromkeys(name for fold in self.folds for name in fold.metrics)
        return {name: Summary.of([fold.metrics[name] for fold in self.folds if name in fold.metrics]) for name in names}

    def modules(self, make_module: Callable[[int], M]) -> list[M]:
        """The module of each fold with its weights, for an `EnsembleModule` say.

        Args:
            make_module: The function that made them.

        Raises:
            ConfigurationError: No weights were kept.
        """
        with isolated_rng():
            return [_with_weights(make_module(fold.fold), fold) for fold in self.folds]

    def out_of_fold(self) -> Tensor:
        """For each item what was predicted by the module that had not seen it; the mean, where there were several.

        Returns:
            A row for each item, in their order.

        Raises:
            ConfigurationError: Predictions were not asked for, or there are items without one.
        """
        rows = [(fold, _rows_of(fold)) for fold in self.folds]
        first = rows[0][1]
        total = torch.zeros(self.items, *first.shape[1:], dtype=first.dtype)
        counts = torch.zeros(self.items, dtype=torch.int64)
        for fold, predictions in rows:
            total[list(fold.val_indices)] += predictions
            counts[list(fold.val_indices)] += 1
        if not counts.all():
            raise ConfigurationError(
                "KFoldResult.out_of_fold",
                f"{int((counts == 0).sum())} items have no prediction: not every fold was run, or no fold has them",
                "Run all folds, of a splitter that validates on each item.",
            )
        if (counts == 1).all():
            return total
        return total / counts.view(-1, *[1] * (total.ndim - 1))

    def __str__(self) -> str:
        summaries = self.metrics
        rows = [["fold", *summaries]]
        rows += [
            [str(fold.fold), *(f"{fold.metrics[name]:.4f}" if name in fold.metrics else "" for name in summaries)]
            for fold in self.folds
        ]
        rows.append(["mean", *map(str, summaries.values())])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )


def state_of(result: FoldResult[S]) -> dict[str, object]:
    """What is saved of a fold that is done; its items are those that the splitter gives again."""
    last = result.fit.last_output
    fit = replace(result.fit, last_output=None)
    return {
        "fold": result.fold,
        "fit": {**asdict(fit), "stop_reason": str(fit.stop_reason), "last_output": last if is_data(last) else None},
        "metrics": dict(result.metrics),
        "weights": None if result.weights is None else dict(result.weights),
        "predictions": result.predictions,
    }


def result_of(state: Mapping[str, object], train: Sequence[int], val: Sequence[int]) -> FoldResult[S]:
    """The fold that `state_of` was asked of, which had these items."""
    fit = dict(cast("Mapping[str, object]", state["fit"]))
    fit |= {
        "stop_reason": StopReason(str(fit["stop_reason"])),
        "steps_by_optimizer": tuple(cast("Sequence[int]", fit["steps_by_optimizer"])),
    }
    return FoldResult(
        fold=cast("int", state["fold"]),
        train_items=len(train),
        val_indices=tuple(val),
        fit=cast("FitResult[S]", FitResult[object](**fit)),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the fields that it had
        metrics=cast("Mapping[str, float]", state["metrics"]),
        weights=cast("Mapping[str, object] | None", state["weights"]),
        predictions=cast("Tensor | None", state["predictions"]),
    )


def _with_weights(module: M, fold: FoldResult[S]) -> M:
    if fold.weights is None:
        raise ConfigurationError(
            "KFoldResult.modules", "no weights were kept", 'Keep them: KFoldLoop(keep="last"), or "best".'
        )
    load_weights_into(f"fold {fold.fold}", module, fold.weights)
    return module


def _rows_of(fold: FoldResult[S]) -> Tensor:
    if fold.predictions is None:
        raise ConfigurationError(
            "KFoldResult.out_of_fold", "no predictions were made", "Ask for them: KFoldLoop(out_of_fold=True)."
        )
    if len(fold.predictions) != len(fold.val_indices):
        raise ConfigurationError(
            f"KFoldResult.out_of_fold: fold {fold.fold}",
            f"there are {len(fold.predictions)} predictions of {len(fold.val_indices)} items",
            "Let the loader to validate on give each item once, without a limit, and `predict_step` a row for each.",
        )
    return fold.predictions
