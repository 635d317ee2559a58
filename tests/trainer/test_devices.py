"""Where module and batches are moved, and when; `meta` is the other device here."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

import typedloops
from tests.modules import Batch, Classifier, batches
from typedloops import FitLoop, ModuleHooks
from typedloops.errors import ConfigurationError
from typedloops.loops.run.computing import devices
from typedloops.loops.run.computing.devices import device_for, place, place_state
from typedloops.loops.run.over_batches import transfer_of

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer

META = torch.device("meta")
CPU = torch.device("cpu")


class Placed(Classifier, ModuleHooks[Batch]):
    """Writes down where it and its batches are."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []

    def where(self, batch: Batch) -> None:
        self.seen.append({tensor.device for tensor in (*batch, *self.parameters())})

    def configure_model(self) -> None:
        self.late = nn.Linear(2, 2)

    def configure_optimizers(self) -> Optimizer:
        self.seen.append({parameter.device for parameter in self.parameters()})
        return SGD(self.parameters(), lr=0.1, momentum=0.9)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.where(batch)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        self.where(batch)
        return {}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        self.where(batch)
        return {}

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.where(batch)
        return batch[1]


class Silent(Placed):
    """Has no loss to report: on `meta` there are no values."""

    automatic_optimization = False

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        assert loss.device == META


def test_module_and_batches_are_moved_before_anything_is_made_of_them() -> None:
    model, data = Silent(), batches(2)
    trainer = Trainer(max_epochs=1, accelerator="meta")
    trainer.fit(model, data, data)
    trainer.validate(model, data)
    trainer.test(model, data)
    assert [prediction.device for prediction in trainer.predict(model, data)] == [META] * 2
    assert model.seen == [{META}] * (1 + 2 + 2 + 2 + 2 + 2)
    assert {x.device for batch in data for x in batch} == {CPU}


@pytest.mark.parametrize("accelerator", ["auto", "cpu"])
def test_on_the_cpu_batches_are_the_loaders_own(accelerator: str) -> None:
    seen: list[object] = []

    class Looking(Classifier):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            seen.append(batch)
            return super().training_step(batch, batch_idx)

    data = batches(2)
    Trainer(max_epochs=1, accelerator=accelerator).fit(Looking(), data)
    FitLoop(max_epochs=1).run(Looking(), data)
    assert list(map(id, seen)) == list(map(id, data)) * 2
    assert transfer_of(CPU, None) is None


def test_a_module_that_is_elsewhere_stays_there_by_default_and_comes_when_asked() -> None:
    model = Silent().to(META)
    model.seen.clear()
    Trainer(max_epochs=1).fit(model, batches(1))
    assert model.seen == [{META}] * 2
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        Trainer(max_epochs=1, accelerator="cpu").fit(model, batches(1))


def test_a_module_spread_over_accelerators_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[object] = []

    class Spread(nn.Module):
        def to(self, *args: object, **kwargs: object) -> Any:
            moved.append(args)
            return self

    two = [torch.device("cuda:1"), torch.device("cuda:0")]
    monkeypatch.setattr(devices, "_on_accelerators", lambda module: iter(two))
    assert device_for("auto", Spread()) == two[0]
    place(Spread(), "auto", two[0])
    assert moved == []
    place(Spread(), "cuda:1", two[0])
    assert moved == [(two[0],)]


class Transferring(Placed):
    """Moves its batches itself, and looks at them before and after."""

    moves = True

    def note(self, name: str, batch: Batch) -> None:
        self.seen.append((name, batch[0].device.type, batch[0].dtype))

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        self.note("before", batch)
        return batch[0] * 2, batch[1]

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        self.note("after", batch)
        return batch[0] + 1, batch[1]

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        self.note("step", batch)
        return {}


class Owning(Transferring):
    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        self.seen.append(("own", device.type, dataloader_idx))
        return batch[0].to(device), batch[1]


