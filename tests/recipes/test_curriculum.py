"""Stages of one training: what each of them does, when it is over, and going on in any of them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import typedloops
from tests.recipes.kills import Killed, killed_and_resumed, seed_all
from typedloops import (
    Callback,
    FitLoop,
    FitLoopOf,
    Loop,
    ModelCheckpoint,
    Slot,
    StepLoop,
    StopReason,
    TrainerView,
    TrainingBatchLoop,
    TrainingEpochLoop,
)
from typedloops.errors import ConfigurationError
from typedloops.recipes.curriculum import CurriculumLoop, CurriculumStage, MetricPlateau, MetricReached, StageResult
from typedloops.testing import check_loop_contract

# Callbacks of all kinds are given here, and entry loops that take what the default one does not.
Trainer: Any = typedloops.Trainer

Batch = tuple[Tensor, Tensor]


@cache
def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    return torch.as_tensor(data.images, dtype=torch.float32)[:, None] / 16, torch.as_tensor(data.target)


def loader(size: int, batch_size: int = 8) -> DataLoader[Any]:
    """40 digits in another resolution."""
    image_B1HW, digit_B = digits()
    return DataLoader(
        TensorDataset(nn.functional.interpolate(image_B1HW[:40], size), digit_B[:40]),
        batch_size=batch_size,
        shuffle=True,
    )


def val(size: int) -> list[Batch]:
    image_B1HW, digit_B = digits()
    return [(nn.functional.interpolate(image_B1HW[100:130], size), digit_B[100:130])]


class Growing(nn.Module):
    """Takes images of any size; optimizes what is not frozen; gets another layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(4, 10)
        self.more: nn.Module = nn.Identity()
        self.scale = 1.0

    def forward(self, image_B1HW: Tensor) -> Tensor:
        logits: Tensor = self.head(self.more(self.body(image_B1HW)).mean((2, 3)))
        return self.scale * logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"val_loss": self.training_step(batch, batch_idx)}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam([weight for weight in self.parameters() if weight.requires_grad], lr=0.01)


def head_alone(model: Growing) -> None:
    model.body.requires_grad_(False)


def everything(model: Growing) -> None:
    model.body.requires_grad_(True)
    model.scale = 2.0


def grow(model: Growing) -> None:
    model.more = nn.Conv2d(4, 4, 1)
    nn.init.dirac_(model.more.weight)


def stages() -> list[CurriculumStage[Any, Any]]:
    """5 batches an epoch in the first and third stage, 3 in the second."""
    return [
        CurriculumStage(lambda: loader(4), prepare=head_alone, name="head"),
        CurriculumStage(lambda: loader(6, 16), val(6), prepare=everything, until=MetricPlateau("val_loss", "max", 2)),
        CurriculumStage(loader(8), val(8), prepare=grow),
    ]


def curriculum() -> CurriculumLoop:
    return CurriculumLoop([FitLoop(max_epochs=2), FitLoop(max_epochs=20), FitLoop(max_epochs=1)])


def run(trainer: Any) -> tuple[Any, list[Tensor]]:
    """The result, and the weights that are left."""
    model = Growing()
    result = trainer.fit(model, stages())
    return result, [weight.clone() for weight in model.parameters()]


def same(a: tuple[Any, list[Tensor]], b: tuple[Any, list[Tensor]]) -> bool:
    return a[0] == b[0] and len(a[1]) == len(b[1]) and all(map(torch.equal, a[1], b[1]))


# What the stages do


def test_each_stage_has_its_data_and_its_length() -> None:
    seed_all(1)
    told: list[object] = []

    class Tells(Callback[Growing]):
        def on_stage_start(self, trainer: TrainerView, module: Growing, index: int) -> None:
            told.append((index, module.head.weight.requires_grad, module.body[0].weight.requires_grad))

        def on_train_batch_start(self, trainer: TrainerView, module: Growing, batch: Any, batch_idx: int) -> None:
            told.append(tuple(batch[0].shape[2:]))

        def on_stage_end(self, trainer: TrainerView, module: Growing, result: StageResult) -> None:
            told.append(result)

    trainer = Trainer(fit_loop=curriculum(), callbacks=[Tells()])
    results, weights = run(trainer)
    first, second, third = results
    assert told == [
        (0, True, False),
        *[(4, 4)] * 10,
        first,
        (1, True, True),
        *[(6, 6)] * 3 * second.epochs,
        second,
        (2, True, True),
        *[(8, 8)] * 5,
        third,
    ]
    assert [each.name for each in results] == ["head", "stage_1", "stage_2"]
    assert [each.optimizer_steps for each in results] == [10, 3 * second.epochs, 5]
    assert [each.stop_reason for each in results] == [
        StopReason.MAX_EPOCHS,
        StopReason.REQUESTED,
        StopReason.MAX_EPOCHS,
    ]
    assert second.epochs < 20
    assert [set(each.metrics) for each in results] == [{"train_loss"}, *[{"train_loss", "val_loss"}] * 2]
    assert len(weights) == 6
    loop = trainer.fit_loop
    assert loop.completed_iterations == loop.total_iterations == 3


