"""What is asked of `verify_resume`, and what it leaves as it was."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import cast
from weakref import WeakSet

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from tests.verification.digits import Batch, Digits, in_order, shuffled
from typedloops import Callback, Trainer, TrainerView, verify_resume
from typedloops.errors import ConfigurationError, LoaderError
from typedloops.verification.state import kept_state, state_of

GIVE = "Give numbers from 0 to 11, or how many places are to be tried."


class Listens(Callback):
    """Counts exceptions, and saves the count."""

    def __init__(self) -> None:
        self.exceptions: list[str] = []
        self.epochs = 0

    @override
    def on_train_epoch_start(self, trainer: TrainerView, module: object) -> None:
        self.epochs += 1

    @override
    def on_exception(self, trainer: TrainerView, module: object, exception: BaseException) -> None:
        self.exceptions.append(type(exception).__name__)

    def state_dict(self) -> dict[str, object]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        self.epochs = int(str(state["epochs"]))


def test_nothing_of_the_callers_changes() -> None:
    module, loader, callback = Digits(), shuffled(), Listens()
    trainer = Trainer(max_epochs=1, callbacks=[callback])
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    before = torch.get_rng_state(), random.getstate()
    verify_resume(trainer, module, loader, at=3).check()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())
    assert (callback.epochs, callback.exceptions, trainer.callbacks) == (0, [], (callback,))
    assert trainer.global_step == 0


def test_a_run_is_left_by_one_exception_of_which_callbacks_are_told() -> None:
    made: list[Listens] = []

    def trainer() -> Trainer:
        made.append(Listens())
        return Trainer(max_epochs=1, callbacks=[made[-1]])

    verify_resume(trainer, Digits(), shuffled(), at=[2]).check()
    uninterrupted, interrupted, resumed = made
    assert uninterrupted.exceptions == resumed.exceptions == []
    assert interrupted.exceptions == ["Left"]


def test_checkpoints_stay_in_a_folder_that_is_given(tmp_path: Path) -> None:
    verify_resume(Trainer(max_epochs=1), Digits(), shuffled(), at=[0, 4], dirpath=tmp_path).check()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["boundary-0", "boundary-4"]
    trainer = Trainer(max_epochs=1)
    assert trainer.fit(Digits(), shuffled(), ckpt_path=tmp_path / "boundary-4").batches == 5


@pytest.mark.parametrize(
    ("at", "problem"),
    [
        (0, "verify_resume: at: 0 places are none. Give 1 or more."),
        (True, "verify_resume: at: True places are none. Give 1 or more."),
        ([3, 99], f"verify_resume: at: there are 12 boundaries, and [3, 99] are asked for. {GIVE}"),
        ([], f"verify_resume: at: there are 12 boundaries, and [] are asked for. {GIVE}"),
    ],
)
def test_places_that_are_not_there(at: int | list[int], problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        verify_resume(Trainer(max_epochs=1), Digits(), shuffled(), at=at)
    assert str(caught.value) == problem


@pytest.mark.parametrize(("at", "places"), [(1, [6]), (2, [0, 11]), (3, [0, 5, 11]), ([-1, 3, 3], [3, 11])])
def test_places_are_spread_evenly_or_chosen(at: int | list[int], places: list[int]) -> None:
    report = verify_resume(Trainer(max_epochs=1), Digits(), shuffled(), at=at)
    assert [place.index for place in report.places] == places


def test_a_module_without_loaders() -> None:
    with pytest.raises(ConfigurationError) as caught:
        verify_resume(Trainer(max_epochs=1), cast("Callable[[Trainer], object]", Digits()))
    assert str(caught.value) == (
        "verify_resume: there are no loaders. Write verify_resume(trainer, module, loader), or give a function that "
        "runs the trainer it is given."
    )


def test_what_is_no_trainer() -> None:
    with pytest.raises(ConfigurationError) as caught:
        verify_resume(lambda: cast("Trainer", 3), lambda trainer: None)
    assert str(caught.value) == (
        "verify_resume: trainer: a int is no trainer. Give a typedloops.Trainer, or a function that makes one."
    )


def test_a_run_without_boundaries() -> None:
    with pytest.raises(ConfigurationError) as caught:
        verify_resume(Trainer(max_epochs=1), lambda trainer: None)
    assert str(caught.value) == (
        "verify_resume: the run has no boundary at which it could be saved. Build it of the library's loops."
    )


class NotCopied(Digits):
    def __deepcopy__(self, memo: dict[int, object]) -> Digits:
        raise RuntimeError("only one")


def test_what_cannot_be_copied_is_to_be_made_by_functions() -> None:
    with pytest.raises(ConfigurationError) as caught:
        verify_resume(Trainer(max_epochs=1), NotCopied(), shuffled())
    assert str(caught.value) == (
        "verify_resume: each run needs a copy of the trainer, the module and the loaders, and making one fails with "
        "RuntimeError: only one. Give functions: verify_resume(make_trainer, lambda trainer: "
        "trainer.fit(make_module(), make_loader()))."
    )
    verify_resume(Trainer(max_epochs=1), lambda trainer: trainer.fit(NotCopied(), shuffled()), at=2).check()


def test_an_error_of_the_uninterrupted_run_is_the_callers() -> None:
    with pytest.raises(LoaderError, match="it gave no batches"):
        verify_resume(Trainer(max_epochs=1), Digits(), cast("Iterable[Batch]", []))


def test_the_state_that_is_kept_does_not_change_with_the_run() -> None:
    class Looks(Callback):
        @override
        def on_train_batch_end(
            self, trainer: TrainerView, module: object, outputs: object, batch: object, batch_idx: int
        ) -> None:
            runs = cast("Trainer", trainer)._runs  # pyright: ignore[reportPrivateUsage]
            kept.append((kept_state(state_of(runs)), dict(state_of(runs))))

    kept: list[tuple[Mapping[str, object], Mapping[str, object]]] = []
    Trainer(max_steps=2, callbacks=[Looks()]).fit(Digits(), in_order())
    (first, live), (second, _) = kept
    weight = "module: net.0.weight"
    assert not torch.equal(cast("Tensor", first[weight]), cast("Tensor", second[weight]))
    assert live[weight] is not first[weight]
    assert torch.equal(cast("Tensor", live[weight]), cast("Tensor", kept[1][1][weight]))
    names = {path.partition(":")[0] for path in first}
    assert names == {"module", "optimizers", "loops", "rng"}
    assert "loops: epoch_loop.batch_progress.current.ready" in first
    assert "optimizers: 0/state/3/exp_avg" in first


def test_of_all_runs_only_the_one_under_way_is_in_memory() -> None:
    alive: WeakSet[nn.Module] = WeakSet()
    most = 0

    class Counted(Digits):
        def on_train_start(self) -> None:
            nonlocal most
            alive.add(self)
            gc.collect()
            most = max(most, len(alive))

    verify_resume(Trainer(max_epochs=1), Counted(), in_order(), at=3).check()
    assert most == 1
