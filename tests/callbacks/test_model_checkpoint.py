"""`ModelCheckpoint`: when it saves, under which name, what it keeps, and what it finds again."""

from __future__ import annotations

import copy
import json
import logging
import math
import pickle
import signal
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.callbacks.checkpointing import FakeTrainer, JsonFormat, Kill, Killed, contents, fit, names
from tests.modules import Classifier, batches
from typedloops import ModelCheckpoint, Trainer
from typedloops.callbacks.saving import schedule as schedule_module
from typedloops.errors import ConfigurationError, StateError


def begun(*callbacks: ModelCheckpoint) -> FakeTrainer:
    trainer = FakeTrainer(*callbacks)
    trainer.begin()
    return trainer


# When


def test_by_default_the_newest_of_every_epoch_is_kept(tmp_path: Path) -> None:
    trainer = FakeTrainer(saver := ModelCheckpoint(tmp_path / "new" / "folder"))
    fit(trainer, [0.1, 0.2, 0.3])
    assert trainer.asked == ["epoch=0-step=2", "epoch=1-step=4", "epoch=2-step=6"]
    assert contents(tmp_path / "new" / "folder") == {"epoch=2-step=6": 6}
    assert saver.best_model_path == saver.last_model_path == tmp_path / "new" / "folder" / "epoch=2-step=6"
    assert saver.best_model_score is None


def test_by_steps_it_saves_once_when_a_multiple_is_passed(tmp_path: Path) -> None:
    trainer = begun(ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps="10st"))
    for steps in (9, 0, 1, 0, 5, 20, 4, 2):  # accumulation: none in a batch; several optimizers: more than one
        trainer.step(steps)
    trainer.end_epoch()
    assert trainer.asked == ["step=10", "step=35", "step=41"]


def test_by_epochs_it_saves_every_so_many(tmp_path: Path) -> None:
    trainer = begun(ModelCheckpoint(tmp_path, "{epoch:02d}", save_top_k=-1, every_n_epochs=2))
    for _ in range(5):
        trainer.step()
        trainer.end_epoch()
    assert trainer.asked == ["epoch=01", "epoch=03"]


def test_steps_and_epochs_may_both_be_given(tmp_path: Path) -> None:
    trainer = begun(ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=2, every_n_epochs=1))
    for _ in range(2):
        for _ in range(3):
            trainer.step()
        trainer.end_epoch()
    assert trainer.asked == ["step=2", "step=3", "step=4", "step=6", "step=6-v1"]


def test_by_time_it_saves_after_it_and_goes_on_waiting_after_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(schedule_module, "monotonic", lambda: now[0])

    def make() -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, train_time_interval="00:00:01:00")

    trainer = begun(saver := make())
    for seconds in (59, 2, 30, 29, 1):
        now[0] += seconds
        trainer.step()
    assert trainer.asked == ["step=2", "step=5"]
    now[0] += 40
    trainer.step()
    state = json.loads(json.dumps(saver.state_dict()))

    now[0] += 10_000
    other = make()
    other.load_state_dict(state)
    resumed = FakeTrainer(other)
    resumed.global_step = 6
    resumed.begin()
    for seconds in (19, 1):
        now[0] += seconds
        resumed.step()
    assert resumed.asked == ["step=8"]


def test_time_between_two_fits_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(schedule_module, "monotonic", lambda: now[0])
    trainer = begun(ModelCheckpoint(tmp_path, "{step}", train_time_interval=timedelta(minutes=1)))
    trainer.step()
    trainer.end()
    now[0] += 3600
    trainer.begin()
    trainer.step()
    assert trainer.asked == []


def test_a_metric_of_validations_is_ranked_at_their_end(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, "{step}-{val_loss:.1f}", monitor="val_loss", save_top_k=2)
    trainer = begun(saver)
    for score in (0.5, 0.4, 0.3):  # within one epoch
        trainer.step()
        trainer.validate(val_loss=score)
    trainer.end_epoch()
    assert trainer.asked == ["step=1-val_loss=0.5", "step=2-val_loss=0.4", "step=3-val_loss=0.3"]
    assert names(tmp_path) == ["step=2-val_loss=0.4", "step=3-val_loss=0.3"]
    assert saver.best_model_path == tmp_path / "step=3-val_loss=0.3"
    assert saver.best_model_score == 0.3
    assert saver.best_k_models == {
        tmp_path / "step=2-val_loss=0.4": 0.4,
        tmp_path / "step=3-val_loss=0.3": 0.3,
    }


def test_a_metric_of_training_is_ranked_at_the_end_of_the_epoch(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, "{epoch}", monitor="train_loss")
    trainer = begun(saver)
    for loss in (0.5, 0.7, 0.3):
        trainer.step()
        trainer.validate(val_loss=1.0 + trainer.current_epoch)  # says nothing new of train_loss
        trainer.end_epoch(train_loss=loss)
    assert trainer.asked == ["epoch=0", "epoch=2"]
    assert saver.best_model_score == 0.3


def test_at_the_end_of_training_epochs_if_so_asked_for(tmp_path: Path) -> None:
    trainer = begun(ModelCheckpoint(tmp_path, "{epoch}", monitor="val_loss", save_on_train_epoch_end=True))
    for score in (0.5, 0.4):
        trainer.step()
        trainer.validate(val_loss=score)
        assert len(trainer.asked) == trainer.current_epoch
        trainer.end_epoch()
    assert trainer.asked == ["epoch=0", "epoch=1"]


def test_at_the_end_of_validations_if_so_asked_for(tmp_path: Path) -> None:
    trainer = begun(ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_epochs=2, save_on_train_epoch_end=False))
    for _ in range(4):
        trainer.step()
        trainer.validate()
        trainer.end_epoch()
    assert trainer.asked == ["step=2", "step=4"]


def test_what_is_due_by_steps_waits_for_the_validation_that_ranks_it(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, "{step}", monitor="val_loss", every_n_train_steps=2, save_last=True)
    trainer = begun(saver)
    trainer.step(2)
    trainer.step(2)
    assert trainer.asked == ["last", "last"]  # that is not ranked, and does not wait
    trainer.validate(val_loss=0.5)
    assert trainer.asked[2:] == ["step=4", "last"]
    trainer.validate(val_loss=0.4)
    trainer.end_epoch()
    assert len(trainer.asked) == 4  # nothing was due


