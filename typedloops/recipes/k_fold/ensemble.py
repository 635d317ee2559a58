"""Several modules that predict together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, cast

import torch
from torch import Tensor, nn
from typing_extensions import TypeVar

from typedloops.errors import ModuleError
from typedloops.protocols.module import PredictModule

B = TypeVar("B")
Q = TypeVar("Q", default=Tensor)
R = TypeVar("R", default=Tensor)


def mean_of(predictions: Sequence[Tensor]) -> Tensor:
    """The mean of what several modules predict.

    Raises:
        ModuleError: They predict whole numbers, whose mean says nothing.
    """
    if not predictions[0].is_floating_point() and not predictions[0].is_complex():
        raise ModuleError(
            "EnsembleModule",
            f"its modules predict {predictions[0].dtype}, of which there is no mean",
            "Let them predict scores (logits, probabilities), or give `combine=`: a vote, say.",
        )
    return torch.stack(list(predictions)).mean(0)


class EnsembleModule(nn.Module, Generic[B, Q, R]):
    """Predicts with several modules; `trainer.predict(EnsembleModule(modules), loader)`.

    Args:
        modules: Predict the same batch each.
        combine: Makes one prediction of theirs; by default the mean of tensors.

    Raises:
        ModuleError: There is none, or one is no `nn.Module`.
    """

    def __init__(
        self, modules: Sequence[PredictModule[B, Q]], combine: Callable[[Sequence[Q]], R] | None = None
    ) -> None:
        super().__init__()
        if wrong := next((module for module in modules if not isinstance(module, nn.Module)), None):
            raise ModuleError("EnsembleModule", f"a {type(wrong).__name__} is no nn.Module", "Give modules of torch.")
        if not modules:
            raise ModuleError("EnsembleModule", "there are no modules", "Give one or more.")
        self.members: nn.ModuleList = nn.ModuleList(cast("Sequence[nn.Module]", modules))
        self.combine = combine

    def predict_step(self, batch: B, batch_idx: int) -> R:
        """What the modules predict together."""
        members = cast("Sequence[PredictModule[B, Q]]", list(self.members))
        predictions = [member.predict_step(batch, batch_idx) for member in members]
        if self.combine is not None:
            return self.combine(predictions)
        return cast("R", mean_of(cast("Sequence[Tensor]", predictions)))

    def forward(self, *inputs: object) -> Tensor:
        """The mean of what the modules' `forward` give."""
        return mean_of([cast("Tensor", member(*inputs)) for member in self.members])
