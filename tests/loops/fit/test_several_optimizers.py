"""Several optimizers in automatic optimization: turns, toggling, windows, counters, hooks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adam, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

import typedloops
from tests.modules import Batch, Stream, batches
from typedloops import Callback, FitLoop, OptimizerLoop, TrainerView
from typedloops._core import OptimizerStep
from typedloops.errors import EscapedStopIteration, ModuleError, OptimizerError, StateError
from typedloops.loops.fit.optimization.several import Rota, SeveralSteps
from typedloops.loops.fit.optimization.toggling import sharing, toggled

# Settings are taken from tables here, and some modules are wrong on purpose.
Trainer: Any = typedloops.Trainer

MAKE: dict[str, Callable[[Iterable[nn.Parameter]], Optimizer]] = {
    "SGD": lambda parameters: SGD(parameters, lr=0.1, momentum=0.9),
    "Adam": lambda parameters: Adam(parameters, lr=0.01),
    "LBFGS": lambda parameters: LBFGS(parameters, lr=0.1, max_iter=3),
}


class Two(nn.Module):
    """Two networks, one on top of the other, each with a loss and an optimizer of its own."""

    def __init__(self, *kinds: str, frequencies: Sequence[int] = ()) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.1))
        self.second = nn.Linear(8, 3)
        self.kinds = kinds or ("SGD", "Adam")
        self.frequencies = frequencies
        self.turns: list[tuple[int, int]] = []

    def loss_for(self, batch: Batch, index: int) -> Tensor:
        logits: Tensor = self.second(self.first(batch[0]))
        loss = nn.functional.cross_entropy(logits, batch[1])
        return loss if index == 0 else loss * 2 + logits.square().mean()

    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Any:
        self.turns.append((batch_idx, optimizer_idx))
        return self.loss_for(batch, optimizer_idx)

    def optimizers_of_ones_own(self) -> list[Optimizer]:
        return [MAKE[kind](part.parameters()) for kind, part in zip(self.kinds, (self.first, self.second), strict=True)]

    def configure_optimizers(self) -> Any:
        optimizers = self.optimizers_of_ones_own()
        if not self.frequencies:
            return optimizers
        return [{"optimizer": o, "frequency": n} for o, n in zip(optimizers, self.frequencies, strict=True)]


class Unfused(OptimizerLoop):
    def on_run_end(self) -> Any:
        return super().on_run_end()


def pair(*args: Any, kind: type[Two] = Two, **kwargs: Any) -> tuple[Any, Any]:
    torch.manual_seed(0)
    ours, theirs = kind(*args, **kwargs), kind(*args, **kwargs)
    theirs.load_state_dict(ours.state_dict())
    torch.manual_seed(1)
    return ours, theirs


def same_bits(a: nn.Module, b: nn.Module) -> bool:
    return all(map(torch.equal, a.state_dict().values(), b.state_dict().values()))


def trainer_of(fused: bool = True, **settings: Any) -> Any:
    trainer = Trainer(**{"max_epochs": 2, **settings})
    if not fused:
        trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=Unfused())
    return trainer


def by_hand(
    model: Two, data: Sequence[Batch], *, size: int = 1, clip: float | None = None, epochs: int = 2, cycle: str = ""
) -> None:
    """The loop that one writes: for each batch (or as `cycle` says) each optimizer, the other's parameters off."""
    torch.manual_seed(1)
    optimizers = model.optimizers_of_ones_own()
    parts = (model.first, model.second)

    def gradients(index: int, batch: Batch, divisor: int) -> Tensor:
        parts[1 - index].requires_grad_(False)
        loss = model.loss_for(batch, index)
        (loss / divisor if divisor > 1 else loss).backward()
        parts[1 - index].requires_grad_(True)
        return loss

    for _ in range(epochs):
        for batch_idx, batch in enumerate(data):
            start = batch_idx // size * size
            divisor = min(size, len(data) - start)
            active = [int(cycle[batch_idx // size % len(cycle)])] if cycle else [0, 1]
            for index in active:
                optimizer = optimizers[index]
                if batch_idx == start:
                    optimizer.zero_grad()
                if isinstance(optimizer, LBFGS):

                    def closure(index: int = index, batch: Batch = batch) -> Tensor:
                        optimizers[index].zero_grad()
                        return gradients(index, batch, 1)

                    optimizer.step(closure)
                    continue
                gradients(index, batch, divisor)
                if batch_idx - start + 1 == divisor:
                    if clip is not None:
                        nn.utils.clip_grad_norm_(parts[index].parameters(), clip)
                    optimizer.step()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_same_bits_as_by_hand(fused: bool, size: int, clip: float | None) -> None:
    ours, theirs = pair()
    result = trainer_of(fused, accumulate_grad_batches=size, gradient_clip_val=clip).fit(ours, batches(5))
    by_hand(theirs, batches(5), size=size, clip=clip)
    assert same_bits(ours, theirs)
    steps = 2 * -(-5 // size)
    assert (result.batches, result.optimizer_steps, result.steps_by_optimizer) == (10, 2 * steps, (steps, steps))


@pytest.mark.parametrize("kinds", [("LBFGS", "Adam"), ("SGD", "LBFGS"), ("LBFGS", "LBFGS")])
def test_an_optimizer_with_a_closure_among_them(kinds: tuple[str, str]) -> None:
    ours, theirs = pair(*kinds)
    result = trainer_of().fit(ours, batches(3))
    by_hand(theirs, batches(3))
    assert same_bits(ours, theirs)
    assert result.steps_by_optimizer == (6, 6)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    ("frequencies", "size", "count", "turns"),
    [
        ((3, 1), 1, 6, "000100"),
        ((1, 1), 1, 5, "01010"),
        ((1, 2), 1, 3, "011"),
        ((3, 1), 2, 9, "000000110"),
        ((1, 1), 3, 8, "00011100"),
    ],
)
def test_frequencies(fused: bool, frequencies: tuple[int, int], size: int, count: int, turns: str) -> None:
    """With windows a turn lasts for one; each epoch begins with the first optimizer."""
    ours, theirs = pair(frequencies=frequencies)
    result = trainer_of(fused, accumulate_grad_batches=size).fit(ours, batches(count))
    assert ours.turns == [(batch_idx, int(turn)) for batch_idx, turn in enumerate(turns)] * 2
    by_hand(theirs, batches(count), size=size, cycle="0" * frequencies[0] + "1" * frequencies[1])
    assert same_bits(ours, theirs)
    assert result.optimizer_steps == sum(result.steps_by_optimizer) == 2 * -(-count // size)


@given(st.lists(st.integers(1, 4), min_size=2, max_size=4), st.integers(1, 3))
def test_a_rota_is_what_one_would_write_out(frequencies: list[int], window: int) -> None:
    rota = Rota(len(frequencies), frequencies, window)
    written_out = [index for index, often in enumerate(frequencies) for _ in range(often * window)] * 2
    assert [rota.at(batch_idx) for batch_idx in range(len(written_out))] == [(index,) for index in written_out]
    assert written_out.index(len(frequencies) - 1) == rota.batches - 1


def test_a_rota_that_takes_long_takes_no_memory() -> None:
    rota = Rota(2, (10**12, 1), window=2)
    assert (rota.at(0), rota.at(2 * 10**12 - 1), rota.at(2 * 10**12), rota.at(2 * 10**12 + 2)) == (
        (0,),
        (0,),
        (1,),
        (0,),
    )
    assert rota.batches == 2 * 10**12 + 1


@pytest.mark.parametrize("where", ["list", "stream"])
def test_an_epoch_in_which_the_last_has_no_turn_is_told(where: str) -> None:
    ours, _ = pair(frequencies=(3, 1))
    if where == "list":
        with pytest.warns(UserWarning, match="the last of 2 optimizers has its first turn on batch 3, and an"):
            result = trainer_of().fit(ours, batches(3))
    else:
        result = trainer_of().fit(ours, Stream(batches(3)))
    assert result.steps_by_optimizer == (6, 0)


def test_a_fit_without_a_trainer() -> None:
    ours, theirs = pair()
    FitLoop(max_epochs=2).run(ours, batches(2))
    by_hand(theirs, batches(2))
    assert same_bits(ours, theirs)


class Watched(Two):
    """Notes in each turn which of its parameters learn; the first layer's bias is frozen."""

    def __init__(self, fails_at: int = -1) -> None:
        super().__init__()
        self.first[0].bias.requires_grad_(False)
        self.shared = nn.Parameter(torch.zeros(3))
        self.learning: list[set[str]] = []
        self.fails_at = fails_at

    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Tensor:
        self.learning.append({name for name, parameter in self.named_parameters() if parameter.requires_grad})
        if len(self.learning) == self.fails_at:
            raise ZeroDivisionError
        return self.loss_for(batch, optimizer_idx) + self.shared.sum() * self.second.weight.mean()

    def configure_optimizers(self) -> Any:
        return [
            SGD([*self.first.parameters(), self.shared], lr=0.1),
            SGD([*self.second.parameters(), self.shared], lr=0.1),
        ]


EVERYTHING = {"first.0.weight", "second.weight", "second.bias", "shared"}


@pytest.mark.parametrize("fused", [True, False])
def test_what_belongs_to_the_others_only_does_not_learn(fused: bool) -> None:
    model = Watched()
    trainer_of(fused, max_epochs=1).fit(model, batches(2))
    assert model.learning == [{"first.0.weight", "shared"}, {"second.weight", "second.bias", "shared"}] * 2
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == EVERYTHING


@pytest.mark.parametrize("fails_at", [1, 2])
def test_everything_learns_again_after_an_error(fails_at: int) -> None:
    model = Watched(fails_at)
    trainer = trainer_of()
    with pytest.raises(ZeroDivisionError):
        trainer.fit(model, batches(2))
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == EVERYTHING
    assert trainer.fit_loop.epoch_loop.batch_loop.optimizer_loop.optim_progress.optimizer_position == fails_at - 1


def test_toggling_inside_of_toggling_restores_what_was() -> None:
    first, second, third = (SGD([nn.Parameter(torch.ones(1))], lr=0.1) for _ in range(3))

    def learning() -> list[bool]:
        return [optimizer.param_groups[0]["params"][0].requires_grad for optimizer in (first, second, third)]

    with toggled(first, [first, second, third]):
        assert learning() == [True, False, False]
        with toggled(second, [first, second, third]):
            assert learning() == [False, False, False]
        assert learning() == [True, False, False]
    assert learning() == [True, True, True]


def test_parameters_added_during_the_fit_are_toggled() -> None:
    class Growing(Two):
        def on_train_epoch_start(self) -> None:
            if len(self.turns) == 4:
                self.kept[1].add_param_group({"params": [self.extra]})

        def configure_optimizers(self) -> Any:
            self.extra = nn.Parameter(torch.zeros(()))
            self.kept = super().configure_optimizers()
            return self.kept

        def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Any:
            self.turns.append((int(self.extra.requires_grad), optimizer_idx))
            return self.loss_for(batch, optimizer_idx)

    model = Growing()
    trainer_of().fit(model, batches(2))
    assert model.turns == [(1, 0), (1, 1)] * 2 + [(0, 0), (1, 1)] * 2


class Hooked(Two):
    """Asks in each hook for the index, each time in another place."""

    def __init__(self) -> None:
        super().__init__("SGD", "SGD")
        self.told: list[tuple[str, int]] = []

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer,
        optimizer_idx: int,
        optimizer_closure: Callable[[], Tensor],
    ) -> None:
        self.told.append(("step", optimizer_idx))
        optimizer.step(optimizer_closure)  # type: ignore[arg-type]

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer, optimizer_idx: int) -> None:
        self.told.append(("zero_grad", optimizer_idx))
        optimizer.zero_grad()

    def configure_gradient_clipping(
        self, optimizer: Optimizer, optimizer_idx: int, gradient_clip_val: float | None, gradient_clip_algorithm: str
    ) -> None:
        assert (gradient_clip_val, gradient_clip_algorithm) == (0.5, "norm")
        self.told.append(("clip", optimizer_idx))

    def on_before_zero_grad(self, optimizer: Optimizer, *, optimizer_idx: int) -> None:
        self.told.append(("before zero_grad", optimizer_idx))

    def on_before_optimizer_step(self, optimizer_idx: int, optimizer: Optimizer) -> None:
        assert isinstance(optimizer, SGD)
        self.told.append(("before step", optimizer_idx))

    def lr_scheduler_step(self, scheduler: StepLR, optimizer_idx: int, metric: float | None) -> None:
        assert metric is None
        self.told.append(("rate", optimizer_idx))
        scheduler.step()

    def configure_optimizers(self) -> Any:
        optimizers = self.optimizers_of_ones_own()
        return optimizers, [{"scheduler": StepLR(optimizers[1], 1), "interval": "step"}]


class Listening(Callback):
    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def on_before_optimizer_step(  # type: ignore[override]
        self, trainer: object, module: object, optimizer: Optimizer, optimizer_idx: int
    ) -> None:
        self.told.append((type(optimizer).__name__, optimizer_idx))


def test_hooks_are_told_whose_turn_it_is_where_they_ask() -> None:
    model, callback = Hooked(), Listening()
    trainer_of(max_epochs=1, gradient_clip_val=0.5, callbacks=[callback]).fit(model, batches(1))
    turn = ["step", "before zero_grad", "zero_grad", "before step", "clip"]
    assert model.told == [*((name, 0) for name in turn), *((name, 1) for name in turn), ("rate", 1)]
    assert callback.told == [("SGD", 0), ("SGD", 1)]


class Required(Two):
    """One optimizer, and a step that cannot be called without the index."""

    def configure_optimizers(self) -> Any:
        return SGD(self.parameters(), lr=0.1)


class Optional(Required):
    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int = 7) -> Any:
        return super().training_step(batch, batch_idx, optimizer_idx)


class Nothing(Required):
    def configure_optimizers(self) -> Any:
        return None


@pytest.mark.parametrize(("kind", "index"), [(Required, 0), (Optional, 7), (Nothing, 0)])
@pytest.mark.filterwarnings("ignore:.*configure_optimizers returned None")
def test_with_one_optimizer_the_index_is_given_to_a_step_that_needs_it(kind: type[Two], index: int) -> None:
    model = kind()
    result = trainer_of(max_epochs=1).fit(model, batches(2))
    assert model.turns == [(0, index), (1, index)]
    assert result.steps_by_optimizer == (() if kind is Nothing else (2,))


class Skipping(Two):
    """Returns a mapping, and nothing for the turns that the test names."""

    def __init__(self, skipped: set[tuple[int, int]]) -> None:
        super().__init__()
        self.skipped = skipped

    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Any:
        if (batch_idx, optimizer_idx) in self.skipped:
            return None
        return {"loss": self.loss_for(batch, optimizer_idx), "turn": torch.tensor(10.0 * batch_idx + optimizer_idx)}


@pytest.mark.parametrize(
    ("skipped", "last", "steps"),
    [
        (set[tuple[int, int]](), 11, (2, 2)),
        ({(1, 1)}, 10, (2, 1)),
        ({(1, 0)}, 11, (1, 2)),
        ({(1, 0), (1, 1)}, None, (1, 1)),
    ],
)
@pytest.mark.parametrize("fused", [True, False])
def test_the_output_is_that_of_the_last_that_had_one(
    fused: bool, skipped: set[tuple[int, int]], last: int | None, steps: tuple[int, int]
) -> None:
    outputs: list[Any] = []

    class Watching(Callback):
        def on_train_batch_end(
            self, trainer: TrainerView, module: object, outputs_of_batch: Any, batch: object, batch_idx: int
        ) -> None:
            outputs.append(outputs_of_batch)

    result = trainer_of(fused, max_epochs=1, callbacks=[Watching()]).fit(Skipping(skipped), batches(2))
    assert outputs[0]["turn"] == 1
    assert last is None if outputs[1] is None else outputs[1]["turn"] == last
    assert result.last_output is None if last is None else result.last_output["turn"] == last
    assert result.steps_by_optimizer == steps


def test_the_scalars_of_each_are_metrics() -> None:
    losses: dict[int, float] = {}

    class Model(Two):
        def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Any:
            loss = self.loss_for(batch, optimizer_idx)
            losses[optimizer_idx] = loss.item()
            return {"loss": loss, "doubled": loss.detach() * 2} if optimizer_idx else loss

    result = trainer_of().fit(Model(), batches(3))
    assert result.metrics == pytest.approx(
        {
            "train_loss": losses[1],
            "doubled": 2 * losses[1],
            "train_loss/optimizer_idx_0": losses[0],
            "train_loss/optimizer_idx_1": losses[1],
            "doubled/optimizer_idx_1": 2 * losses[1],
        }
    )


def test_what_is_logged_by_hand_goes_first() -> None:
    class Model(Two):
        trainer: TrainerView

        def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Any:
            trainer.log("train_loss/optimizer_idx_0", 5.0)
            return self.loss_for(batch, optimizer_idx)

    trainer = trainer_of()
    assert trainer.fit(Model(), batches(1)).metrics["train_loss/optimizer_idx_0"] == 5.0


@pytest.mark.parametrize("fused", [True, False])
def test_progress_of_all_and_of_each(fused: bool) -> None:
    positions: list[tuple[int, int]] = []

    class Watching(Callback):
        def on_before_optimizer_step(self, trainer: Any, module: object, optimizer: Optimizer) -> None:
            progress = trainer.fit_loop.epoch_loop.batch_loop.optimizer_loop.optim_progress
            positions.append((progress.optimizer_position, progress.optimizer_steps))

    trainer = trainer_of(fused, max_epochs=1, callbacks=[Watching()])
    trainer.fit(Skipping({(1, 0)}), batches(3))
    loop = trainer.fit_loop.epoch_loop.batch_loop.optimizer_loop
    progress = loop.optim_progress
    assert positions == [(0, 0), (1, 1), (1, 2), (0, 3), (1, 4)]
    assert [each.step.total.completed for each in progress.each] == [2, 3]
    assert [each.zero_grad.total.completed for each in progress.each] == [2, 3]
    assert (progress.optimizer_steps, progress.optimizer.zero_grad.total.started) == (5, 5)
    assert (progress.optimizer.step.total.ready, progress.optimizer_position) == (5, 0)

    saved = json.loads(json.dumps(trainer.fit_loop.state_dict()))
    loaded = trainer_of(fused, max_epochs=2)
    loaded.fit_loop.load_state_dict(saved)
    assert loaded.fit_loop.state_dict() == saved
    assert loaded.fit_loop.epoch_loop.batch_loop.optimizer_loop.optim_progress == progress
    result = loaded.fit(Two(), batches(3))
    assert (result.optimizer_steps, result.steps_by_optimizer) == (11, (5, 6))
    each = loaded.fit_loop.epoch_loop.batch_loop.optimizer_loop.optim_progress.each
    assert [one.step.total.completed for one in each] == [5, 6]


def test_going_on_has_the_same_bits_and_counts_as_not_stopping() -> None:
    ours, theirs = pair()
    trainer = trainer_of(max_epochs=1)
    trainer.fit(ours, batches(3))
    trainer.fit_loop.max_epochs = 3
    result = trainer.fit(ours, batches(3), resume=True)
    by_hand(theirs, batches(3), epochs=3)
    assert same_bits(ours, theirs)
    assert (result.optimizer_steps, result.steps_by_optimizer) == (18, (9, 9))
    each = trainer.fit_loop.epoch_loop.batch_loop.optimizer_loop.optim_progress.each
    assert [one.step.total.completed for one in each] == [9, 9]


@pytest.mark.parametrize("overflowing", [None, 1])
def test_scaled_losses(overflowing: int | None) -> None:
    """The second optimizer's gradients overflow, and the first goes on."""

    class Model(Two):
        def loss_for(self, batch: Batch, index: int) -> Tensor:
            return super().loss_for(batch, index) * (1e30 if index == overflowing else 1)

    ours, theirs = pair(kind=Model)
    result = trainer_of(max_epochs=1, precision="16-mixed").fit(ours, batches(3))
    torch.manual_seed(1)
    scaler, optimizers = torch.amp.GradScaler("cpu"), theirs.optimizers_of_ones_own()
    parts, steps = (theirs.first, theirs.second), [0, 0]

    def counting(index: int) -> Callable[..., None]:
        def count(*_: object) -> None:
            steps[index] += 1

        return count

    for index, optimizer in enumerate(optimizers):
        optimizer.register_step_post_hook(counting(index))
    for batch in batches(3):
        for index, optimizer in enumerate(optimizers):
            parts[1 - index].requires_grad_(False)
            with torch.autocast("cpu", torch.float16):
                loss = theirs.loss_for(batch, index)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            parts[1 - index].requires_grad_(True)
    assert same_bits(ours, theirs)
    assert list(result.steps_by_optimizer) == steps
    assert steps[0] == 3
    assert (steps[1] == 0) is (overflowing == 1)
    assert result.skipped_steps == 6 - sum(steps)


def test_a_new_fit_counts_from_zero_with_another_number_of_optimizers() -> None:
    trainer = trainer_of(max_epochs=1)
    assert trainer.fit(Two(), batches(2)).steps_by_optimizer == (2, 2)
    assert trainer.fit(Required(), batches(3)).steps_by_optimizer == (3,)
    assert trainer.fit_loop.epoch_loop.batch_loop.optimizer_loop.optim_progress.optimizer_steps == 3
    assert trainer.fit(Two(), batches(1)).steps_by_optimizer == (1, 1)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (Two, Required, "optimizers: the state is that of 2 optimizers, and the module has 1"),
        (Required, Two, "OptimizationProgress: the state is that of one optimizer, and the module has 2"),
    ],
)
def test_a_state_of_another_number_of_optimizers(before: type[Two], after: type[Two], told: str) -> None:
    first, second = trainer_of(max_epochs=1), trainer_of(max_epochs=2)
    first.fit(before(), batches(2))
    second.fit_loop.load_state_dict(first.fit_loop.state_dict())
    with pytest.raises(StateError) as caught:
        second.fit(after(), batches(2))
    assert str(caught.value) == f"{told}. Return from configure_optimizers as many as there were."


