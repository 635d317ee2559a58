"""What a loop gives the runs below it: further callbacks, and a name where metrics go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

import typedloops
from tests.modules import Classifier, batches
from tests.recipes.kills import killed_and_resumed
from typedloops import Callback, FitLoop, Loop, ModelCheckpoint, Slot, TrainerView, ValidationLoop, verify_resume
from typedloops.checkpoint import FolderFormat
from typedloops.errors import ConfigurationError, EscapedStopIteration, HookError, UnattachedLoopError

# Much here goes where it does not belong.
Trainer: Any = typedloops.Trainer


class Hears(Callback[nn.Module]):
    """Counts batches, in a state, and tells what it hears."""

    def __init__(self, name: str, told: list[str]) -> None:
        self.name = name
        self.told = told
        self.batches = 0

    def setup(self, trainer: TrainerView, module: nn.Module, stage: str) -> None:
        self.told.append(f"{self.name} setup {stage}")

    def on_train_batch_end(
        self, trainer: TrainerView, module: nn.Module, outputs: object, batch: object, batch_idx: int
    ) -> None:
        self.batches += 1

    def on_validation_start(self, trainer: TrainerView, module: nn.Module) -> None:
        self.told.append(f"{self.name} validation after {self.batches}")

    def on_save_checkpoint(self, trainer: TrainerView, module: nn.Module, checkpoint: dict[str, object]) -> None:
        checkpoint[self.name] = self.batches

    def on_load_checkpoint(self, trainer: TrainerView, module: nn.Module, checkpoint: dict[str, object]) -> None:
        self.told.append(f"{self.name} loads {checkpoint[self.name]}")

    def state_dict(self) -> dict[str, object]:
        return {"batches": self.batches}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.batches = state_dict["batches"]


class Fits(Loop[[], list[int]]):
    """Three fits, each with callbacks and a name of its own."""

    fit_loop: Slot[FitLoop] = Slot()
    state_fields: ClassVar[tuple[str, ...]] = ("index", "counted")

    def __init__(self, told: list[str]) -> None:
        self.fit_loop = FitLoop(max_epochs=1)
        self.told = told
        self.index = 0
        self.counted: list[int] = []
        self.hears = Hears("", told)

    @property
    def done(self) -> bool:
        return self.index == 3

    @property
    def run_name(self) -> str:
        return f"fit_{self.index}"

    def reset(self) -> None:
        if not self.restarting:
            self.index, self.counted = 0, []

    def configure_callbacks(self) -> Iterable[object]:
        self.hears = Hears(f"{self.index}", self.told)
        return [self.hears]

    def advance(self) -> None:
        torch.manual_seed(self.index)
        self.fit_loop.run(Classifier(), batches(self.index + 2), batches(1))
        self.counted.append(self.hears.batches)
        self.index += 1

    def on_run_end(self) -> list[int]:
        return self.counted


class Logs:
    def __init__(self) -> None:
        self.logged: list[tuple[str, int]] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self.logged += [(name, step) for name in metrics]

    def finalize(self, status: str) -> None: ...


def test_each_run_has_callbacks_of_its_own_and_the_trainers_hear_all() -> None:
    told: list[str] = []
    trainer = Trainer(fit_loop=Fits(told), callbacks=[Hears("all", told)])
    assert trainer.fit() == [2, 3, 4]
    assert told == [
        "all setup fit",
        *("all setup fit", "0 setup fit", "all validation after 2", "0 validation after 2"),
        *("all setup fit", "1 setup fit", "all validation after 5", "1 validation after 3"),
        *("all setup fit", "2 setup fit", "all validation after 9", "2 validation after 4"),
    ]


def test_loggers_get_the_names_of_runs_and_everybody_else_the_names_of_metrics() -> None:
    class Around(Loop[[], list[int]]):
        inner: Slot[Fits] = Slot()
        run_name = "outer"
        ran = False

        def __init__(self) -> None:
            self.inner = Fits([])

        @property
        def done(self) -> bool:
            return self.ran

        def advance(self) -> None:
            self.result = self.inner.run()
            self.ran = True

        def on_run_end(self) -> list[int]:
            return self.result

    logs, seen = Logs(), set[str]()

    class Sees(Callback[nn.Module]):
        def on_fit_end(self, trainer: TrainerView, module: nn.Module) -> None:
            seen.update(trainer.metrics)

    Trainer(fit_loop=Fits([]), loggers=[logs], callbacks=[Sees()]).fit()
    assert logs.logged == [(f"fit_{i}/{name}", i + 2) for i in range(3) for name in ("val_loss", "train_loss")]
    assert seen == {"val_loss", "train_loss"}
    logs.logged.clear()
    Trainer(fit_loop=Around(), loggers=[logs]).fit()
    assert logs.logged[0] == ("outer/fit_0/val_loss", 2)
    logs.logged.clear()
    Trainer(max_epochs=1, loggers=[logs]).fit(Classifier(), batches())
    assert logs.logged == [("train_loss", 4)]


def test_a_run_within_a_run_shares_its_callbacks() -> None:
    class Inner(FitLoop):
        """A fit that lets another module be validated at its end, in a run of its own."""

        val_loop: Slot[ValidationLoop] = Slot()

        def on_advance_end(self) -> None:
            self.val_loop.run(Classifier(), batches(1))
            super().on_advance_end()

    told: list[str] = []
    loop = Fits(told)
    loop.fit_loop = Inner(max_epochs=1)
    loop.fit_loop.val_loop = ValidationLoop()
    loop.index = 2
    loop.restarting = True
    Trainer(fit_loop=loop).fit()
    assert told == ["2 setup fit", "2 validation after 4", "2 setup validate", "2 validation after 4"]


@pytest.mark.parametrize("batch", [1, 2, 4, 9])
def test_their_states_are_saved_with_the_run(tmp_path: Path, batch: int) -> None:
    told: list[str] = []

    def make_trainer(callbacks: list[object]) -> Any:
        told.clear()
        return Trainer(fit_loop=Fits(told), callbacks=[*callbacks, Hears("all", told)])

    assert killed_and_resumed(make_trainer, lambda trainer: trainer.fit(), tmp_path / "c", batch) == [2, 3, 4]
    index = 0 if batch <= 2 else 1 if batch <= 5 else 2
    within = batch - [0, 2, 5][index]
    assert told[:4] == ["all setup fit", f"all loads {batch}", "all setup fit", f"{index} setup fit"][:4]
    assert f"{index} loads {within}" in told
    content: Any = FolderFormat().load(tmp_path / "c")
    key = f"{Hears.__module__}.Hears"
    assert content["callbacks"] == {key: {"batches": batch}}
    assert content["callbacks_1"] == {key: {"batches": within}}


def test_a_run_with_them_is_verified() -> None:
    verify_resume(lambda: Trainer(fit_loop=Fits([])), lambda trainer: trainer.fit(), at=6).check()


def test_a_model_checkpoint_for_each_run_beside_one_for_all(tmp_path: Path) -> None:
    class Saves(Fits):
        def configure_callbacks(self) -> Iterable[object]:
            return [ModelCheckpoint(tmp_path / f"{self.index}", "best", monitor="val_loss")]

    Trainer(fit_loop=Saves([]), callbacks=[ModelCheckpoint(tmp_path / "all", "best", monitor="val_loss")]).fit()
    assert sorted(f"{path.parent.name}/{path.name}" for path in tmp_path.glob("*/*")) == [
        *("0/best", "1/best", "2/best"),
        *("all/best", "all/best-v1", "all/best-v2"),
    ]
    rehearsal = Saves([])
    Trainer(fit_loop=rehearsal, fast_dev_run=True).fit()
    assert len([*tmp_path.glob("*/*")]) == 6, "a rehearsal saves nothing"


def test_two_of_one_kind_are_refused_before_anything_runs(tmp_path: Path) -> None:
    class Twice(Fits):
        def configure_callbacks(self) -> Iterable[object]:
            return [ModelCheckpoint(tmp_path / "a"), ModelCheckpoint(tmp_path / "b")]

    with pytest.raises(ConfigurationError, match="callbacks: two of them are the same: ModelCheckpoint"):
        Trainer(fit_loop=Twice([])).fit()
    assert not list(tmp_path.iterdir())


def test_callbacks_need_a_trainer() -> None:
    with pytest.raises(UnattachedLoopError) as error:
        Fits([]).run()
    assert str(error.value) == (
        "Fits.configure_callbacks: callbacks are called with a trainer, and there is none. Give its tree to one: "
        "Trainer(fit_loop=Fits(...)), or give no callbacks."
    )


def test_what_is_no_callback() -> None:
    class Wrong(Fits):
        given: object = (3,)

        def configure_callbacks(self) -> Any:
            if self.given is StopIteration:
                raise StopIteration
            return self.given

    with pytest.raises(HookError, match="callbacks: 3: it has no hook"):
        Trainer(fit_loop=Wrong([])).fit()
    loop = Wrong([])
    loop.given = StopIteration
    with pytest.raises(EscapedStopIteration, match=r"Wrong\.configure_callbacks"):
        Trainer(fit_loop=loop).fit()


def test_the_trainer_tells_who_is_called() -> None:
    own, seen = Hears("all", []), list[object]()

    class Sees(Classifier):
        def on_fit_start(self) -> None:
            seen.extend(trainer.callbacks)

    class With(Fits):
        def advance(self) -> None:
            self.fit_loop.run(Sees(), batches(1))
            self.index = 3

    loop = With([])
    trainer = Trainer(fit_loop=loop, callbacks=[own])
    trainer.fit()
    assert seen == [own, loop.hears]
    assert trainer.callbacks == (own,)


def test_a_class_that_makes_modules_has_no_hooks_itself() -> None:
    heard: list[str] = []

    class Hearing(Classifier):
        def on_fit_start(self) -> None:
            heard.append("fit")

        def setup(self, stage: str) -> None:
            heard.append(stage)

    class Makes(Loop[[type[Hearing]], None]):
        fit_loop: Slot[FitLoop] = Slot()
        ran = False

        def __init__(self) -> None:
            self.fit_loop = FitLoop(max_epochs=1)

        @property
        def done(self) -> bool:
            return self.ran

        def advance(self, kind: type[Hearing]) -> None:
            self.fit_loop.run(kind(), batches(1))
            self.ran = True

    Trainer(fit_loop=Makes()).fit(Hearing)
    assert heard == ["fit", "fit"]