def test_what_is_due_by_steps_waits_for_a_metric_that_is_known_at_the_end_of_epochs(tmp_path: Path) -> None:
    trainer = begun(ModelCheckpoint(tmp_path, "{step}", monitor="loss", every_n_train_steps=2, save_top_k=-1))
    for loss in (0.5, 0.4):
        for _ in range(3):
            trainer.step()  # in the second epoch the metric is there, and as it was in the first
        trainer.end_epoch(loss=loss)
    assert trainer.asked == ["step=3", "step=6"]


def test_what_is_due_by_steps_is_saved_at_once_by_a_metric_that_is_logged_in_steps(tmp_path: Path) -> None:
    trainer = begun(ModelCheckpoint(tmp_path, "{step}", monitor="loss", every_n_train_steps=2, save_top_k=-1))
    for step in range(6):
        trainer.metrics["loss"] = -float(step)
        trainer.step()
        if step % 3 == 2:
            trainer.end_epoch()
    assert trainer.asked == ["step=2", "step=4", "step=6"]


def test_an_epoch_without_a_validation_waits_for_the_next_one(tmp_path: Path) -> None:
    trainer = begun(ModelCheckpoint(tmp_path, "{epoch}", monitor="val_loss", save_top_k=-1))
    for epoch in range(6):
        trainer.step()
        if epoch % 3 == 1:
            trainer.validate(val_loss=1.0)
        trainer.end_epoch()
    assert trainer.asked == ["epoch=1", "epoch=4"]


def test_sanity_checks_and_validations_outside_a_fit_save_nothing(tmp_path: Path) -> None:
    trainer = begun(ModelCheckpoint(tmp_path, monitor="val_loss", save_on_train_epoch_end=False))
    trainer.sanity_checking = True
    trainer.validate(val_loss=0.1)
    trainer.sanity_checking, trainer.stage = False, cast("Any", "validate")
    trainer.validate(val_loss=0.1)
    assert trainer.asked == []


def test_outside_a_fit_no_folder_is_made(tmp_path: Path) -> None:
    FakeTrainer(ModelCheckpoint(tmp_path / "new")).call("setup", "test")
    assert names(tmp_path) == []


def test_what_is_asked_for_is_passed_on(tmp_path: Path) -> None:
    trainer = begun(ModelCheckpoint(tmp_path, "{step}", save_weights_only=True, asynchronous=True))
    trainer.step()
    trainer.end_epoch()
    assert trainer.asked_weights_only == [True]
    assert len(trainer.in_flight) == 1
    assert names(tmp_path) == []
    trainer.end()
    assert names(tmp_path) == ["step=1"]


# Under which name


def name_of(tmp_path: Path, filename: str, metrics: dict[str, float], **settings: Any) -> str:
    trainer = begun(ModelCheckpoint(tmp_path, filename, **settings))
    trainer.current_epoch, trainer.global_step = 3, 40
    trainer.end_epoch(**metrics)
    return trainer.asked[0]


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("{epoch}-{step}", "epoch=3-step=40"),
        ("net-{epoch:03d}-{val_loss:.3f}", "net-epoch=003-val_loss=0.123"),
        ("{val/acc:.2f}", "val_acc=0.50"),
        ("{val.acc}{{x}}", "val.acc=0.25{x}"),
        ("plain", "plain"),
    ],
)
def test_names_are_filled_in(tmp_path: Path, filename: str, name: str) -> None:
    metrics = {"val_loss": 0.1234, "val/acc": 0.5, "val.acc": 0.25}
    assert name_of(tmp_path, filename, metrics) == name
    assert names(tmp_path) == [name]


def test_names_of_metrics_may_be_left_out(tmp_path: Path) -> None:
    name = name_of(tmp_path, "e{epoch:02d}-{val/acc:/>6}", {"val/acc": 0.5}, auto_insert_metric_name=False)
    assert name == "e03-___0.5"


def test_a_metric_called_epoch_is_not_taken_for_the_epoch(tmp_path: Path) -> None:
    assert name_of(tmp_path, "{epoch}-{step}", {"epoch": 7.5, "step": 8.5}) == "epoch=3-step=40"


def test_a_metric_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        name_of(tmp_path, "{val_los:.2f}", {"val_loss": 0.5})
    assert str(caught.value) == (
        "ModelCheckpoint(filename='{val_los:.2f}'): there is no metric 'val_los'; there are ['epoch', 'step', "
        "'val_loss']. Log it before the checkpoint is due, or leave it out of the name."
    )


def test_the_same_name_gets_a_version(tmp_path: Path) -> None:
    trainer = begun(ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, every_n_train_steps=1))
    for _ in range(3):
        trainer.step()
    assert names(tmp_path) == ["epoch=0", "epoch=0-v1", "epoch=0-v2"]


def test_what_is_replaced_lends_its_name(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, "best", monitor="val_loss", save_top_k=2)
    fit(FakeTrainer(saver), [0.5, 0.4, 0.3, 0.6, 0.2])
    assert contents(tmp_path) == {"best": 6, "best-v1": 10}
    assert saver.best_model_path == tmp_path / "best-v1"


def test_what_was_there_before_the_run_is_left_alone(tmp_path: Path) -> None:
    for name in ("epoch=0-step=2", "last", "on_exception", "notes.txt"):
        (tmp_path / name).write_text("not of this run")
    saver = ModelCheckpoint(tmp_path, save_top_k=-1, save_last=True, save_on_exception=True)
    trainer = FakeTrainer(saver)
    fit(trainer, [0.1])
    assert saver.last_model_path == tmp_path / "last-v1"
    assert saver.path_for_exception(trainer.view) == tmp_path / "on_exception-v1"
    assert names(tmp_path) == ["epoch=0-step=2", "epoch=0-step=2-v1", "last", "last-v1", "notes.txt", "on_exception"]
    assert (tmp_path / "last").read_text() == "not of this run"