def test_it_is_what_one_writes_with_fits_one_after_the_other() -> None:
    seed_all(1)
    results, weights = run(Trainer(fit_loop=curriculum()))
    seed_all(1)
    model = Growing()
    for number, stage in enumerate(stages()):
        assert stage.prepare is not None
        prepare: Any = stage.prepare
        prepare(model)
        fit = FitLoop(max_epochs=results[number].epochs).run(model, stage.train_dataloaders, stage.val_dataloaders)
        assert fit.metrics == results[number].metrics
    assert all(map(torch.equal, weights, model.parameters()))


def test_alone_as_under_a_trainer() -> None:
    seed_all(1)
    expected = run(Trainer(fit_loop=curriculum()))
    seed_all(1)
    model, alone = Growing(), curriculum()
    results = alone.run(model, stages())
    assert same(expected, (results, list(model.parameters())))
    seed_all(1)
    model = Growing()
    assert same(expected, (alone.run(model, stages()), list(model.parameters()))), "and once more"


def test_another_tree_in_a_later_stage() -> None:
    class SignDescent(StepLoop[Growing, Batch, Tensor]):
        def advance(self, model: Growing, batch: Batch, batch_idx: int) -> None:
            self.output = model.training_step(batch, batch_idx)
            self.output.backward()
            for weight in model.parameters():
                if weight.grad is not None:
                    weight.data.sub_(0.01 * weight.grad.sign())

    tree = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(SignDescent())), max_epochs=1)
    loop = CurriculumLoop([FitLoop(max_epochs=1), FitLoop()])
    loop.stages[1] = tree
    alike = [CurriculumStage(lambda: loader(4), prepare=head_alone) for _ in range(2)]
    results = loop.run(Growing(), alike)
    assert [each.optimizer_steps for each in results] == [5, 0]
    assert [child.kind for child in loop.tree().children] == ["FitLoop", "FitLoopOf"]


def test_an_optimizer_is_made_anew_unless_the_module_keeps_it() -> None:
    class Keeps(Growing):
        kept: torch.optim.Optimizer | None = None

        def configure_optimizers(self) -> torch.optim.Optimizer:
            self.kept = self.kept or super().configure_optimizers()
            return self.kept

    steps: list[float] = []

    class Looks(Callback[Growing]):
        def on_train_end(self, trainer: TrainerView, module: Growing) -> None:
            steps.append(max(float(state["step"]) for state in trainer.optimizers[0].state.values()))

    plain = [CurriculumStage(loader(4)), CurriculumStage(loader(6))]
    for module in (Growing(), Keeps()):
        loop = CurriculumLoop([FitLoop(max_epochs=1), FitLoop(max_epochs=1)])
        Trainer(fit_loop=loop, callbacks=[Looks()]).fit(module, plain)
    assert steps == [5, 5, 5, 10]


def test_a_stop_ends_the_stage() -> None:
    class Stops(Callback[Growing]):
        def on_train_batch_end(
            self, trainer: TrainerView, module: Growing, outputs: object, batch: object, batch_idx: int
        ) -> None:
            trainer.should_stop = batch_idx == 1

    results, _ = run(Trainer(fit_loop=curriculum(), callbacks=[Stops()]))
    assert [(each.stop_reason, each.optimizer_steps) for each in results] == [(StopReason.REQUESTED, 2)] * 3


def test_loggers_get_the_stages_apart() -> None:
    class Keeps:
        def __init__(self) -> None:
            self.logged: dict[str, float] = {}

        def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
            self.logged |= metrics

        def finalize(self, status: str) -> None:
            pass

    logger = Keeps()
    results, _ = run(Trainer(fit_loop=curriculum(), loggers=[logger]))
    assert logger.logged == {f"{each.name}/{name}": value for each in results for name, value in each.metrics.items()}


def test_it_keeps_the_contract() -> None:
    def two() -> CurriculumLoop:
        return CurriculumLoop([FitLoop(max_epochs=1), FitLoop(max_epochs=1)])

    plain = [CurriculumStage(val(4), prepare=head_alone), CurriculumStage(val(6), val(6), prepare=everything)]
    check_loop_contract(two, Growing(), plain)


# Killed and gone on with


@cache
def whole() -> tuple[Any, list[Tensor]]:
    seed_all(3)
    return run(Trainer(fit_loop=curriculum()))


