"""Values logged during a run, reduced to one each without waiting for the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import nan
from numbers import Real
from typing import TypeAlias, TypeGuard, cast

import torch
from torch import Tensor
from typing_extensions import Self

from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import MisuseError
from typedloops.loops.run.hidden import HIDDENS
from typedloops.protocols.trainer import Reduction

Scalar: TypeAlias = Tensor | float


class MetricValues(dict[str, float]):
    """Metrics by name; asked for one that is not there, it says which there are."""

    def __missing__(self, name: str) -> float:
        raise KeyError(f"there is no metric {name!r}; there are {sorted(self)}")


class Metric:
    """One reduced value; `add` neither copies to the host nor waits."""

    def __init__(self, reduce: Reduction) -> None:
        self.reduce: Reduction = reduce
        self._value: Scalar | None = None
        self._weight = 0.0

    def state_dict(self) -> dict[str, object]:
        return {"reduce": self.reduce, "value": self._value, "weight": self._weight}

    @classmethod
    def of_state(cls, state: Mapping[str, object]) -> Self:
        """A metric that goes on where its `state_dict` was taken."""
        metric = cls(cast("Reduction", state["reduce"]))
        metric._value, metric._weight = cast("Scalar | None", state["value"]), cast("float", state["weight"])
        return metric

    def add(self, value: Scalar, weight: float) -> None:
        if self.reduce == "mean":
            value = value.double() if isinstance(value, Tensor) else value
            # On a device a multiplication by one costs as much as any other.
            value = value if weight == 1 else value * weight
            self._weight += weight
        self._value = value if self._value is None else COMBINE[self.reduce](self._value, value)

    def compute(self) -> float:
        """The reduced value; this is where the host waits."""
        value = 0.0 if self._value is None else float(self._value)
        if self.reduce != "mean":
            return value
        return value / self._weight if self._weight else nan


def _minimum(a: Scalar, b: Scalar) -> Scalar:
    return torch.minimum(torch.as_tensor(a), torch.as_tensor(b))


def _maximum(a: Scalar, b: Scalar) -> Scalar:
    return torch.maximum(torch.as_tensor(a), torch.as_tensor(b))


COMBINE: dict[Reduction, Callable[[Scalar, Scalar], Scalar]] = {
    "last": lambda _, new: new,
    "mean": lambda old, new: old + new,
    "sum": lambda old, new: old + new,
    "min": _minimum,
    "max": _maximum,
}


class MetricStore:
    """The metrics of one phase of a run.

    Args:
        default: How values are reduced unless `log` is told otherwise.
    """

    def __init__(self, default: Reduction) -> None:
        self._default: Reduction = default
        self._metrics: dict[str, Metric] = {}
        self._taken: set[str] = set()
        self.closed: bool = False

    def log(self, name: str, value: Scalar, reduce: Reduction | None = None, batch_size: float | None = None) -> None:
        """Take a scalar; see `TrainerView.log`.

        Raises:
            MisuseError: It is no scalar, the name is already reduced otherwise, or nothing is counted any more.
        """
        if name in self._taken:
            # What steps return under a name no longer counts once it is logged by hand.
            self._taken.remove(name)
            del self._metrics[name]
        self._log(name, value, reduce, batch_size)

    def _log(self, name: str, value: Scalar, reduce: Reduction | None, batch_size: float | None) -> None:
        metric = self._metrics.get(name)
        if metric is None or (reduce is not None and reduce != metric.reduce):
            metric = self._metrics[name] = self._new_metric(name, reduce, metric)
        metric.add(_kept(name, value), 1.0 if batch_size is None else batch_size)

    def _new_metric(self, name: str, reduce: Reduction | None, before: Metric | None) -> Metric:
        if self.closed:
            raise MisuseError(
                f"log({name!r})", "the metrics of this phase are already taken", "Log it in its `..._epoch_end` hook."
            )
        if before is not None:
            raise MisuseError(
                f"log({name!r})",
                f"it is reduced by {before.reduce!r} and now by {reduce!r}",
                "Use one reduction for one name.",
            )
        if reduce is not None and reduce not in COMBINE:
            raise MisuseError(
                f"log({name!r})", f"{reduce!r} is not a reduction", f"Give one of {', '.join(map(repr, COMBINE))}."
            )
        return Metric(reduce or self._default)

    def close(self) -> None:
        """Refuse what is logged from now on: nobody would see it."""
        self.closed = True
        self._metrics = {}
        self._taken = set()

    def state_dict(self) -> dict[str, object]:
        metrics = {name: metric.state_dict() for name, metric in self._metrics.items()}
        return {"metrics": metrics, "taken": sorted(self._taken), "closed": self.closed}

    def load_state_of(self, state: object) -> None:
        """Go on where `state_dict` was taken; None changes nothing."""
        if not is_mapping(state):
            return
        metrics = cast("Mapping[str, Mapping[str, object]]", state["metrics"])
        self._metrics = {name: Metric.of_state(metric) for name, metric in metrics.items()}
        self._taken = set(cast("list[str]", state["taken"]))
        self.closed = bool(state["closed"])

    def compute(self) -> dict[str, float]:
        return {name: metric.compute() for name, metric in self._metrics.items()}

    def clear(self) -> None:
        self._metrics.clear()
        self._taken.clear()

    def take_scalars(self, output: object, loss_name: str, batch_size: int | None = None) -> None:
        """Log the scalars in a step's output, but for the names that were logged by hand."""
        by_hand = self._metrics.keys() - self._taken
        for name, value in scalars_of(output, loss_name).items():
            if name not in by_hand:
                self._taken.add(name)
                self._log(name, value, None, batch_size)


def _kept(name: str, value: object) -> Scalar:
    """`value` without its graph, safe from being changed in place, and not read from its device."""
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise MisuseError(f"log({name!r})", f"its value has shape {tuple(value.shape)}", "Log a scalar.")
        # A copy: a parameter is changed in place by its optimizer, any tensor may be by its owner.
        return value.detach().clone()
    if isinstance(value, Real):
        return float(value)
    raise MisuseError(
        f"log({name!r})", f"its value is a {type(value).__name__}", "Log a number or a tensor with one element."
    )


def scalars_of(output: object, loss_name: str) -> dict[str, Scalar]:
    """The scalars in a step's output: a bare one is the loss, as is the entry `loss` of a training step's mapping.

    Entries that are not scalars are not metrics; callbacks see them all the same.
    """
    if not isinstance(output, Mapping):
        return {loss_name: output} if is_scalar(output) else {}
    entries = cast("Mapping[str, object]", output)
    return {str(name): value for name, value in entries.items() if is_scalar(value)}


def training_scalars(output: object) -> dict[str, Scalar]:
    """The scalars in the output of a training step, its loss as `train_loss`."""
    if is_mapping(output):
        entries = {name: value for name, value in output.items() if name != HIDDENS}
        output = {"train_loss" if name == "loss" else name: value for name, value in entries.items()}
    return scalars_of(output, "train_loss")


def is_scalar(value: object) -> TypeGuard[Scalar]:
    if isinstance(value, Tensor):
        return value.numel() == 1
    return isinstance(value, Real) and not isinstance(value, bool)


def batch_size_of(batch: object) -> int | None:
    """The length of the first tensor found in a batch, or None: how much a batch weighs in a mean."""
    if isinstance(batch, Tensor):
        return batch.shape[0] if batch.ndim else None
    items = batch.values() if isinstance(batch, Mapping) else batch if is_list_or_tuple(batch) else ()
    return next((size for item in items if (size := batch_size_of(item)) is not None), None)