def test_a_second_fit_begins_anew_and_leaves_the_first_alone(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, monitor="val_loss", save_last=True)
    for score in (0.1, 0.5):
        fit(FakeTrainer(saver), [score])
    assert names(tmp_path) == ["epoch=0-step=2", "epoch=0-step=2-v1", "last", "last-v1"]
    assert saver.best_model_score == 0.5


def test_a_fit_that_goes_on_in_the_same_process_forgets_nothing(tmp_path: Path) -> None:
    trainer = FakeTrainer(saver := ModelCheckpoint(tmp_path, "{step}", monitor="val_loss", save_last=True))
    fit(trainer, [0.1])
    fit(trainer, [0.1, 0.5])
    assert names(tmp_path) == ["last", "step=2"]
    assert saver.best_model_score == 0.1


def test_a_name_of_its_own_for_an_exception_and_each_signal(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, save_on_exception=True, save_on_signals=["SIGTERM", signal.SIGUSR1, 15])
    assert saver.save_on_signals == (signal.SIGTERM, signal.SIGUSR1)
    trainer = begun(saver)
    assert saver.path_for_exception(trainer.view) == tmp_path / "on_exception"
    assert saver.path_for_signal(trainer.view, signal.SIGUSR1) == tmp_path / "on_sigusr1"
    for signum in ("SIGTERM", signal.SIGTERM, int(signal.SIGTERM)):  # handlers are given the number
        assert saver.path_for_signal(trainer.view, signum) == tmp_path / "on_sigterm"
    with pytest.raises(ConfigurationError, match="save_on_signals=True"):
        saver.path_for_signal(trainer.view, True)
    with pytest.raises(ConfigurationError, match="save_on_signals=1000"):
        saver.path_for_signal(trainer.view, 1000)
    with pytest.raises(ConfigurationError, match="'SIGKILL'"):
        saver.path_for_signal(trainer.view, signal.SIGKILL)


def test_no_template_gives_a_name_that_is_spoken_for(tmp_path: Path) -> None:
    fit(FakeTrainer(ModelCheckpoint(tmp_path, "last", save_last=True)), [0.1, 0.2])
    assert names(tmp_path) == ["last", "last-v1"]


# What is kept


def test_the_largest_is_the_best_if_so_asked_for(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, "{val_loss}", monitor="val_loss", mode="max", save_top_k=2)
    fit(FakeTrainer(saver), [0.1, 0.9, math.nan, -math.inf, 0.5])
    assert names(tmp_path) == ["val_loss=0.5", "val_loss=0.9"]
    assert saver.best_model_score == 0.9


def test_no_number_is_the_worst_and_of_equals_the_older_stays(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, "{step}", monitor="val_loss", save_top_k=2)
    trainer = FakeTrainer(saver)
    fit(trainer, [math.nan, math.inf, 0.5, 0.5, 0.5, math.nan])
    assert trainer.asked == ["step=2", "step=4", "step=6", "step=8"]
    assert names(tmp_path) == ["step=6", "step=8"]
    assert saver.best_model_path == tmp_path / "step=6"


def test_nothing_is_removed_before_what_replaces_it_is_on_the_disk(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, "{step}", asynchronous=True)
    trainer = begun(saver)
    for _ in range(3):
        trainer.step()
        trainer.end_epoch()
    assert names(tmp_path) == []
    trainer.write(1)
    assert names(tmp_path) == ["step=1"]
    trainer.write(1)
    assert names(tmp_path) == ["step=2"]
    assert saver.best_model_path == tmp_path / "step=3"  # decided already
    trainer.write(1)
    assert names(tmp_path) == ["step=3"]


def test_the_state_does_not_depend_on_the_speed_of_the_disk(tmp_path: Path) -> None:
    states = []
    for folder, count in (("fast", None), ("slow", 0)):
        saver = ModelCheckpoint(tmp_path / folder, monitor="val_loss", save_top_k=2, save_last=True, asynchronous=True)
        trainer = FakeTrainer(saver)
        fit(trainer, [0.5, 0.4, 0.6, 0.3], writes_of=lambda cursor, count=count: count)  # type: ignore[misc]
        states.append([content["callbacks"] for content in trainer.checkpoint_format.durable])
    assert states[0] == states[1]
    assert contents(tmp_path / "fast") == contents(tmp_path / "slow")


def test_last_is_written_besides_even_if_nothing_else_is(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, "{step}", monitor="val_loss", save_last=True)
    fit(FakeTrainer(saver), [0.1, 0.2, 0.3])
    assert contents(tmp_path) == {"last": 6, "step=2": 2}
    assert saver.last_model_path == tmp_path / "last"


def test_last_is_where_training_ended(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, save_top_k=0, save_last=True, every_n_train_steps=3)
    fit(FakeTrainer(saver), [0.1], steps=5)
    assert contents(tmp_path) == {"last": 5}


def test_last_as_a_link_leads_to_the_newest(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, "{step}", monitor="val_loss", save_last="link")
    fit(FakeTrainer(saver), [0.1, 0.2, 0.3])
    assert contents(tmp_path) == {"last": "-> step=6", "step=2": 2, "step=6": 6}
    assert saver.best_model_path == tmp_path / "step=2"
    assert saver.last_model_path == tmp_path / "last"


def test_last_may_become_a_link_and_a_checkpoint_again(tmp_path: Path) -> None:
    def make(save_last: Any) -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path, "{step}", monitor="val_loss", save_last=save_last)

    last_step: dict[object, object] = {}
    scores, content = [0.3], None
    for save_last in (True, "link", True):
        trainer = FakeTrainer(make(save_last))
        if content is not None:
            trainer.resume(content)
        fit(trainer, scores)
        content = trainer.checkpoint_format.durable[-1]
        last_step[len(scores)] = contents(tmp_path)["last"]
        scores = [*scores, 0.4]
    assert last_step == {1: 2, 2: "-> step=4", 3: 6}


