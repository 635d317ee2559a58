"""The guard against numbers that are not finite: what it finds, where, and that it leaves nothing behind."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Optimizer

import typedloops
from tests.modules import Batch, Classifier, batches
from typedloops import ModuleHooks, StepLoop
from typedloops.errors import ConfigurationError, NonFiniteError
from typedloops.loops.run.watching import sighting
from typedloops.loops.run.watching.sighting import NOT_SEEN, Reader, Sighting

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer

LOSS = (
    "the loss is not finite. Look for a division by 0, the logarithm of 0, or too high a learning rate; "
    "detect_nonfinite='modules' says where in the module it begins."
)
OPERATION = "detect_anomaly=True says which operation made it."
GIVEN = "Look at what it was given, and at its parameters."


class Model(Classifier):
    """Something in it is not finite in the batch that it is told, counted over all epochs."""

    def __init__(self, what: str = "", at: int = 4, value: float = math.nan) -> None:
        super().__init__()
        self.net[2] = nn.Identity()
        self.what = what
        self.at = at
        self.value = value
        self.ran = -1

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        self.ran += 1
        bad = self.value if self.ran == self.at else 1.0
        x, y = batch
        loss = self.loss((x * bad, y) if self.what == "modules" else batch)
        if self.what == "loss":
            return loss * bad
        if self.what == "mapping":
            return {"loss": loss * bad, "other": torch.tensor(math.inf)}
        if self.what == "gradients" and bad != 1.0:
            bias = self.net.get_parameter("3.bias")
            bias.register_hook(lambda gradient: gradient * bad)
        return loss


def told(settings: dict[str, Any], model: Any, epochs: int = 3) -> str:
    with pytest.raises(NonFiniteError) as raised:
        Trainer(max_epochs=epochs, **settings).fit(model, batches(3), batches(1))
    return str(raised.value)


WHAT = ("loss", "gradients", "modules")
FOUND = [
    *((name, what, value, LOSS) for name in ("loss", "mapping") for what in WHAT for value in (math.nan, math.inf)),
    *(
        ("gradients", what, math.inf, f"the gradient of `net.3.bias` is not finite. {OPERATION}")
        for what in ("gradients", "modules")
    ),
    ("modules", "modules", math.nan, f"the output of `net.0`, a Linear, is not finite. {GIVEN}"),
    ("modules", "loss", math.nan, LOSS),
    ("modules", "gradients", math.nan, LOSS),
]


@pytest.mark.parametrize(("what", "looks_at", "value", "message"), FOUND)
def test_it_says_what_and_where_before_the_parameters_are_spoilt(
    what: str, looks_at: str, value: float, message: str
) -> None:
    model = Model(what, value=value)
    assert told({"detect_nonfinite": looks_at}, model) == f"epoch 1, batch 1, step 4: {message}"
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("clip", [{}, {"gradient_clip_val": 0.1}])
def test_clipping_does_not_hide_which_gradient_it_was(clip: dict[str, Any]) -> None:
    message = told({"detect_nonfinite": "gradients", "accumulate_grad_batches": 2, **clip}, Model("gradients", 3))
    assert message == f"epoch 1, batch 1, step 2: the gradient of `net.3.bias` is not finite. {OPERATION}"


def test_many_gradients_are_not_all_named() -> None:
    class All(Model):
        def on_after_backward(self) -> None:
            for parameter in self.parameters():
                assert parameter.grad is not None
                parameter.grad.fill_(math.nan)

    assert "the gradient of `net.0.weight`, `net.0.bias`, `net.3.weight` and 1 others is not finite." in told(
        {"detect_nonfinite": "gradients"}, All()
    )


@pytest.mark.parametrize("what", WHAT)
def test_what_is_not_looked_at_and_what_is_finite_raises_nothing(what: str) -> None:
    model, reference = (Model("gradients" if what == "loss" else "", at=5) for _ in range(2))
    reference.load_state_dict(model.state_dict())
    result = Trainer(max_epochs=2, detect_nonfinite=what).fit(model, batches(3), batches(1))
    Trainer(max_epochs=2).fit(reference, batches(3), batches(1))
    assert result.batches == 6
    for a, b in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.equal(a.nan_to_num(), b.nan_to_num()), "looking changes nothing"


class Manual(Model):
    automatic_optimization = False

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.own = SGD(self.parameters(), lr=0.1)

    def configure_optimizers(self) -> Optimizer:
        return self.own

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.own.zero_grad()
        loss.backward()
        self.own.step()
        return loss.detach()


class Own(StepLoop[Any, Batch, Tensor]):
    def advance(self, model: Any, batch: Batch, batch_idx: int) -> None:
        (optimizer,) = self.trainer.optimizers
        optimizer.zero_grad()
        self.output = model.training_step(batch, batch_idx)
        self.output.backward()
        optimizer.step()


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("kind", ["manual", "leaf"])
def test_it_looks_at_any_way_to_optimize(kind: str, what: str) -> None:
    trainer = Trainer(max_epochs=3, detect_nonfinite=what)
    if kind == "leaf":
        trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=Own())
    messages = {
        "loss": LOSS,
        "gradients": f"the gradient of `net.3.bias` is not finite. {OPERATION}",
        "modules": f"the output of `net.0`, a Linear, is not finite. {GIVEN}",
    }
    with pytest.raises(NonFiniteError) as raised:
        trainer.fit(Manual(what) if kind == "manual" else Model(what), batches(3))
    assert str(raised.value) == f"epoch 1, batch 1, step 4: {messages[what]}"


def test_optimizers_with_a_closure() -> None:
    class Searching(Model):
        def configure_optimizers(self) -> Optimizer:
            return LBFGS(self.parameters(), lr=0.1, max_iter=2)

    class Stepping(Model, ModuleHooks[Batch]):
        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Optimizer, optimizer_closure: Any) -> None:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    assert "the loss is not finite" in told({"detect_nonfinite": "loss"}, Searching("loss"))
    for kind in (Searching, Stepping):
        assert "the gradient of `net.3.bias` is not" in told({"detect_nonfinite": "gradients"}, kind("gradients"))


def test_a_parameter_without_a_name() -> None:
    class Hidden(Model):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = [torch.zeros(1, requires_grad=True)]

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            loss: Tensor = super().training_step(batch, batch_idx)
            return loss + self.hidden[0].sqrt().sum()

        def configure_optimizers(self) -> Optimizer:
            return SGD([*self.parameters(), *self.hidden], lr=0.1)

    assert "the gradient of `parameter 4 of optimizer 0` is not finite" in told(
        {"detect_nonfinite": "gradients"}, Hidden()
    )


def test_the_module_itself_and_outputs_of_any_shape() -> None:
    class Whole(Model):
        def forward(self, x: Tensor) -> Any:
            return {"logits": [(self.net(x), x.long())], "bad": (x / 0,)}

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            output = self(batch[0])
            return nn.functional.cross_entropy(output["logits"][0][0], batch[1])

    message = told({"detect_nonfinite": "modules"}, Whole())
    assert message == f"epoch 0, batch 0, step 0: the output of the module itself, a Whole, is not finite. {GIVEN}"


def test_what_runs_without_gradients_or_outside_of_training_is_not_looked_at() -> None:
    class Elsewhere(Model):
        def training_step(self, batch: Batch, batch_idx: int) -> Any:
            with torch.no_grad():
                self.net(batch[0] * math.nan)
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
            return super().validation_step((batch[0] * math.nan, batch[1]), batch_idx)

    for inference_mode in (True, False):
        trainer = Trainer(max_epochs=2, detect_nonfinite="modules", inference_mode=inference_mode)
        assert trainer.fit(Elsewhere(), batches(2), batches(1)).batches == 4


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_behind(fails: bool) -> None:
    class Kept(Model):
        def __init__(self) -> None:
            super().__init__("loss" if fails else "", 1)
            self.own = SGD(self.parameters(), lr=0.1)

        def configure_optimizers(self) -> Optimizer:
            return self.own

    model = Kept()
    trainer = Trainer(max_epochs=1, detect_nonfinite="modules")
    if fails:
        with pytest.raises(NonFiniteError):
            trainer.fit(model, batches(2))
    else:
        trainer.fit(model, batches(2))
    assert all(not module._forward_hooks for module in model.modules())
    assert not model.own._optimizer_step_pre_hooks


def test_nothing_is_installed_when_it_is_off() -> None:
    hooks: list[int] = []

    class Counting(Model):
        def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
            hooks.append(sum(len(module._forward_hooks) for module in self.modules()))

    Trainer(max_epochs=1).fit(Counting(), batches(2))
    assert hooks == [0, 0]


@pytest.mark.parametrize("what", ["gradients", "modules"])
def test_with_a_scaler_gradients_are_not_looked_at_and_that_is_said(what: str) -> None:
    trainer = Trainer(max_epochs=1, precision="16-mixed", detect_nonfinite=what)
    with pytest.warns(
        UserWarning, match=f"^detect_nonfinite='{what}' does not look at gradients with precision '16-mix"
    ):
        result = trainer.fit(Model("gradients", 1), batches(3))
    assert result.skipped_steps == 2, "the hook stays on the parameter"
    assert "the loss is not finite" in told({"detect_nonfinite": "loss", "precision": "16-mixed"}, Model("loss"))


@pytest.mark.parametrize("what", ["grads", True, 1])
def test_what_cannot_be_looked_at(what: object) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Trainer(detect_nonfinite=what)
    assert str(raised.value) == (
        f"detect_nonfinite: {what!r} cannot be looked at. "
        "Give 'loss', 'gradients' (and the loss), 'modules' (and both), or None."
    )


def test_the_first_sighting_stays() -> None:
    seen = Sighting(torch.device("cpu"))
    assert (int(seen.time), seen.which()) == (NOT_SEEN, [])
    for time, finite in enumerate([[True, True, True], [True, False, False], [False, True, True], [True, True, True]]):
        seen.look_at(torch.tensor(finite), time)
    assert (int(seen.time), seen.which()) == (1, [1, 2])


class Arrival:
    """A copy that is on its way until somebody says that it has arrived."""

    arrived = False

    def query(self) -> bool:
        return self.arrived


def test_elsewhere_numbers_are_read_when_they_have_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    arrivals: list[Arrival] = []

    def send(numbers: Tensor) -> tuple[Tensor, Arrival]:
        arrivals.append(Arrival())
        return numbers.clone(), arrivals[-1]

    monkeypatch.setattr(sighting, "send", send)
    number = torch.tensor(NOT_SEEN)
    reader = Reader(torch.device("cuda"))
    assert reader.read([number], 0, wait=False) is None
    number.fill_(1)
    assert reader.read([number], 1, wait=False) is None, "not arrived"
    arrivals[0].arrived = True
    assert reader.read([number], 2, wait=False) == (0, [NOT_SEEN]), "as it was at time 0"
    assert reader.read([number], 3, wait=False) is None, "sent anew"
    arrivals[1].arrived = True
    assert reader.read([number], 4, wait=False) == (3, [1])
    assert reader.read([number], 5, wait=False) is None
    assert reader.read([number], 6, wait=True) == (6, [1]), "at the end of an epoch there is no waiting for news"
    assert len(arrivals) == 3


def test_what_is_known_late_is_told_with_its_own_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device whose copies take three steps."""
    reads: list[int] = []

    def read(reader: Reader, numbers: list[Tensor], now: int, *, wait: bool) -> Any:
        reads.append(now)
        late = wait or now >= 6
        return (now, [int(number) for number in numbers]) if late else None

    monkeypatch.setattr(Reader, "read", read)
    for epochs, data in ((1, 8), (1, 5)):
        with pytest.raises(NonFiniteError, match=r"^epoch 0, batch 3, step 3: the loss is not finite\."):
            Trainer(max_epochs=epochs, detect_nonfinite="loss").fit(Model("loss", 3), batches(data))
    assert reads[-1] == 4, "at the end of the epoch in any case"


KINDS: dict[str, Callable[[], Tensor]] = {
    "empty": lambda: torch.zeros(0, requires_grad=True),
    "sparse": lambda: nn.Embedding(4, 2, sparse=True).weight,
    "complex": lambda: torch.ones(2, dtype=torch.complex64, requires_grad=True),
    "double": lambda: torch.ones(2, dtype=torch.float64, requires_grad=True),
}


@pytest.mark.parametrize("name", KINDS)
def test_gradients_of_any_kind(name: str) -> None:
    class Kinds(Model):
        def __init__(self) -> None:
            super().__init__()
            self.extra = nn.Parameter(KINDS[name]().detach())
            if name == "double":
                self.extra.register_hook(lambda gradient: gradient + 1e200)

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            loss: Tensor = super().training_step(batch, batch_idx)
            extra = (
                nn.functional.embedding(torch.tensor([1]), self.extra, sparse=True) if name == "sparse" else self.extra
            )
            return loss + (extra.abs() * 0).sum().float()

    assert Trainer(max_epochs=1, detect_nonfinite="gradients").fit(Kinds(), batches(2)).batches == 2
