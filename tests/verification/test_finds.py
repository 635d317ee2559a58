"""What is not exact on purpose is found, where it is and why."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from typing_extensions import override

from tests.verification.digits import Batch, Digits, Loader, digits, in_order, shuffled
from typedloops import Callback, ResumeDifference, Trainer, TrainerView, TrainingModule, verify_resume
from typedloops.errors import ResumeError

EARLY, LATE = 4, 13
"""Boundaries after the third batch of the first epoch, and after the second of the second."""


def found_with(
    module: Digits, *callbacks: Callback, loader: Iterable[Sequence[Tensor]] | None = None, at: Sequence[int] = (EARLY,)
) -> tuple[ResumeDifference, ...]:
    trainer = Trainer(max_epochs=2, callbacks=callbacks)
    batches = cast("Iterable[Batch]", loader or shuffled())
    report = verify_resume(trainer, cast("TrainingModule[Batch, Tensor]", module), batches, at=at)
    assert [place.index for place in report.places] == list(at)
    assert bool(report) == (not report.differences)
    return report.differences


def only(differences: tuple[ResumeDifference, ...]) -> ResumeDifference:
    (difference,) = differences
    assert difference.place is not None
    return difference


class Counts(Digits):
    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.seen += 1
        return self.loss(batch)


class CountsBelow(Digits):
    """The attribute is one of a submodule."""

    class Layer(nn.Module):
        calls = 0

        @override
        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return x

    def __init__(self) -> None:
        super().__init__()
        self.net.append(self.Layer())


class WeighsByCount(Counts):
    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx) / self.seen


class OwnDice(Digits):
    def __init__(self) -> None:
        super().__init__()
        self.dice = random.Random(7)

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.loss(batch) * self.dice.random()


class OwnGenerator(Digits):
    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(7)

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.loss(batch) * torch.rand((), generator=self.generator)


class KeepsOutputs(Digits):
    """A list of tensors, from which a metric comes at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[Tensor] = []

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self.losses.append(loss.detach())
        return loss


def test_a_plain_attribute_that_counts() -> None:
    first = only(found_with(Counts()))
    assert (first.path, first.expected, first.found) == ("attributes: Counts.seen", "3", "0")
    assert first.seen == ""
    assert first.hint == (
        "It is neither a parameter nor a buffer, and is not saved. Make it a buffer, or save it in "
        "`on_save_checkpoint` and load it in `on_load_checkpoint`."
    )


def test_a_plain_attribute_of_a_submodule() -> None:
    first = only(found_with(CountsBelow()))
    assert (first.path, first.expected, first.found) == ("attributes: CountsBelow.net.5.calls", "3", "nothing")


def test_a_plain_attribute_that_weighs_the_loss_is_the_cause_and_the_loss_what_is_seen() -> None:
    first = only(found_with(WeighsByCount()))
    assert first.path == "attributes: WeighsByCount.seen"
    assert first.seen == "output: train batch 3"


@pytest.mark.parametrize(("module", "path"), [(OwnDice, "OwnDice.dice"), (OwnGenerator, "OwnGenerator.generator")])
def test_random_numbers_of_its_own(module: type[Digits], path: str) -> None:
    first = only(found_with(module()))
    assert first.path == f"attributes: {path}"
    kind = "Random" if module is OwnDice else "Generator"
    assert first.expected.startswith(f"a {kind} in the state ")
    assert first.found.startswith(f"a {kind} in the state ")
    assert first.expected != first.found


def test_a_list_that_is_filled_from_batch_to_batch() -> None:
    first = only(found_with(KeepsOutputs()))
    assert (first.path, first.expected, first.found) == ("attributes: KeepsOutputs.losses", "3 items", "0 items")


class Rotates:
    """Begins each pass one batch later."""

    def __init__(self) -> None:
        self.passes = 0
        self.batches = [tuple(batch) for batch in in_order(16)]

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        self.passes += 1
        return iter(self.batches[self.passes :] + self.batches[: self.passes])

    def __len__(self) -> int:
        return len(self.batches)


class OwnOrder(Sampler[int]):
    """Another order in each pass, by how many there were."""

    def __init__(self) -> None:
        self.passes = 0

    @override
    def __iter__(self) -> Iterator[int]:
        self.passes += 1
        return iter(random.Random(self.passes).sample(range(80), 80))

    def __len__(self) -> int:
        return 80