def test_a_link_to_a_checkpoint_that_was_a_folder_takes_its_place(tmp_path: Path) -> None:
    trainer = FakeTrainer(ModelCheckpoint(tmp_path, "{step}", save_last=True))
    fit(trainer, [0.3])
    (tmp_path / "last").unlink()
    (tmp_path / "last").mkdir()
    trainer.checkpoint_format.delete = lambda path: path.rmdir()  # type: ignore[method-assign]
    other = FakeTrainer(ModelCheckpoint(tmp_path, "{step}", save_last="link"), format_=trainer.checkpoint_format)
    other.resume(trainer.checkpoint_format.durable[-1])
    other.begin()
    assert contents(tmp_path) == {"last": "-> step=2", "step=2": 2}


def test_two_in_one_folder_leave_each_other_alone(tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path, monitor="val_loss", save_last=True)
    newest = ModelCheckpoint(tmp_path, save_last=True)
    fit(FakeTrainer(best, newest), [0.1, 0.2, 0.05])
    assert best.best_model_path == tmp_path / "epoch=2-step=6"
    assert newest.best_model_path == tmp_path / "epoch=2-step=6-v1"
    assert contents(tmp_path) == {"epoch=2-step=6": 6, "epoch=2-step=6-v1": 6, "last": 6, "last-v1": 6}


def test_without_a_format_of_the_trainer_files_and_folders_are_removed(tmp_path: Path) -> None:
    trainer = FakeTrainer(ModelCheckpoint(tmp_path, "{step}", save_top_k=1))
    trainer.begin()
    del trainer.checkpoint_format

    class FolderFormat(JsonFormat):
        def save(self, path: Path, content: object) -> None:
            path.mkdir()
            (path / "content").write_text("")

    for format_ in (JsonFormat(), FolderFormat(), JsonFormat()):
        trainer.checkpoint_format = format_
        trainer.step()
        for callback in cast("tuple[ModelCheckpoint, ...]", trainer.callbacks):
            callback.on_train_epoch_end(trainer.view, object())
        (path, _, _, when_written), trainer.waiting = trainer.waiting[0], []
        format_.save(path, {"about": {}})
        del trainer.checkpoint_format
        assert when_written is not None
        when_written(path)
    assert names(tmp_path) == ["step=3"]


def test_what_cannot_be_removed_is_left_with_a_warning(tmp_path: Path) -> None:
    trainer = begun(ModelCheckpoint(tmp_path, "{step}"))

    def delete(path: Path) -> None:
        raise PermissionError("no")

    trainer.checkpoint_format.delete = delete  # type: ignore[method-assign]
    trainer.step()
    trainer.end_epoch()
    trainer.step()
    with pytest.warns(UserWarning, match=f"the checkpoint {tmp_path / 'step=1'} is left on the disk: no"):
        trainer.end_epoch()


SCORES = st.lists(st.one_of(st.sampled_from([0.0, 1.0, 2.0]), st.floats(width=16)), max_size=12)


@settings(deadline=None, max_examples=150)
@given(
    scores=SCORES,
    k=st.integers(-1, 4),
    mode=st.sampled_from(["min", "max"]),
    save_last=st.sampled_from([False, True, "link"]),
    asynchronous=st.booleans(),
    writes=st.lists(st.integers(0, 3), max_size=48),
)
def test_on_the_disk_are_the_best_and_the_last_and_nothing_else(
    scores: list[float], k: int, mode: Any, save_last: Any, asynchronous: bool, writes: list[int]
) -> None:
    if k == 0 and not save_last:
        k = 1
    with tempfile.TemporaryDirectory() as folder:
        saver = ModelCheckpoint(
            folder,
            "{step}",
            monitor="val_loss",
            mode=mode,
            save_top_k=k,
            save_last=save_last,
            asynchronous=asynchronous,
        )
        fit(FakeTrainer(saver), scores, writes_of=lambda cursor: writes[cursor] if cursor < len(writes) else None)

        def badness(epoch: int) -> tuple[bool, float, int]:
            score = scores[epoch] if mode == "min" else -scores[epoch]
            return math.isnan(score), 0.0 if math.isnan(score) else score, epoch

        ranked = sorted(range(len(scores)), key=badness)
        best = ranked if k == -1 else ranked[:k]
        step_of = {epoch: 2 * epoch + 2 for epoch in range(len(scores))}
        expected: dict[str, object] = {f"step={step_of[epoch]}": step_of[epoch] for epoch in best}
        if scores and save_last:
            newest = max(step_of.values())
            expected["last"] = f"-> step={newest}" if save_last == "link" else newest
            if save_last == "link":
                expected[f"step={newest}"] = newest
        assert contents(Path(folder)) == expected
        assert saver.best_model_path == (Path(folder) / f"step={step_of[best[0]]}" if best else None)


def without_a_last_in_doubt(found: dict[str, object]) -> dict[str, object]:
    """Where a run was killed between a checkpoint and `last`, that is written at the end of training."""
    return {name: "any" if name == "last" and isinstance(step, int) else step for name, step in found.items()}


Make: TypeAlias = Callable[[Path], list[ModelCheckpoint]]


def with_and_without_kills(data: st.DataObject, root: Path, make: Make, scores: list[float]) -> list[ModelCheckpoint]:
    """A run in the folder `whole`, and one in `cut` that is killed, and at last goes on from any state that was saved.

    Returns:
        The callbacks at the end of the second.
    """
    writes = data.draw(st.lists(st.integers(0, 3), max_size=24))

    def run(trainer: FakeTrainer) -> None:
        fit(trainer, scores, writes_of=lambda cursor: writes[cursor] if cursor < len(writes) else None)

    def go_on(*, newest: bool) -> FakeTrainer:
        trainer = FakeTrainer(*make(root / "cut"), format_=format_)
        if format_.durable:
            trainer.resume(format_.durable[-1] if newest else data.draw(st.sampled_from(format_.durable)))
        return trainer

    format_, kill = JsonFormat(), Kill()
    with kill.armed():
        run(FakeTrainer(*make(root / "whole")))
    for _ in range(data.draw(st.integers(1, 3))):
        trainer = go_on(newest=True)
        with suppress(Killed), Kill(data.draw(st.integers(0, kill.changes))).armed():
            run(trainer)
    run(trainer := go_on(newest=False))
    for path in (root / "cut").glob(".*.partial"):  # those are for the format to remove
        path.unlink()
    return [callback for callback in trainer.callbacks if isinstance(callback, ModelCheckpoint)]


