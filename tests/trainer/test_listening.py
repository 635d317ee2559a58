"""Who is heard: compiled modules, and batch hooks that ask for the loader's index or do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import typedloops
from tests.modules import Batch, Classifier, Loader, batches
from typedloops import ModuleHooks
from typedloops.errors import ModuleError

# A compiled module has its methods without showing them.
Trainer: Any = typedloops.Trainer


class Hearing(Classifier, ModuleHooks[Batch]):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def on_fit_start(self) -> None:
        self.heard.append("fit")

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> int | None:
        return -1 if batch_idx == 1 else None

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        self.heard.append("transfer")
        return batch


def compiled(model: nn.Module) -> Any:
    """`torch.compile` without a compiler: what matters here is what the module is wrapped in."""
    return torch.compile(model, backend="eager")


def test_the_hooks_of_a_compiled_module_are_called() -> None:
    model = Hearing()
    result = Trainer(max_epochs=1).fit(compiled(model), batches(3))
    assert model.heard == ["fit", "transfer", "transfer"]
    assert result.batches == 1


def test_a_compiled_module_is_looked_at_as_the_module_that_it_is() -> None:
    with pytest.raises(ModuleError, match=r"^Linear\.configure_optimizers: there is no such method"):
        Trainer(max_epochs=1).fit(compiled(nn.Linear(1, 1)), batches(1))


class Recorder(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int | None] = []


class WithIndex(Recorder):
    def on_validation_batch_start(self, batch: Batch, batch_idx: int, dataloader_idx: int) -> None:
        self.seen.append(dataloader_idx)


class WithPositionalIndex(Recorder):
    def on_validation_batch_start(self, batch: Batch, batch_idx: int, dataloader_idx: int, /) -> None:
        self.seen.append(dataloader_idx)


class WithDefault(Recorder):
    def on_validation_batch_start(self, batch: Batch, batch_idx: int, dataloader_idx: int = 5) -> None:
        self.seen.append(dataloader_idx)


class WithoutIndex(Recorder):
    def on_validation_batch_start(self, batch: Batch, batch_idx: int) -> None:
        self.seen.append(None)


@pytest.mark.parametrize(
    ("kind", "one", "two"),
    [
        (WithIndex, [0], [0, 1]),
        (WithPositionalIndex, [0], [0, 1]),
        (WithDefault, [5], [0, 1]),
        (WithoutIndex, [None], [None, None]),
    ],
)
def test_a_batch_hook_is_given_the_index_of_the_loader_if_it_asks(
    kind: Callable[[], Recorder], one: list[int | None], two: list[int | None]
) -> None:
    model = kind()
    Trainer().validate(model, batches(1))
    assert model.seen == one
    model.seen.clear()
    Trainer().validate(model, [Loader(batches(1)), Loader(batches(1))])
    assert model.seen == two
    Trainer(max_epochs=1).fit(model, batches(1))