def test_a_loader_that_counts_its_passes() -> None:
    # In the first pass a new loader is where the old one was.
    first = only(found_with(Digits(), loader=Rotates(), at=(EARLY, LATE)))
    assert first.place is not None
    assert (first.place.index, first.path) == (LATE, "batch: train batch 2")
    assert first.found.endswith(" of the uninterrupted run)")
    assert first.hint.startswith("The loader gives other batches once it is resumed: it keeps something that")
    assert first.hint.endswith(" Not as it was: train_dataloaders.passes.")


def test_a_sampler_that_counts_its_passes() -> None:
    loader: Loader = DataLoader(digits(), batch_size=16, sampler=OwnOrder())
    first = only(found_with(Digits(), loader=loader, at=(LATE,)))
    assert first.path == "batch: train batch 2"
    assert first.hint.endswith(" Not as it was: train_dataloaders.sampler.passes.")


class Warms(Callback):
    """Changes the learning rate by a count that nobody saves."""

    def __init__(self) -> None:
        self.batches = 0

    @override
    def on_train_batch_start(self, trainer: TrainerView, module: object, batch: object, batch_idx: int) -> None:
        self.batches += 1
        trainer.optimizers[0].param_groups[0]["lr"] = 0.01 / self.batches


class WarmsAndSaves(Warms):
    def state_dict(self) -> dict[str, object]:
        return {"batches": self.batches}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        self.batches = int(str(state["batches"]))


def test_a_callback_without_a_state_that_changes_the_learning_rate() -> None:
    first = only(found_with(Digits(), Warms()))
    assert (first.path, first.expected, first.found) == ("attributes: Warms.batches", "3", "0")
    assert first.seen == "output: train batch 4"
    assert first.hint == "The callback does not save it. Give it `state_dict` and `load_state_dict` that do."


def test_the_second_of_two_callbacks_of_a_kind_is_told_from_the_first() -> None:
    class Second(WarmsAndSaves):
        pass

    Second.__name__ = "Warms"
    assert only(found_with(Digits(), Second(), Warms())).path == "attributes: Warms#2.batches"


def test_with_a_state_it_is_exact() -> None:
    assert found_with(Digits(), WarmsAndSaves()) == ()


class ZeroesItsBias(Digits):
    def on_train_start(self) -> None:
        with torch.no_grad():
            next(self.net.parameters()).zero_()


class DropsItsRate(Callback):
    @override
    def on_fit_start(self, trainer: TrainerView, module: object) -> None:
        trainer.optimizers[0].param_groups[0]["lr"] *= 0.5


def test_a_hook_of_the_start_that_changes_weights() -> None:
    first = only(found_with(ZeroesItsBias()))
    assert first.path == "module: net.0.weight"
    # The borders of the images are empty: their weights are zero all the time.
    assert re.fullmatch(r"-?0\.\d+ at \[\d, \d\]", first.expected)
    assert re.fullmatch(r"0 at \[\d, \d\] \(\d+ of 512 differ, by at most 0\.0\d+\)", first.found)
    assert first.hint == (
        "`on_train_start` or what comes right after it changes it. Each process calls this hook, also one that goes "
        "on: let it change things only where `trainer.global_step == 0`."
    )


def test_a_hook_of_the_start_that_changes_the_optimizer() -> None:
    first = only(found_with(Digits(), DropsItsRate()))
    assert (first.path, first.expected, first.found) == ("optimizers: 0/param_groups/0/lr", "0.005", "0.0025")
    assert first.hint.startswith("`on_fit_start` or what comes right after it changes it.")


class DrawsOnce(Callback):
    """Draws random numbers in the first batch of each process; it keeps that where nobody can see it."""

    __slots__ = ("_drawn",)
    if TYPE_CHECKING:
        _drawn: int

    @override
    def on_train_batch_start(self, trainer: TrainerView, module: object, batch: object, batch_idx: int) -> None:
        if not hasattr(self, "_drawn"):
            self._drawn = 1
            torch.rand(3)


class DrawsAtTheEnd(DrawsOnce):
    """Draws random numbers when nothing comes of it any more."""

    __slots__ = ()

    @override
    def on_train_batch_start(self, trainer: TrainerView, module: object, batch: object, batch_idx: int) -> None:
        if not hasattr(self, "_drawn"):
            self._drawn = batch_idx

    @override
    def on_train_end(self, trainer: TrainerView, module: object) -> None:
        if self._drawn:
            torch.rand(3)