KILLED_SCORES = st.lists(st.sampled_from([0.0, 1.0, 2.0, math.nan]), min_size=1, max_size=6)


@settings(deadline=None, max_examples=200)
@given(
    data=st.data(),
    scores=KILLED_SCORES,
    monitor=st.sampled_from([None, "val_loss"]),
    k=st.sampled_from([-1, 1, 2]),
    save_last=st.sampled_from([False, True, "link"]),
    asynchronous=st.booleans(),
    every_n_train_steps=st.sampled_from([None, 1, 3]),
    template=st.sampled_from(["{step}", "{epoch}", "best"]),
)
def test_after_a_kill_anywhere_any_saved_state_leads_to_the_same_files(
    data: st.DataObject, scores: list[float], template: str, k: int, **settings: Any
) -> None:
    with tempfile.TemporaryDirectory() as root:
        with_and_without_kills(
            data, Path(root), lambda folder: [ModelCheckpoint(folder, template, save_top_k=k, **settings)], scores
        )
        cut, whole = contents(Path(root, "cut")), contents(Path(root, "whole"))
        assert without_a_last_in_doubt(cut) == without_a_last_in_doubt(whole)


@settings(deadline=None, max_examples=100)
@given(
    data=st.data(), scores=KILLED_SCORES, asynchronous=st.booleans(), save_last=st.sampled_from([False, True, "link"])
)
def test_of_two_in_one_folder_nothing_is_left_that_neither_keeps(
    data: st.DataObject, scores: list[float], asynchronous: bool, save_last: Any
) -> None:
    """What one had asked for may not have been written when the process was killed, and what the other had was."""

    def make(folder: Path) -> list[ModelCheckpoint]:
        return [
            ModelCheckpoint(folder, "{step}", monitor="val_loss", asynchronous=asynchronous, save_last=save_last),
            ModelCheckpoint(folder, "{step}", every_n_train_steps=2, save_top_k=2, asynchronous=asynchronous),
        ]

    with tempfile.TemporaryDirectory() as root:
        savers = with_and_without_kills(data, Path(root), make, scores)
        kept = {path for saver in savers for path in (*saver.best_k_models, saver.last_model_path) if path is not None}
        assert {path.name for path in kept} == set(names(Path(root, "cut")))


# Its state


def test_its_state_is_data_and_comes_back(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, monitor="val_loss", save_top_k=2, save_last=True)
    fit(FakeTrainer(saver), [0.5, 0.4, 0.3])
    state = json.loads(json.dumps(saver.state_dict()))
    assert (state["best_model_path"], state["best_model_score"]) == ("epoch=2-step=6", 0.3)
    assert state["last_model_path"] == "last"
    other = ModelCheckpoint(tmp_path, monitor="val_loss", save_top_k=2, save_last=True)
    other.load_state_dict(state)
    assert other.state_dict() == saver.state_dict()
    assert other.best_model_path == tmp_path / "epoch=2-step=6"


def test_a_folder_that_was_moved_still_works(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path / "here", "{step}", monitor="val_loss")
    trainer = FakeTrainer(saver)
    fit(trainer, [0.5])
    (tmp_path / "here").rename(tmp_path / "there")
    moved = ModelCheckpoint(tmp_path / "there", "{step}", monitor="val_loss")
    resumed = FakeTrainer(moved)
    resumed.resume(trainer.checkpoint_format.durable[-1])
    fit(resumed, [0.5, 0.4])
    assert names(tmp_path / "there") == ["step=4"]


def test_what_is_no_longer_in_the_folder_is_forgotten(tmp_path: Path) -> None:
    trainer = FakeTrainer(ModelCheckpoint(tmp_path / "old", "{step}", monitor="val_loss"))
    fit(trainer, [0.1])
    elsewhere = ModelCheckpoint(tmp_path / "new", "{step}", monitor="val_loss")
    resumed = FakeTrainer(elsewhere)
    resumed.resume(trainer.checkpoint_format.durable[-1])
    fit(resumed, [0.1, 0.5])
    assert names(tmp_path / "new") == ["step=4"]
    assert names(tmp_path / "old") == ["step=2"]
    assert elsewhere.best_model_score == 0.5


def test_what_a_lost_checkpoint_was_to_replace_is_kept(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, "{step}", monitor="val_loss", asynchronous=True)
    trainer = begun(saver)
    for score in (0.3, 0.2):
        trainer.step()
        trainer.validate(val_loss=score)
        trainer.write(1 - trainer.current_epoch)
        trainer.end_epoch()
    state = json.loads(json.dumps(saver.state_dict()))  # saved by someone else, and the second of these never written
    assert names(tmp_path) == ["step=1"]
    other = ModelCheckpoint(tmp_path, "{step}", monitor="val_loss", asynchronous=True)
    other.load_state_dict(state)
    resumed = FakeTrainer(other)
    resumed.global_step, resumed.current_epoch = 2, 2
    resumed.begin()
    assert names(tmp_path) == ["step=1"]
    assert other.best_model_score == 0.3


def test_more_may_be_kept_after_a_resume_or_fewer(tmp_path: Path) -> None:
    trainer = FakeTrainer(ModelCheckpoint(tmp_path, "{step}", monitor="val_loss", save_top_k=3))
    fit(trainer, [0.5, 0.4, 0.3])
    resumed = FakeTrainer(ModelCheckpoint(tmp_path, "{step}", monitor="val_loss", save_top_k=1))
    resumed.resume(trainer.checkpoint_format.durable[-1])
    fit(resumed, [0.5, 0.4, 0.3, 0.2])
    assert names(tmp_path) == ["step=8"]


def test_what_is_remembered_does_not_grow_with_the_run(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1)
    trainer = begun(saver)
    sizes = set()
    for _ in range(40):
        trainer.step()
        sizes.add(len(cast("Any", saver.state_dict())["keeper"]["retention"]["replaced"]))
    assert max(sizes) <= 9