def make_trainer(callbacks: Sequence[object]) -> Any:
    return Trainer(fit_loop=curriculum(), callbacks=callbacks)


@pytest.mark.parametrize("batches", [1, 5, 9, 10, 11, 13, 15, -6, -5, -1])
def test_it_goes_on_bit_for_bit(tmp_path: Path, batches: int) -> None:
    """After any batch: of the last stage, which has five, as counted from the end."""
    at = batches if batches > 0 else sum(each.optimizer_steps for each in whole()[0]) + 1 + batches
    assert same(killed_and_resumed(make_trainer, run, tmp_path / "c", at, seed=3), whole())


class Kill(Callback[Growing]):
    """Saves at the n-th call of a hook, and ends the run there."""

    def __init__(self, hook: str, at: int, path: Path) -> None:
        self.calls = 0
        self.at = at
        self.path = path
        setattr(self, hook, self.heard)

    def heard(self, trainer: TrainerView, *_: object) -> None:
        self.calls += 1
        if self.calls == self.at:
            trainer.save_checkpoint(self.path, when_written=self.kill)

    def kill(self, path: Path) -> None:
        raise Killed


HOOKS = ("on_stage_start", "on_stage_end", "on_fit_start", "on_fit_end", "on_train_epoch_end", "on_validation_end")


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("hook", HOOKS)
def test_it_goes_on_from_any_hook(tmp_path: Path, hook: str, at: int) -> None:
    seed_all(3)
    with pytest.raises(Killed):
        run(make_trainer([Kill(hook, at, tmp_path / "c")]))
    seed_all(99)
    trainer = make_trainer([])
    trainer.load_checkpoint(tmp_path / "c", exact=True)
    assert same(run(trainer), whole())
    seed_all(3)
    assert same(run(trainer), whole()), "the next run begins anew"


def test_it_goes_on_where_its_rule_has_ended_a_stage(tmp_path: Path) -> None:
    """Saved at the end of the very epoch after which the rule says that it is enough."""
    epochs = whole()[0][0].epochs + whole()[0][1].epochs
    seed_all(3)
    with pytest.raises(Killed):
        run(make_trainer([Kill("on_train_epoch_end", epochs, tmp_path / "c")]))
    trainer = make_trainer([])
    trainer.load_checkpoint(tmp_path / "c", exact=True)
    assert same(run(trainer), whole())


def test_alone_it_goes_on_from_a_checkpoint_that_a_trainer_saved(tmp_path: Path) -> None:
    seed_all(3)
    with pytest.raises(Killed):
        run(make_trainer([Kill("on_train_epoch_end", 3, tmp_path / "c")]))
    seed_all(99)
    model = Growing()
    results = curriculum().run(model, stages(), ckpt_path=tmp_path / "c", exact=True)
    assert same((results, list(model.parameters())), whole())


def test_it_goes_on_from_the_last_checkpoint_of_a_callback(tmp_path: Path) -> None:
    class Dies(Callback[Growing]):
        def on_stage_start(self, trainer: TrainerView, module: Growing, index: int) -> None:
            if index == 2:
                raise Killed

    def saves() -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path, save_last=True, save_top_k=-1)

    seed_all(3)
    with pytest.raises(Killed):
        run(make_trainer([saves(), Dies()]))
    seed_all(99)
    model = Growing()
    results = make_trainer([saves()]).fit(model, stages(), ckpt_path="last", exact=True)
    assert same((results, list(model.parameters())), whole())


def test_a_state_without_weights_prepares_the_module_and_goes_on_with_the_next_epoch() -> None:
    class Dies(Callback[Growing]):
        def on_train_epoch_start(self, trainer: TrainerView, module: Growing) -> None:
            if trainer.current_epoch == 1 and module.scale == 2.0:
                raise Killed

    first = curriculum()
    with pytest.raises(Killed):
        Trainer(fit_loop=first, callbacks=[Dies()]).fit(Growing(), stages())
    second, model = curriculum(), Growing()
    second.load_state_dict(first.state_dict())
    results = second.run(model, stages())
    assert [each.name for each in results] == ["head", "stage_1", "stage_2"]
    assert model.scale == 2.0


def test_ctrl_c_ends_all_of_it() -> None:
    class Presses(Callback[Growing]):
        def on_train_epoch_start(self, trainer: TrainerView, module: Growing) -> None:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    loop = curriculum()
    try:
        with pytest.raises(KeyboardInterrupt):
            Trainer(fit_loop=loop, callbacks=[Presses()]).fit(Growing(), stages())
    finally:
        signal.signal(signal.SIGINT, before)
    assert (loop.begun, loop.results) == (1, [])