@pytest.mark.parametrize(("max_steps", "batch_count"), [(4, 2), (3, 2), (1, 1)])
def test_max_steps_counts_all_of_them_and_the_batch_is_finished(max_steps: int, batch_count: int) -> None:
    result = trainer_of(max_epochs=-1, max_steps=max_steps).fit(Two(), batches(3))
    assert (result.batches, result.optimizer_steps) == (batch_count, 2 * batch_count)


def test_a_scheduler_steps_when_its_own_optimizer_has() -> None:
    class Model(Two):
        def configure_optimizers(self) -> Any:
            optimizers = self.optimizers_of_ones_own()
            self.rates = [StepLR(optimizer, 1, gamma=0.5) for optimizer in optimizers]
            return [
                {"optimizer": o, "lr_scheduler": {"scheduler": rate, "interval": "step"}, "frequency": n}
                for o, rate, n in zip(optimizers, self.rates, (3, 1), strict=True)
            ]

    model = Model()
    trainer_of(max_epochs=1).fit(model, batches(6))
    assert [rate.last_epoch for rate in model.rates] == [5, 1]


def test_what_stops_an_iteration_by_accident_is_told() -> None:
    class Model(Two):
        def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Any:
            if optimizer_idx:
                raise StopIteration
            return self.loss_for(batch, 0)

    for kinds in (("SGD", "SGD"), ("SGD", "LBFGS")):
        with pytest.raises(EscapedStopIteration, match=r"^Model\.training_step: StopIteration escaped from it"):
            trainer_of().fit(Model(*kinds), batches(1))