def test_its_key_tells_two_from_each_other(tmp_path: Path) -> None:
    keys = {
        ModelCheckpoint(tmp_path).state_key,
        ModelCheckpoint(tmp_path, "{epoch}").state_key,
        ModelCheckpoint(tmp_path, monitor="val_loss").state_key,
        ModelCheckpoint(tmp_path, monitor="val_loss", mode="max").state_key,
        ModelCheckpoint(tmp_path, every_n_train_steps=5).state_key,
        ModelCheckpoint(tmp_path, every_n_epochs=5).state_key,
        ModelCheckpoint(tmp_path, train_time_interval="00:00:00:05").state_key,
        ModelCheckpoint(tmp_path, save_weights_only=True).state_key,
    }
    assert len(keys) == 8
    assert ModelCheckpoint(tmp_path / "moved", save_top_k=2).state_key == ModelCheckpoint(tmp_path).state_key


def test_two_that_are_the_same_are_refused(tmp_path: Path) -> None:
    trainer = Trainer(max_epochs=1, callbacks=[ModelCheckpoint(tmp_path / "a"), ModelCheckpoint(tmp_path / "b")])
    with pytest.raises(ConfigurationError) as caught:
        trainer.fit(Classifier(), batches())
    assert str(caught.value).startswith("callbacks: two of them are the same: ModelCheckpoint{")
    assert str(caught.value).endswith(
        "Give one of them another `filename`: what is known of each is saved by its settings."
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"version": 2}, "the state has version 2, this release reads version 1. Load it with the release"),
        ({"keeper": 3}, "it is no state of it: 3 is no mapping. Load what `state_dict()` returned."),
        ({"monitor": {"validated": 1}}, "it is no state of it: 'from_validation'"),
        (
            {"monitor": {"from_validation": 1, "validated": True, "before": 0, "at_epoch_end": 0}},
            "is nothing known of a metric",
        ),
        (
            {"monitor": {"from_validation": True, "validated": True, "before": "", "at_epoch_end": None}},
            "is nothing known of a metric",
        ),
        ({"schedule": {"steps_seen": None, "waited": 0}}, "is no place in a schedule"),
        ({"waits": "yes"}, "it is no state of it"),
        ({"keeper": {"foreign": 1, "last_name": None, "retention": {}}}, "is not what is kept"),
    ],
)
def test_what_is_no_state_is_refused(tmp_path: Path, change: dict[str, object], problem: str) -> None:
    saver = ModelCheckpoint(tmp_path, monitor="val_loss")
    with pytest.raises(StateError) as caught:
        saver.load_state_dict({**saver.state_dict(), **change})
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("retention", "problem"),
    [
        ({"requests": "1", "kept": [], "replaced": []}, "is not what is kept"),
        ({"requests": 1, "kept": [["a", 0.5]], "replaced": []}, "['a', 0.5] is no checkpoint"),
        ({"requests": 1, "kept": [["a", "b", 1]], "replaced": []}, "['a', 'b', 1] is no checkpoint"),
        ({"requests": 1, "kept": [["../../etc", 0.5, 1]], "replaced": []}, "'../../etc' is not within the folder"),
        ({"requests": 1, "kept": [], "replaced": [["a", 2]]}, "'a' is no checkpoint"),
        ({"requests": 1, "kept": [], "replaced": [[["..", None, 1], 2]]}, "'..' is not within the folder"),
        ({"requests": 1, "kept": [], "replaced": [5]}, "5 is not what is to be removed"),
    ],
)
def test_no_state_makes_it_remove_what_is_not_its_own(tmp_path: Path, retention: object, problem: str) -> None:
    saver = ModelCheckpoint(tmp_path)
    state = cast("Any", saver.state_dict())
    state["keeper"]["retention"] = retention
    with pytest.raises(StateError) as caught:
        saver.load_state_dict(state)
    assert problem in str(caught.value)


def test_it_can_be_copied_and_pickled(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, monitor="val_loss", save_on_signals=["SIGTERM"])
    fit(FakeTrainer(saver), [0.5])
    for other in (copy.deepcopy(saver), pickle.loads(pickle.dumps(saver))):
        assert other.state_dict() == saver.state_dict()


# Found again


def test_in_a_new_process_the_newest_and_the_best_are_found(tmp_path: Path) -> None:
    trainer = FakeTrainer(ModelCheckpoint(tmp_path, "{step}", monitor="val_loss", save_last=True))
    fit(trainer, [0.3, 0.2, 0.4])
    fresh, format_ = ModelCheckpoint(tmp_path, "{step}", monitor="val_loss", save_last=True), JsonFormat()
    assert fresh.find("last", format_) == tmp_path / "last"
    assert fresh.find("best", format_) == tmp_path / "step=4"
    assert ModelCheckpoint(tmp_path, "{step}", monitor="other").find("best", format_) is None


def test_links_and_hidden_things_are_no_checkpoints_of_their_own(tmp_path: Path) -> None:
    trainer = FakeTrainer(ModelCheckpoint(tmp_path, "{step}", save_last="link"))
    fit(trainer, [0.3, 0.2])
    (tmp_path / ".step=9.partial").write_text('{"format": "json"}')
    (tmp_path / "notes.txt").write_text("?")
    assert ModelCheckpoint(tmp_path).find("last", JsonFormat()) == tmp_path / "step=4"


def test_a_format_is_asked_for_what_stepped_aside_when_the_machine_stopped(tmp_path: Path) -> None:
    trainer = FakeTrainer(ModelCheckpoint(tmp_path, save_top_k=0, save_last=True))
    fit(trainer, [0.3])
    (tmp_path / "last").rename(tmp_path / ".last.0123.older")

    class SettlingFormat(JsonFormat):
        def load(self, path: Path) -> dict[str, object]:
            return super().load(path if path.exists() else path.with_name(f".{path.name}.0123.older"))

        def holds(self, path: Path) -> bool:
            return super().holds(path) or path.with_name(f".{path.name}.0123.older").exists()

    assert ModelCheckpoint(tmp_path).find("last", SettlingFormat()) == tmp_path / "last"