F32, F64 = torch.float32, torch.float64
ORDERS: dict[str, tuple[type[Transferring], dict[str, Any], list[object]]] = {
    "around ours": (
        Transferring,
        {"accelerator": "meta"},
        [("before", "cpu", F32), ("after", "meta", F32), ("step", "meta", F32)],
    ),
    "around ours, converted": (
        Transferring,
        {"accelerator": "meta", "precision": "64-true"},
        [("before", "cpu", F32), ("after", "meta", F64), ("step", "meta", F64)],
    ),
    "around nothing": (Transferring, {}, [("before", "cpu", F32), ("after", "cpu", F32), ("step", "cpu", F32)]),
    "in place of ours": (
        Owning,
        {"accelerator": "meta"},
        [("before", "cpu", F32), ("own", "meta", 0), ("after", "meta", F32), ("step", "meta", F32)],
    ),
    "in place of ours, converted": (
        Owning,
        {"precision": "64-true"},
        [("before", "cpu", F32), ("own", "cpu", 0), ("after", "cpu", F64), ("step", "cpu", F64)],
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_the_modules_transfer_hooks(name: str) -> None:
    kind, settings, expected = ORDERS[name]
    model = kind()
    Trainer(**settings).validate(model, batches(1))
    assert model.seen == expected


@pytest.mark.parametrize("hooked", [False, True])
def test_the_values_of_converted_batches(hooked: bool) -> None:
    got: list[Tensor] = []

    class Keeping(Transferring if hooked else Placed):  # type: ignore[misc]
        def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
            got.append(batch[0])
            return {}

    Trainer(precision=64).validate(Keeping(), batches(1))
    x = batches(1)[0][0]
    assert torch.equal(got[0], (x * 2).double() + 1 if hooked else x.double())


def test_the_state_of_an_optimizer_goes_where_its_parameters_are() -> None:
    class Kept(Classifier):
        """Gives the same optimizer in every fit."""

        def __init__(self) -> None:
            super().__init__()
            self.own = AdamW(self.parameters(), lr=0.01)

        def configure_optimizers(self) -> Optimizer:
            return self.own

    model = Kept()
    Trainer(max_epochs=1).fit(model, batches(2))
    Trainer(max_epochs=1, precision="64-true").fit(model, batches(2))
    states = model.own.state.values()
    assert {value.dtype for state in states for name, value in state.items() if name != "step"} == {torch.float64}
    assert {float(state["step"]) for state in states} == {4.0}


def test_the_state_of_an_optimizer_goes_to_another_device_but_for_what_stays_on_the_host() -> None:
    parameter = nn.Parameter(torch.ones(2, device=META))
    optimizer = AdamW([parameter])
    optimizer.state[parameter] = {"step": torch.tensor(4.0), "exp_avg": torch.ones(2), "exp_avg_sq": torch.ones(2)}
    place_state([optimizer])
    assert {name: value.device for name, value in optimizer.state[parameter].items()} == {
        "step": CPU,
        "exp_avg": META,
        "exp_avg_sq": META,
    }


def test_a_state_in_other_numbers_stays_in_them() -> None:
    """As the 32-bit weights that some optimizers keep of a module in 16."""
    parameter = nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    optimizer = SGD([parameter])
    optimizer.state[parameter] = {"master": torch.ones(2), "kept": torch.ones(2, dtype=torch.uint8)}
    place_state([optimizer])
    assert [value.dtype for value in optimizer.state[parameter].values()] == [torch.float32, torch.uint8]


def test_a_state_that_is_there_already_is_not_copied() -> None:
    model = Classifier()
    optimizer = AdamW(model.parameters())
    model.loss(batches(1)[0]).backward()
    optimizer.step()
    before = [id(value) for state in optimizer.state.values() for value in state.values()]
    place_state([optimizer])
    assert [id(value) for state in optimizer.state.values() for value in state.values()] == before


class Backend:
    """What torch has for a kind of device."""

    def __init__(self, count: int) -> None:
        self.count = count

    def device_count(self) -> int:
        return self.count


def with_cuda(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    there = torch.device("cuda") if count else None
    monkeypatch.setattr(torch, "cuda", Backend(count))
    monkeypatch.setattr(devices, "available_accelerator", lambda: there)


@pytest.mark.parametrize(
    ("accelerator", "count", "expected"),
    [
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda"),
        ("gpu", 1, "cuda"),
        ("cuda", 1, "cuda"),
        ("cuda:1", 2, "cuda:1"),
        ("cpu", 2, "cpu"),
        ("cpu:0", 0, "cpu:0"),
        ("meta", 0, "meta"),
    ],
)
def test_which_device_is_meant(monkeypatch: pytest.MonkeyPatch, accelerator: str, count: int, expected: str) -> None:
    with_cuda(monkeypatch, count)
    assert device_for(accelerator, Classifier()) == torch.device(expected)


BAD: dict[str, tuple[object, int, str]] = {
    "none there": ("gpu", 0, "'gpu' is not available; there is only the CPU. Give one of these, or 'auto'."),
    "another one there": (
        "mps",
        2,
        "'mps' is not available; there is the CPU and 2 cuda. Give one of these, or 'auto'.",
    ),
    "not so many": (
        "cuda:2",
        2,
        "'cuda:2' is not available; there is the CPU and 2 cuda. Give one of these, or 'auto'.",
    ),
    "cuda": ("cuda", 0, "'cuda' is not available; there is only the CPU. Give one of these, or 'auto'."),
    "unknown": ("tpux", 0, "'tpux' is no accelerator. Give 'auto', 'cpu', 'gpu', or a device as in 'cuda:1'."),
    "a number": (1, 0, "1 is no accelerator. Give 'auto', 'cpu', 'gpu', or a device as in 'cuda:1'."),
    "nothing": (None, 0, "None is no accelerator. Give 'auto', 'cpu', 'gpu', or a device as in 'cuda:1'."),
}


@pytest.mark.parametrize("name", BAD)
def test_an_accelerator_that_is_not_there_is_told_when_the_trainer_is_made(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    accelerator, count, message = BAD[name]
    with_cuda(monkeypatch, count)
    with pytest.raises(ConfigurationError) as told:
        Trainer(accelerator=accelerator)
    assert str(told.value) == f"accelerator: {message}"


@pytest.mark.parametrize(("available", "expected"), [(True, "mps"), (False, None)])
def test_torch_before_it_had_accelerators(
    monkeypatch: pytest.MonkeyPatch, available: bool, expected: str | None
) -> None:
    monkeypatch.delattr(torch, "accelerator", raising=False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: available)
    monkeypatch.setattr(torch, "cuda", Backend(0))
    found = devices.available_accelerator()
    assert (None if found is None else found.type) == expected


def test_what_is_no_module_has_nothing_to_be_moved() -> None:
    class Plain:
        seen: list[object] = []

        def predict_step(self, batch: Batch, batch_idx: int) -> torch.device:
            return batch[0].device

    assert Trainer(accelerator="meta").predict(Plain(), batches(2)) == [META] * 2


def test_a_loop_without_a_trainer_uses_what_there_is() -> None:
    model = Placed()
    assert FitLoop(max_epochs=1).run(model, batches(2)).batches == 2
    assert model.seen == [{CPU}] * 3