class Seeds(Loop[[], list[Any]]):
    """Trains a module of its own for each seed."""

    curriculum: Slot[CurriculumLoop] = Slot()
    state_fields = ("seed",)

    def __init__(self) -> None:
        self.curriculum = curriculum()
        self.seed = 0
        self.results: list[Any] = []

    @property
    def done(self) -> bool:
        return self.seed == 2

    def advance(self) -> None:
        torch.manual_seed(self.seed)
        model = Growing()
        results = self.curriculum.run(model, stages())
        self.results.append((results, list(model.parameters())))
        self.seed += 1

    def on_run_end(self) -> list[Any]:
        return self.results


@pytest.mark.parametrize(("hook", "at"), [("on_train_batch_end", 3), ("on_fit_end", 2), ("on_fit_start", 6)])
def test_it_goes_on_within_another_loop(tmp_path: Path, hook: str, at: int) -> None:
    expected = Trainer(fit_loop=Seeds()).fit()
    with pytest.raises(Killed):
        Trainer(fit_loop=Seeds(), callbacks=[Kill(hook, at, tmp_path / "c")]).fit()
    trainer = Trainer(fit_loop=Seeds())
    trainer.load_checkpoint(tmp_path / "c", exact=True)
    resumed = trainer.fit()  # the seeds from there on
    assert resumed
    assert all(map(same, expected[-len(resumed) :], resumed))


# Rules


@given(
    st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12),
    st.integers(1, 4),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from(["min", "max"]),
)
def test_a_plateau_is_as_long_as_the_patience(values: list[float], patience: int, delta: float, mode: Any) -> None:
    better: Callable[[float, float], bool] = (
        (lambda a, b: a < b - delta) if mode == "min" else (lambda a, b: a > b + delta)
    )
    marks = [0]  # where it was better than at the last of these
    for at in range(1, len(values)):
        if better(values[at], values[marks[-1]]):
            marks.append(at)
    rule = MetricPlateau("loss", mode, patience, delta)
    assert rule([{"loss": value} for value in values]) is (len(values) - 1 - marks[-1] >= patience)


@pytest.mark.parametrize(("mode", "ended"), [("min", [True, True, False]), ("max", [False, True, True])])
def test_a_metric_that_is_reached(mode: Any, ended: list[bool]) -> None:
    rule = MetricReached("accuracy", 0.5, mode)
    assert [rule([{"accuracy": 0.5}, {"accuracy": value}]) for value in (0.4, 0.5, 0.6)] == ended


def test_a_metric_that_is_no_number_is_never_better() -> None:
    history = [{"loss": value} for value in (torch.nan, 1.0, torch.nan, torch.nan)]
    assert MetricPlateau("loss", "min", 2)(history)
    assert not MetricPlateau("loss", "min", 3)(history)
    assert not MetricReached("loss", 2.0, "min")(history)


# What is refused


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(ConfigurationError) as error:
        act()
    return str(error.value)


def test_as_many_stages_as_loops() -> None:
    assert refused(lambda: curriculum().run(Growing(), stages()[:2])) == (
        "CurriculumLoop.stages: it has 3 loops, and 2 stages were given. Give a CurriculumStage for each of its loops."
    )
    assert (
        refused(lambda: CurriculumLoop([])) == "CurriculumLoop.stages: there are none. Give a fit loop for each stage."
    )


def test_rules_that_can_never_work() -> None:
    sideways: Any = "up"
    assert (
        refused(lambda: MetricReached("loss", 1.0, sideways)) == "MetricReached.mode: it is 'up'. Give 'min' or 'max'."
    )
    assert refused(lambda: MetricPlateau("loss", sideways)) == "MetricPlateau.mode: it is 'up'. Give 'min' or 'max'."
    assert refused(lambda: MetricPlateau("loss", "min", 0)) == (
        "MetricPlateau.patience: it is 0. Give a number of epochs."
    )


def test_a_rule_without_its_metric() -> None:
    stage = CurriculumStage(loader(4), until=MetricReached("val_loss", 1.0, "min"))
    told = refused(lambda: CurriculumLoop([FitLoop(max_epochs=3)]).run(Growing(), [stage]))
    assert told == (
        "MetricReached.metric: there is no metric 'val_loss' after the epoch; there are ['train_loss']. Name one of "
        "these, or give the stage loaders to validate on."
    )


def test_two_stages_of_one_name_are_refused() -> None:
    stage: CurriculumStage[Any] = CurriculumStage([], name="easy")
    with pytest.raises(ConfigurationError) as refused:
        Trainer(fit_loop=CurriculumLoop([FitLoop(1), FitLoop(1)])).fit(Growing(), [stage, stage])
    assert str(refused.value) == (
        "CurriculumStage.name: two stages are called 'easy', and their metrics would be one curve. "
        "Give each a name of its own, or none."
    )
