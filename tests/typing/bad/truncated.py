# pyright: reportUnknownMemberType=false
"""Steps whose hidden state does not come back as it was given."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from typing_extensions import TypedDict

from tests.typing.good.models import Batch, batches
from typedloops import HiddenOutput, Trainer

Hidden = tuple[Tensor, Tensor]
data, trainer = batches(), Trainer(max_epochs=1)


class Optimized(nn.Module):
    truncated_bptt_steps = 2

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


class OtherState(Optimized):
    def training_step(self, batch: Batch, batch_idx: int, hiddens: Tensor | None) -> HiddenOutput[Hidden]:
        return {"loss": batch[0].sum(), "hiddens": (batch[0], batch[0])}


class NeverNone(Optimized):
    def training_step(self, batch: Batch, batch_idx: int, hiddens: Tensor) -> HiddenOutput[Tensor]:
        return {"loss": batch[0].sum(), "hiddens": hiddens}


class OnlyLoss(TypedDict):
    loss: Tensor


class Forgets(Optimized):
    def training_step(self, batch: Batch, batch_idx: int, hiddens: Tensor | None) -> OnlyLoss:
        return {"loss": batch[0].sum()}


class OtherName(Optimized):
    def training_step(self, batch: Batch, batch_idx: int, hidden: Tensor | None) -> HiddenOutput[Tensor]:
        return {"loss": batch[0].sum(), "hiddens": batch[0]}


class Fits(Optimized):
    def training_step(self, batch: Batch, batch_idx: int, hiddens: Tensor | None) -> HiddenOutput[Tensor]:
        return {"loss": batch[0].sum(), "hiddens": batch[0]}


trainer.fit(OtherState(), data)  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(NeverNone(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(Forgets(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(OtherName(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(Fits(), [1, 2])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(Fits(), data, data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