def test_weights_alone_are_not_the_last_but_may_be_the_best(tmp_path: Path) -> None:
    weights = ModelCheckpoint(tmp_path, "weights-{step}", monitor="val_loss", save_weights_only=True)
    newest = ModelCheckpoint(tmp_path, "{step}")
    fit(FakeTrainer(newest, weights), [0.3, 0.4])
    assert newest.find("last", JsonFormat()) == tmp_path / "step=4"
    again = ModelCheckpoint(tmp_path, "weights-{step}", monitor="val_loss", save_weights_only=True)
    assert again.find("best", JsonFormat()) == tmp_path / "weights-step=2"
    fit(FakeTrainer(alone := ModelCheckpoint(tmp_path / "alone", save_weights_only=True)), [0.3])
    assert alone.find("last", JsonFormat()) is None
    assert alone.find("best", JsonFormat()) == tmp_path / "alone" / "epoch=0-step=2"


def test_damaged_ones_are_passed_over_with_a_warning(tmp_path: Path) -> None:
    trainer = FakeTrainer(ModelCheckpoint(tmp_path, "{step}", save_top_k=-1))
    fit(trainer, [0.3, 0.2, 0.1, 0.0])
    (tmp_path / "step=8").write_text('{"format": "json", "abo')
    (tmp_path / "step=6").write_text('{"format": "json", "about": {"order": "3"}}')
    fresh = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1)
    with pytest.warns(UserWarning, match="is passed over") as warned:
        assert fresh.find("last", JsonFormat()) == tmp_path / "step=4"
    old = tmp_path / "step=6"
    assert [str(warning.message) for warning in warned] == [
        f"the checkpoint {old} is passed over: {old}: it does not say how old it is. Load it by its path.",
        f"the checkpoint {tmp_path / 'step=8'} is passed over: {tmp_path / 'step=8'}: it is damaged. Load another.",
    ]


def test_the_best_is_looked_for_in_older_ones_if_a_state_is_damaged(tmp_path: Path) -> None:
    trainer = FakeTrainer(ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, monitor="val_loss"))
    fit(trainer, [0.1, 0.2])
    content = json.loads((tmp_path / "step=4").read_text())
    del content["callbacks"]
    (tmp_path / "step=4").write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="it has no callbacks"):
        found = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, monitor="val_loss").find("best", JsonFormat())
    assert found == tmp_path / "step=2"


def test_where_there_is_nothing_nothing_is_found(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path / "new")
    assert saver.find("last", JsonFormat()) is None
    assert saver.find("best", JsonFormat()) is None
    with pytest.raises(ConfigurationError, match=r"there is no 'newest'\. Ask for 'last' or 'best'\."):
        saver.find(cast("Any", "newest"), JsonFormat())


# In a fit