class Untold(Two):
    def training_step(self, batch: Batch, batch_idx: int) -> Any:  # type: ignore[override]
        return self.loss_for(batch, 0)


class Sharing(Two):
    def configure_optimizers(self) -> Any:
        return [SGD(self.parameters(), lr=0.1), SGD(self.second.parameters(), lr=0.1)]


def configured(answer: Callable[[Optimizer, Optimizer], object]) -> Two:
    class Configured(Two):
        def configure_optimizers(self) -> Any:
            return answer(*self.optimizers_of_ones_own())

    return Configured()


def halving(optimizer: Optimizer) -> StepLR:
    return StepLR(optimizer, 1, gamma=0.5)


FORMS: dict[str, tuple[Callable[[Optimizer, Optimizer], object], tuple[float, float]]] = {
    # With the rates after an epoch, where both were 1.
    "a list": (lambda a, b: [a, b], (1, 1)),
    "a tuple": (lambda a, b: (a, b), (1, 1)),
    "a pair of lists": (lambda a, b: ([a, b], []), (1, 1)),
    "a pair of lists with one scheduler": (lambda a, b: ([a, b], [halving(b)]), (1, 0.5)),
    "a pair of tuples with two": (lambda a, b: ((a, b), (halving(b), halving(a))), (0.5, 0.5)),
    "a pair of lists with a dict": (
        lambda a, b: ([a, b], [{"scheduler": halving(a), "interval": "step"}, halving(b)]),
        (0.25, 0.5),
    ),
    "a pair of lists with Lightning's configuration": (
        lambda a, b: ([a, b], [LRSchedulerConfig(halving(b), interval="step")]),
        (1, 0.25),
    ),
    "a list of dicts": (lambda a, b: [{"optimizer": a}, {"optimizer": b, "lr_scheduler": halving(b)}], (1, 0.5)),
    "a tuple of dicts": (
        lambda a, b: (
            {"optimizer": a, "lr_scheduler": {"scheduler": halving(a), "interval": "step"}},
            {"optimizer": b, "lr_scheduler": LRSchedulerConfig(halving(b))},
        ),
        (0.25, 0.5),
    ),
    "a list of dicts with a plateau": (
        lambda a, b: [
            {"optimizer": a, "lr_scheduler": ReduceLROnPlateau(a, patience=0), "monitor": "train_loss"},
            {"optimizer": b},
        ],
        (1, 1),
    ),
    "an optimizer and a dict": (lambda a, b: [a, {"optimizer": b, "lr_scheduler": halving(b)}], (1, 0.5)),
    "frequencies": (
        lambda a, b: [{"optimizer": a, "frequency": 1}, {"optimizer": b, "frequency": 1, "lr_scheduler": halving(b)}],
        (1, 0.5),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_several(form: str) -> None:
    answer, rates = FORMS[form]
    model = Two()
    optimizers = [SGD(model.first.parameters(), lr=1.0), SGD(model.second.parameters(), lr=1.0)]
    model.configure_optimizers = lambda: answer(*optimizers)  # type: ignore[method-assign]
    result = trainer_of(max_epochs=1).fit(model, batches(2))
    assert result.steps_by_optimizer == ((1, 1) if form == "frequencies" else (2, 2))
    assert [optimizer.param_groups[0]["lr"] for optimizer in optimizers] == list(rates)


def test_with_one_optimizer_nothing_is_in_the_way() -> None:
    """Its step is the core's own, and one hook counts its steps."""
    seen: list[tuple[object, list[int]]] = []

    class Looking(Callback):
        def on_train_epoch_start(self, trainer: Any, module: object) -> None:
            step = trainer.fit_loop.epoch_loop.batch_loop.bind(module)
            seen.append((type(step), [len(each._optimizer_step_post_hooks) for each in trainer.optimizers]))

    trainer_of(max_epochs=1, callbacks=[Looking()]).fit(Required(), batches(1))
    trainer_of(max_epochs=1, callbacks=[Looking()]).fit(Two(), batches(1))
    assert seen == [(OptimizerStep, [1]), (SeveralSteps, [2, 2])]


REFUSED: dict[str, tuple[Callable[[], Two], str]] = {
    "a step that cannot be told": (
        Untold,
        (
            "Untold.configure_optimizers: it returned 2 optimizers, and Untold.training_step has no parameter "
            "`optimizer_idx` to be told which of them its loss is for. Define `def training_step(self, batch, "
            "batch_idx, optimizer_idx)`, which is called once for each; or set `automatic_optimization = False` on the "
            "module and step in training_step; or connect an optimizer loop of your own."
        ),
    ),
    "windows of a shared parameter": (
        Sharing,
        (
            "accumulate_grad_batches: optimizers 0 and 1 share a parameter, whose gradients cannot be added up for "
            "both. Give each parameter to one optimizer, give them frequencies, or step on every batch."
        ),
    ),
    "some frequencies": (
        lambda: configured(lambda a, b: [{"optimizer": a, "frequency": 2}, {"optimizer": b}]),
        (
            "Configured.configure_optimizers: 1 of its 2 optimizers have a frequency. Give one to each, so that they "
            "take turns, or to none."
        ),
    ),
    "a frequency of 0": (
        lambda: configured(lambda a, b: [{"optimizer": a, "frequency": 0}, {"optimizer": b, "frequency": 1}]),
        "Configured.configure_optimizers: the frequency of an optimizer is 0. Give an int of 1 or more.",
    ),
    "a frequency of one": (
        lambda: configured(lambda a, b: {"optimizer": a, "frequency": 2}),
        (
            "Configured.configure_optimizers: it gave a frequency, which says how several optimizers take turns, and "
            "there is one. Leave it out; accumulate_grad_batches has one step for several batches."
        ),
    ),
    "a scheduler of another": (
        lambda: configured(lambda a, b: ([a], [StepLR(b, 1)])),
        (
            "Configured.configure_optimizers: its StepLR is for an optimizer that it did not return. Return that "
            "optimizer as well, or make the scheduler with one that is returned."
        ),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done(case: str) -> None:
    make, told = REFUSED[case]
    with pytest.raises(OptimizerError) as caught:
        trainer_of(accumulate_grad_batches=2).fit(make(), batches(4))
    assert str(caught.value) == told


def test_what_is_shared_may_be_shared_on_every_batch() -> None:
    model = Sharing()
    assert sharing(model.configure_optimizers()) == (0, 1)
    assert trainer_of().fit(model, batches(2)).steps_by_optimizer == (4, 4)


def test_manual_optimization_gives_no_index() -> None:
    class Manual(Two):
        automatic_optimization = False

    with pytest.raises(ModuleError, match=r"^Manual\.training_step: it takes .*missing a required argument: 'opt"):
        trainer_of().fit(Manual(), batches(1))