def test_random_numbers_that_are_drawn_once_more() -> None:
    first = only(found_with(Digits(), DrawsOnce()))
    assert first.path == "rng: torch, before on_before_zero_grad"
    assert first.seen == "output: train batch 3"
    assert first.hint.startswith("Something draws random numbers in one run and not in the other: a hook or a module")


def test_random_numbers_from_which_nothing_comes() -> None:
    first = only(found_with(Digits(), DrawsAtTheEnd()))
    assert first.path == "rng: torch"
    assert first.hint.startswith("Something draws random numbers in one run and not in the other: a hook or a module")


class Forgets(Digits):
    """Another hook once it is resumed."""

    asked = False

    def __init__(self) -> None:
        super().__init__()
        self.own = _Own()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> int | None:
        self.own.batches += 1
        return -1 if self.own.batches == 3 else None


class _Own:
    """What cannot be looked into."""

    __slots__ = ("batches",)

    def __init__(self) -> None:
        self.batches = 0


def test_hooks_in_another_order() -> None:
    first = only(found_with(Forgets()))
    assert first.path.startswith("hooks: on_")
    assert first.expected != first.found
    assert first.hint.startswith("A hook is called that should not be, or is not: something that decides which")


class Refuses(Callback):
    def state_dict(self) -> dict[str, object]:
        return {"a": 1}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        raise KeyError("b")


class SavesAnything(Digits):
    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        checkpoint["mine"] = object()


def test_a_run_that_cannot_go_on() -> None:
    first = only(found_with(Digits(), Refuses()))
    assert (first.path, first.expected, first.found) == ("resuming", "the run goes on", "KeyError: 'b'")
    assert first.hint == "The run that goes on ends with this error."


def test_a_run_that_cannot_be_saved() -> None:
    first = only(found_with(SavesAnything()))
    assert (first.path, first.hint) == ("saving", "The run cannot be saved there.")
    assert first.found.startswith("CheckpointError: ")
    assert "mine" in first.found


class Times(Digits):
    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.at = time.perf_counter_ns()
        return self.loss(batch)


class TimesAndCounts(Times):
    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.seen = vars(self).get("seen", 0) + 1
        return super().training_step(batch, batch_idx)


class NeverTheSame(Digits):
    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.loss(batch) * (time.perf_counter_ns() % 1_000_003)


def test_what_no_two_runs_have_in_common_is_left_out() -> None:
    assert found_with(Times()) == ()
    assert only(found_with(TimesAndCounts())).path == "attributes: TimesAndCounts.seen"


def test_a_run_that_is_never_the_same_is_told_as_such() -> None:
    report = verify_resume(Trainer(max_epochs=1), NeverTheSame(), shuffled(), at=2)
    (first,) = report.differences
    assert first.place is None
    assert first.path == "output: train batch 0"
    assert first.hint.startswith("Nothing was interrupted: the run is not the same twice, with the same seed.")
    assert str(report).startswith("Two uninterrupted runs are not the same:\n")
    with pytest.raises(ResumeError, match="verify_resume: Two uninterrupted runs are not the same"):
        report.check()


def test_the_text_of_the_report_is_that_of_the_error() -> None:
    report = verify_resume(Trainer(max_epochs=1), WeighsByCount(), shuffled(), at=[3, 0])
    assert str(report) == (
        "Resuming is exact at 1 of 2 places; the run has 12 boundaries.\n"
        "  boundary 0  epoch 0, fit_loop: idle                exact\n"
        "  boundary 3  epoch 0, fit_loop.epoch_loop: batch 2  attributes: WeighsByCount.seen\n"
        "      uninterrupted: 2\n"
        "      resumed:       0\n"
        "      seen first in: output: train batch 2\n"
        "      It is neither a parameter nor a buffer, and is not saved. Make it a buffer, or save it in "
        "`on_save_checkpoint` and load it in `on_load_checkpoint`."
    )
    with pytest.raises(ResumeError) as caught:
        report.check()
    assert isinstance(caught.value, AssertionError)
    assert str(caught.value) == f"verify_resume: {report}. {report.differences[0].hint}"