class SavingTrainer(Trainer):
    """Writes what is asked for as soon as it is asked for."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.written: dict[str, dict[str, float]] = {}

    def save_checkpoint(self, path: Any, *, when_written: Callable[[Path], object] | None = None, **how: Any) -> None:
        self.written[path.name] = {"epoch": self.current_epoch, "step": self.global_step, **self.metrics}
        path.write_text("")
        if when_written is not None:
            when_written(path)


def test_a_fit_is_saved_when_the_metric_is_new(tmp_path: Path) -> None:
    by_val = ModelCheckpoint(tmp_path, "val-{step}", monitor="val_loss", save_top_k=-1)
    by_train = ModelCheckpoint(tmp_path, "train-{step}", monitor="train_loss", save_top_k=-1)
    by_step = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=2, save_top_k=-1)
    callbacks = [by_val, by_train, by_step]
    trainer = SavingTrainer(max_epochs=2, val_check_interval=2, num_sanity_val_steps=1, callbacks=callbacks)
    trainer.fit(Classifier(), batches(4), batches(2))
    assert [name for name in trainer.written if name.startswith("val")] == [
        "val-step=2",
        "val-step=4",
        "val-step=6",
        "val-step=8",
    ]
    assert [name for name in trainer.written if name.startswith("train")] == ["train-step=4", "train-step=8"]
    assert [name.partition("-")[0] for name in trainer.written if name.startswith("step")] == [
        "step=2",
        "step=4",
        "step=6",
        "step=8",
    ]
    scores = {path.name: score for path, score in (by_val.best_k_models | by_train.best_k_models).items()}
    assert scores == {
        name: written["val_loss" if name.startswith("val") else "train_loss"]
        for name, written in trainer.written.items()
        if name in scores
    }
    assert trainer.written["train-step=8"] == {**trainer.written["train-step=8"], "epoch": 1, "step": 8}


def test_without_a_validation_in_each_epoch_it_is_saved_where_there_is_one(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, "{epoch}", monitor="val_loss", save_top_k=-1)
    trainer = SavingTrainer(max_epochs=4, check_val_every_n_epoch=2, callbacks=[saver])
    trainer.fit(Classifier(), batches(2), batches(1))
    trainer.validate(Classifier(), batches(1))
    assert list(trainer.written) == ["epoch=1", "epoch=3"]


# What goes wrong


def test_a_metric_that_no_validation_gives_is_an_error(tmp_path: Path) -> None:
    trainer = begun(ModelCheckpoint(tmp_path, monitor="val_los"))
    trainer.step()
    trainer.validate(val_loss=0.5)
    with pytest.raises(ConfigurationError) as caught:
        trainer.end_epoch(train_loss=0.5)
    assert str(caught.value) == (
        "ModelCheckpoint(monitor='val_los'): there is no metric 'val_los'; there are ['train_loss', 'val_loss']. "
        "Monitor one of those, or log it in a step, in training_epoch_end or in a validation."
    )


def test_without_a_validation_it_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = begun(ModelCheckpoint(tmp_path, monitor="val_loss"))
    with caplog.at_level(logging.WARNING, logger="typedloops"):
        for _ in range(3):
            trainer.step()
            trainer.end_epoch(train_loss=0.5)
        trainer.end()
    first, last = caplog.messages
    assert first.endswith("Until a validation gives it no checkpoint is ranked.")
    assert last.startswith(f"The fit ended without a checkpoint to keep in {tmp_path}. ModelCheckpoint(monitor=")


def test_a_fit_that_ends_before_one_is_due_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="typedloops"):
        fit(FakeTrainer(ModelCheckpoint(tmp_path, every_n_train_steps=100)), [0.5])
    assert caplog.messages == [f"The fit ended without a checkpoint to keep in {tmp_path}. None was due."]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError) as caught:
        begun(ModelCheckpoint(tmp_path / "file"))
    assert str(caught.value).startswith(f"ModelCheckpoint(dirpath={str(tmp_path / 'file')!r}): it cannot be made: ")
    assert str(caught.value).endswith("Give a folder that may be written to.")


FOLDER = "Give a folder, as in dirpath='checkpoints'."
STEPS = "Give a number of optimizer steps from 1, or None."
OTHER_UNIT = "optimizer steps. Give an int, or a string as in '10st'."
TIME = "Give a timedelta, or a string as in '00:12:30:00', which is 12 hours and a half."
SIGNALS = "Give some of SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP."
FIELDS = "Write fields as in '{epoch}-{val_loss:.3f}'."
FORMAT = "Give a format as in '{epoch:03d}' or '{val_loss:.3f}'."


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dirpath": None}, f"(dirpath=None): it is no path. {FOLDER}"),
        ({"dirpath": ""}, f"(dirpath=''): it is no path. {FOLDER}"),
        ({"dirpath": b"x"}, f"(dirpath=b'x'): it is no path. {FOLDER}"),
        (
            {"dirpath": "s3://bucket/x"},
            f"(dirpath='s3://bucket/x'): it is an address, and checkpoints are kept on this machine. {FOLDER}",
        ),
        ({"filename": ""}, "(filename=''): it is no name. Give a string, as in '{epoch}-{step}'."),
        ({"filename": None}, "(filename=None): it is no name. Give a string, as in '{epoch}-{step}'."),
        ({"filename": "a/{epoch}"}, "(filename='a/{epoch}'): there is a folder in it. Give the folder as `dirpath`."),
        ({"filename": "{}"}, "(filename='{}'): a field has no name. Name it, as in '{epoch}'."),
        ({"filename": "{epoch"}, f"(filename='{{epoch'): expected '}}' before end of string. {FIELDS}"),
        ({"filename": "{a!r}"}, f"(filename='{{a!r}}'): numbers have no conversion !r. {FIELDS}"),
        ({"filename": "{a:{b}}"}, f"(filename='{{a:{{b}}}}'): there is a field within a field. {FIELDS}"),
        (
            {"filename": "{val_loss:d}"},
            f"(filename='{{val_loss:d}}'): val_loss is a number, which cannot be formatted with 'd'. {FORMAT}",
        ),
        (
            {"filename": ".{epoch}"},
            "(filename='.{epoch}'): what begins with a dot is hidden. Begin with another letter.",
        ),
        ({"monitor": 3}, "(monitor=3): it is no metric's name. Give a string, or None to keep the newest."),
        ({"monitor": ""}, "(monitor=''): it is no metric's name. Give a string, or None to keep the newest."),
        ({"mode": "auto"}, "(mode='auto'): there is no such mode. Give 'min' or 'max'."),
        (
            {"mode": "max"},
            "(mode='max'): nothing is monitored that could be largest. Give a `monitor` as well.",
        ),
        ({"save_top_k": -2}, "(save_top_k=-2): it is no number of checkpoints. Give a count, or -1 to keep all."),
        ({"save_top_k": True}, "(save_top_k=True): it is no number of checkpoints. Give a count, or -1 to keep all."),
        ({"save_top_k": 0}, "(save_top_k=0): nothing would ever be saved. Give 1 or more, or save_last=True."),
        ({"save_last": "copy"}, "(save_last='copy'): there is no such way. Give True, False, or 'link'."),
        ({"save_last": None}, "(save_last=None): there is no such way. Give True, False, or 'link'."),
        (
            {"every_n_train_steps": 0},
            f"(every_n_train_steps=0): it never comes round. {STEPS}",
        ),
        (
            {"every_n_train_steps": 1.5},
            f"(every_n_train_steps=1.5): it is no number of optimizer steps. {STEPS}",
        ),
        (
            {"every_n_train_steps": "2ep"},
            f".every_n_train_steps: 2ep counts epochs, and ModelCheckpoint.every_n_train_steps {OTHER_UNIT}",
        ),
        ({"every_n_epochs": -1}, "(every_n_epochs=-1): it never comes round. Give a number of epochs from 1, or None."),
        (
            {"train_time_interval": "10 minutes"},
            f".train_time_interval: '10 minutes' is no duration. {TIME}",
        ),
        (
            {"train_time_interval": timedelta(0)},
            f".train_time_interval: 0:00:00 is no time at all. {TIME}",
        ),
        ({"asynchronous": "yes"}, "(asynchronous='yes'): it is neither True nor False. Give one of them."),
        ({"save_weights_only": 1}, "(save_weights_only=1): it is neither True nor False. Give one of them."),
        ({"save_on_exception": None}, "(save_on_exception=None): it is neither True nor False. Give one of them."),
        (
            {"save_on_train_epoch_end": 0},
            "(save_on_train_epoch_end=0): it is neither True nor False. Give one of them.",
        ),
        (
            {"save_on_signals": "SIGTERM"},
            "(save_on_signals='SIGTERM'): it is no list of signals. Give a list, as in ['SIGTERM'].",
        ),
        (
            {"save_on_signals": ["SIGKILL"]},
            f"(save_on_signals='SIGKILL'): it is no signal at which a run is saved. {SIGNALS}",
        ),
        (
            {"save_on_signals": [9]},
            f"(save_on_signals=9): it is no signal at which a run is saved. {SIGNALS}",
        ),
    ],
)
def test_a_setting_that_cannot_work_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ModelCheckpoint(**cast("Any", {"dirpath": "checkpoints", **wrong}))
    assert str(caught.value) == f"ModelCheckpoint{message}"


def test_the_folder_does_not_move_with_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saver = ModelCheckpoint("here/../there")
    monkeypatch.chdir("/")
    assert saver.dirpath == tmp_path / "there"


def test_nothing_is_warned_of_in_a_run_in_which_nothing_is_wrong(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        fit(FakeTrainer(ModelCheckpoint(tmp_path, monitor="val_loss", save_last=True)), [0.5, 0.4])
    assert caught == []
