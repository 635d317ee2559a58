"""What is saved of a run, and what is said of a checkpoint that does not fit."""

from __future__ import annotations

import copy
import math
import random
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

import typedloops
from tests.modules import Batch, Classifier, batches
from typedloops import (
    Callback,
    FitLoop,
    FitLoopOf,
    Loop,
    LoopProtocol,
    ModelCheckpoint,
    ModuleHooks,
    StepLoop,
    TrainerView,
    TrainingBatchLoop,
    TrainingEpochLoop,
)
from typedloops.checkpoint import FolderFormat
from typedloops.errors import CheckpointError, ConfigurationError, LoaderError, MisuseError, StateError
from typedloops.loops.run.computing.rng import RngStates

# Much here goes where it does not belong.
Trainer: Any = typedloops.Trainer


class Left(Exception):
    """Ends a run where it was saved."""


class SaveAt(Callback[nn.Module]):
    """Saves after batch `batch` of all, and ends the run there."""

    def __init__(self, path: Path, batch: int) -> None:
        self.path = path
        self.batch = batch
        self.batches = 0

    def on_train_batch_end(self, t: TrainerView, m: nn.Module, outputs: object, batch: object, batch_idx: int) -> None:
        self.batches += 1
        if self.batches == self.batch:
            t.save_checkpoint(self.path, when_written=self.leave)

    def leave(self, path: Path) -> None:
        raise Left


def save_at(path: Path, batch: int, fit: Callable[[Any], object], **settings: Any) -> Any:
    """Fit until a batch, and the trainer that did."""
    trainer = Trainer(
        **{"max_epochs": 2, **settings, "callbacks": [*settings.get("callbacks", ()), SaveAt(path, batch)]}
    )
    with pytest.raises(Left):
        fit(trainer)
    return trainer


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(CheckpointError) as error:
        call()
    return str(error.value)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(map(torch.equal, a.state_dict().values(), b.state_dict().values()))


# The end of a fit


def test_a_fit_goes_on_from_its_end_with_a_higher_limit(tmp_path: Path) -> None:
    torch.manual_seed(1)
    whole = Classifier()
    Trainer(max_epochs=4).fit(whole, batches())
    torch.manual_seed(1)
    first = Classifier()
    trainer = Trainer(max_epochs=2)
    trainer.fit(first, batches())
    trainer.save_checkpoint(tmp_path / "end")
    torch.manual_seed(99)
    second = Classifier()
    result = Trainer(max_epochs=4).fit(second, batches(), ckpt_path=tmp_path / "end")
    assert (result.epochs, result.optimizer_steps) == (4, 16)
    assert same(whole, second)


def test_nothing_is_left_of_a_fit_that_is_done(tmp_path: Path) -> None:
    trainer, module = Trainer(max_epochs=1), Classifier()
    trainer.fit(module, batches())
    trainer.save_checkpoint(tmp_path / "end")
    with pytest.warns(UserWarning, match="nothing is left to do: max_epochs is 1, and 1 epochs are done"):
        assert Trainer(max_epochs=1).fit(Classifier(), batches(), ckpt_path=tmp_path / "end").epochs == 1


def test_there_is_nothing_to_save(tmp_path: Path) -> None:
    trainer = Trainer(max_epochs=1)
    told = (
        "trainer.save_checkpoint: nothing is running, and there is no fit that came to its end and whose module is "
        "still there. Save from a hook or a loop of a run, or after a fit."
    )
    for _ in range(2):
        with pytest.raises(MisuseError) as error:
            trainer.save_checkpoint(tmp_path / "none")
        assert str(error.value) == told
        trainer.fit(Classifier(), batches())
    assert not list(tmp_path.iterdir())


def test_a_stop_that_ended_the_fit_does_not_end_the_one_that_goes_on(tmp_path: Path) -> None:
    class Stops(Callback[nn.Module]):
        def on_train_epoch_end(self, trainer: TrainerView, module: nn.Module) -> None:
            trainer.should_stop = trainer.current_epoch == 0

    trainer, module = Trainer(max_epochs=3, callbacks=[Stops()]), Classifier()
    assert trainer.fit(module, batches()).epochs == 1
    trainer.save_checkpoint(tmp_path / "end")
    assert Trainer(max_epochs=3).fit(Classifier(), batches(), ckpt_path=tmp_path / "end").epochs == 3


def test_weights_alone_after_a_fit_and_within(tmp_path: Path) -> None:
    class Saves(Callback[nn.Module]):
        def on_train_epoch_end(self, trainer: TrainerView, module: nn.Module) -> None:
            trainer.save_checkpoint(tmp_path / "within", weights_only=True)

    trainer, module = Trainer(max_epochs=1, callbacks=[Saves()]), Classifier()
    trainer.fit(module, batches())
    trainer.save_checkpoint(tmp_path / "after", weights_only=True)
    for name in ("within", "after"):
        content = FolderFormat().load(tmp_path / name)
        assert set(content) == {"about", "module"}
        other = Classifier()
        expected = Trainer().validate(module, batches()).metrics
        assert Trainer().validate(other, batches(), ckpt_path=tmp_path / name).metrics == expected
        assert same(module, other)
        assert refused(partial(Trainer().fit, Classifier(), batches(), ckpt_path=tmp_path / name)) == (
            f"{tmp_path / name}: it has the weights alone, which is nothing to go on from. Load them into the module, "
            "`load_weights(path)`, and begin a new fit."
        )


# Evaluations


@pytest.mark.parametrize("entry", ["validate", "test", "predict"])
def test_an_evaluation_takes_the_weights_of_a_fit(tmp_path: Path, entry: str) -> None:
    module = Classifier()
    save_at(tmp_path / "c", 3, lambda trainer: trainer.fit(module, batches()))
    expected = getattr(Trainer(), entry)(module, batches())
    assert str(getattr(Trainer(), entry)(Classifier(), batches(), ckpt_path=tmp_path / "c")) == str(expected)


def test_an_evaluation_takes_weights_from_elsewhere(tmp_path: Path) -> None:
    module = Classifier()
    expected = Trainer().validate(module, batches()).metrics
    torch.save(module.state_dict(), tmp_path / "torch.pt")
    torch.save({"state_dict": module.state_dict(), "epoch": 3}, tmp_path / "lightning.ckpt")
    save_file(module.state_dict(), tmp_path / "weights.safetensors")
    for name in ("torch.pt", "lightning.ckpt", "weights.safetensors"):
        assert Trainer().validate(Classifier(), batches(), ckpt_path=tmp_path / name).metrics == expected
    told = refused(lambda: Trainer().validate(Classifier(), batches(), ckpt_path=tmp_path / "none"))
    assert told == f"{tmp_path / 'none'}: there is nothing. Give a checkpoint or a file of weights."


def test_a_validation_goes_on_in_its_middle(tmp_path: Path) -> None:
    seen: list[int] = []

    class Saves(Callback[nn.Module]):
        def on_validation_batch_end(
            self, t: TrainerView, m: nn.Module, o: object, b: object, batch_idx: int, dataloader_idx: int = 0
        ) -> None:
            seen.append(batch_idx)
            if seen == [0, 1]:
                t.save_checkpoint(tmp_path / "c", when_written=self.leave)

        def leave(self, path: Path) -> None:
            raise Left

    module = Classifier()
    expected = Trainer().validate(module, batches()).metrics
    with pytest.raises(Left):
        Trainer(callbacks=[Saves()]).validate(module, batches())
    trainer, other = Trainer(callbacks=[Saves()]), Classifier()
    trainer.load_checkpoint(tmp_path / "c")
    assert trainer.validate(other, batches()).metrics == expected
    assert seen == [0, 1, 2, 3]
    fewer = Trainer().validate(Classifier(), batches(3), ckpt_path=tmp_path / "c")
    assert fewer.batches == 3, "ckpt_path= of an evaluation is for the weights"


class SavesInPrediction(Callback[nn.Module]):
    """Saves after so many batches of predictions, and ends the run there."""

    def __init__(self, path: Path, batches: int) -> None:
        self.path = path
        self.batches = batches

    def on_predict_batch_end(
        self, t: TrainerView, m: nn.Module, o: object, b: object, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.batches -= 1
        if self.batches == 0:
            t.save_checkpoint(self.path, when_written=self.leave)

    def leave(self, path: Path) -> None:
        raise Left


class Drawing(Classifier):
    """Predicts with a random number in it."""

    predicted = 0

    def predict_step(self, batch: Batch, batch_idx: int) -> Any:
        self.predicted += 1
        return {"logits": self.net(batch[0]) + torch.rand(1), "of": (batch_idx, None)}


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("batch", [1, 2, 4, 5])
def test_a_prediction_goes_on_in_its_middle(tmp_path: Path, batch: int, several: bool) -> None:
    two: Any = [DataLoader(batches(count), batch_size=None) for count in (4, 2)]  # type: ignore[arg-type]
    data: Any = two if several else batches(6)
    torch.manual_seed(1)
    module = Drawing()
    expected = Trainer().predict(module, data)
    torch.manual_seed(1)
    module = Drawing()
    with pytest.raises(Left):
        Trainer(callbacks=[SavesInPrediction(tmp_path / "c", batch)]).predict(module, data)
    torch.manual_seed(99)
    trainer, other = Trainer(), Drawing()
    trainer.load_checkpoint(tmp_path / "c", exact=True)
    assert str(trainer.predict(other, data)) == str(expected)
    assert other.predicted == 6 - batch


def test_predictions_that_a_checkpoint_cannot_hold(tmp_path: Path) -> None:
    class Odd(Classifier):
        def predict_step(self, batch: Batch, batch_idx: int) -> Any:
            return Left()

    class Writer:
        def write(self, prediction: object, batch: object, batch_idx: int, dataloader_idx: int) -> None:
            pass

    def trainer() -> Any:
        return Trainer(callbacks=[SavesInPrediction(tmp_path / "c", 2)])

    assert refused(lambda: trainer().predict(Odd(), batches())) == (
        "save_checkpoint: a prediction is under way, and a checkpoint cannot hold what it gives, a Left. Let "
        "`predict_step` return tensors, numbers, and lists, tuples and dicts of them, or save after it."
    )
    assert refused(lambda: trainer().predict(Classifier(), batches(), writer=Writer())) == (
        "save_checkpoint: a prediction is under way, whose predictions a writer has. Save before or after it, or "
        "predict without a writer."
    )


# What does not fit


def test_another_tree_is_told_as_a_difference_of_paths(tmp_path: Path) -> None:
    class Own(StepLoop[Classifier, Batch, Tensor]):
        def advance(self, model: Classifier, batch: Batch, batch_idx: int) -> None:
            self.output = model.training_step(batch, batch_idx)

    save_at(tmp_path / "c", 3, lambda trainer: trainer.fit(Classifier(), batches()))
    trainer = Trainer()
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=Own())
    own = f"{Own.__module__}.{Own.__qualname__}"
    assert refused(lambda: trainer.fit(Classifier(), batches(), ckpt_path=tmp_path / "c")) == (
        f"{tmp_path / 'c'}: it is of another tree of loops (-: only in the checkpoint, +: only here):\n"
        "- epoch_loop.batch_loop.optimizer_loop: typedloops.loops.fit.optimization.optimizer_loop.OptimizerLoop\n"
        f"+ epoch_loop.batch_loop.optimizer_loop: {own}. Connect the loops that were there."
    )


def test_other_weights(tmp_path: Path) -> None:
    class Wider(Classifier):
        def __init__(self, width: int = 9, more: bool = False) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 3))
            if more:
                self.more = nn.Linear(2, 2, bias=False)
                del self.net[0].bias
                self.net[0].register_parameter("bias", None)

    save_at(tmp_path / "c", 3, lambda trainer: trainer.fit(Classifier(), batches()))
    assert refused(lambda: Trainer().fit(Wider(more=True), batches(), ckpt_path=tmp_path / "c")) == (
        f"{tmp_path / 'c'}: the module has other weights than the checkpoint (-: only there, +: only here):\n"
        "- net.0.bias\n+ more.weight. Build the module that was saved, with the same arguments."
    )
    told = refused(lambda: Trainer().fit(Wider(), batches(), ckpt_path=tmp_path / "c"))
    assert told.startswith(f"{tmp_path / 'c'}: the weights do not fit: Error(s) in loading state_dict for Wider:")


def test_another_stage(tmp_path: Path) -> None:
    class Saves(Callback[nn.Module]):
        def on_validation_epoch_start(self, trainer: TrainerView, module: nn.Module) -> None:
            trainer.save_checkpoint(tmp_path / "c")

    Trainer(callbacks=[Saves()]).validate(Classifier(), batches())
    assert refused(lambda: Trainer().fit(Classifier(), batches(), ckpt_path=tmp_path / "c")) == (
        f"{tmp_path / 'c'}: it is of a run of validate, and this one is of fit. Give a checkpoint of such a run."
    )


def test_other_optimizers(tmp_path: Path) -> None:
    class Other(Classifier):
        def configure_optimizers(self) -> Optimizer:
            return torch.optim.Adam(self.parameters())

    save_at(tmp_path / "c", 3, lambda trainer: trainer.fit(Classifier(), batches()))
    with pytest.raises(typedloops.errors.OptimizerError, match="it made Adam, and the last fit had SGD"):
        Trainer().fit(Other(), batches(), ckpt_path=tmp_path / "c")


def test_something_that_cannot_be_saved_names_its_place(tmp_path: Path) -> None:
    class Keeps(Callback[nn.Module]):
        def on_save_checkpoint(self, t: TrainerView, m: nn.Module, checkpoint: dict[str, object]) -> None:
            checkpoint["mine"] = {"thing": object()}

    assert refused(
        lambda: Trainer(max_epochs=1, callbacks=[Keeps(), SaveAt(tmp_path / "c", 1)]).fit(Classifier(), batches())
    ) == (
        "custom: mine/thing: an object of type object cannot be saved. Save what it is made of: numbers, strings, "
        "tensors, and lists, tuples and dicts of them."
    )
    assert not list(tmp_path.iterdir())


def test_a_module_without_a_state(tmp_path: Path) -> None:
    class Bare:
        def __init__(self) -> None:
            self.weight = nn.Parameter(torch.zeros(4))

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            return (batch[0] @ self.weight).mean()

        def configure_optimizers(self) -> Optimizer:
            return SGD([self.weight], lr=0.1)

    assert refused(lambda: Trainer(max_epochs=1, callbacks=[SaveAt(tmp_path / "c", 1)]).fit(Bare(), batches())) == (
        "Bare: it cannot be saved: it has no `state_dict` and `load_state_dict`. Give it both, or make it an nn.Module."
    )


def test_a_word_needs_somebody_who_knows() -> None:
    for word in ("last", "best"):
        assert refused(partial(Trainer().fit, Classifier(), batches(), ckpt_path=word)) == (
            f"ckpt_path={word!r}: no callback of the trainer knows of checkpoints. Give it a ModelCheckpoint, or give "
            "a path."
        )


def test_a_path_within_another_loop(tmp_path: Path) -> None:
    class Around(Loop[[nn.Module], None]):
        fit_loop: typedloops.Slot[FitLoop] = typedloops.Slot()
        ran = False

        def __init__(self) -> None:
            self.fit_loop = FitLoop(max_epochs=1)

        @property
        def done(self) -> bool:
            return self.ran

        def advance(self, module: nn.Module) -> None:
            self.ran = True
            self.fit_loop.run(module, batches(), ckpt_path=tmp_path)  # type: ignore[call-overload]

    with pytest.raises(MisuseError) as error:
        Trainer(fit_loop=Around()).fit(Classifier())
    assert str(error.value) == (
        "fit_loop.fit_loop: ckpt_path: it runs within another loop, whose state would not be that of the checkpoint. "
        "Call `trainer.load_checkpoint(path)` before the run of the whole."
    )


# What belongs to a run besides


class Rich(Classifier, ModuleHooks[Batch]):
    """Has whatever a module may have besides weights."""

    passing: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passing", torch.zeros(3), persistent=False)
        self.accuracy = MulticlassAccuracy(3)
        self.metrics = MetricCollection({"loss": MeanMetric()})
        self.net[0].eval()
        self.net[0].requires_grad_(False)
        self.seen = 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.passing += batch[0].mean()
        self.accuracy.update(self.net(batch[0]), batch[1])
        self.metrics.update(loss.detach())
        self.seen += 1
        if self.seen == 2:
            self.net[3].eval()
            self.net[0].requires_grad_(True)
            self.net[0].train()
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        checkpoint["seen"] = self.seen

    def on_load_checkpoint(self, checkpoint: dict[str, object]) -> None:
        self.seen = checkpoint["seen"]  # type: ignore[assignment]


def test_buffers_that_pass_metrics_modes_and_what_is_frozen(tmp_path: Path) -> None:
    torch.manual_seed(1)
    whole = Rich()
    Trainer(max_epochs=2).fit(whole, batches())
    torch.manual_seed(1)
    save_at(tmp_path / "c", 3, lambda trainer: trainer.fit(Rich(), batches()))
    torch.manual_seed(5)
    other = Rich()
    Trainer(max_epochs=2).fit(other, batches(), ckpt_path=tmp_path / "c")
    assert same(whole, other)
    assert torch.equal(whole.passing, other.passing)
    assert whole.accuracy.compute() == other.accuracy.compute()
    assert whole.metrics.compute() == other.metrics.compute()
    assert other.seen == 8
    assert [part.training for part in other.modules()] == [part.training for part in whole.modules()]
    assert [p.requires_grad for p in other.parameters()] == [p.requires_grad for p in whole.parameters()]


class Wide(SGD):
    """Keeps sums in more bits than the weights have."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    total = self.state[parameter].setdefault("total", torch.zeros_like(parameter, dtype=torch.float64))
                    total += parameter.grad.double() / 3
        return super().step(closure)


def test_an_optimizer_that_keeps_more_bits_than_its_weights_have(tmp_path: Path) -> None:
    class Module(Classifier):
        def configure_optimizers(self) -> Optimizer:
            self.optimizer = Wide(self.parameters(), lr=0.1)
            return self.optimizer

    torch.manual_seed(1)
    whole = Module()
    Trainer(max_epochs=2).fit(whole, batches())
    torch.manual_seed(1)
    save_at(tmp_path / "c", 3, lambda trainer: trainer.fit(Module(), batches()))
    other = Module()
    Trainer(max_epochs=2).fit(other, batches(), ckpt_path=tmp_path / "c")
    totals = [[state["total"] for state in module.optimizer.state.values()] for module in (whole, other)]
    assert all(total.dtype == torch.float64 for total in totals[1])
    assert all(map(torch.equal, *totals))


class Counts(Callback[nn.Module]):
    """Has a state."""

    def __init__(self, key: str = "") -> None:
        self.batches = 0
        if key:
            self.state_key = key

    def on_train_batch_end(self, t: TrainerView, m: nn.Module, outputs: object, batch: object, batch_idx: int) -> None:
        self.batches += 1

    def state_dict(self) -> dict[str, object]:
        return {"batches": self.batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.batches = state_dict["batches"]


def test_callbacks_by_their_keys(tmp_path: Path) -> None:
    def fit(*callbacks: Counts, exact: bool = False) -> None:
        trainer = Trainer(max_epochs=2, callbacks=callbacks)
        trainer.fit(Classifier(), batches(), ckpt_path=tmp_path / "c", exact=exact)

    callbacks = [Counts(), Counts("mine")]
    callbacks[1].batches = 10
    save_at(tmp_path / "c", 3, lambda trainer: trainer.fit(Classifier(), batches()), callbacks=callbacks)
    content: Any = FolderFormat().load(tmp_path / "c")
    key = f"{Counts.__module__}.Counts"
    assert content["callbacks"] == {key: {"batches": 3}, "mine": {"batches": 13}}
    others = [Counts("mine"), Counts()]
    fit(*others, exact=True)
    assert [callback.batches for callback in others] == [18, 8]
    told = (
        f"{tmp_path / 'c'}: it has the states of callbacks that are not here: {key}. Give the trainer the same "
        "callbacks to go on as before."
    )
    with pytest.warns(UserWarning, match="not here") as warned:
        fit(Counts("mine"))
    assert str(warned[0].message) == told
    assert refused(lambda: fit(Counts("mine"), exact=True)) == told


def test_callbacks_whose_states_could_be_mistaken(tmp_path: Path) -> None:
    def told(key: str) -> str:
        return (
            f"callback Counts: another one has the same key, {key}, so that their states could be mistaken. Give each "
            "a `state_key`, an attribute or a property: a string of its own."
        )

    def save(*callbacks: Counts) -> str:
        trainer = Trainer(max_epochs=1, callbacks=[*callbacks, SaveAt(tmp_path / "c", 3)])
        return refused(lambda: trainer.fit(Classifier(), batches()))

    own = f"{Counts.__module__}.Counts"
    assert save(Counts(), Counts()) == told(own)
    assert save(Counts("mine"), Counts(), Counts("mine")) == told("mine")
    save_at(tmp_path / "c", 3, lambda trainer: trainer.fit(Classifier(), batches()), callbacks=[Counts()])
    other = Trainer(max_epochs=2, callbacks=[Counts(), Counts()])
    assert refused(lambda: other.fit(Classifier(), batches(), ckpt_path=tmp_path / "c")) == told(own)


def test_the_key_of_a_model_checkpoint_is_told_in_short(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path / "saver")
    save_at(tmp_path / "c", 3, lambda trainer: trainer.fit(Classifier(), batches()), callbacks=[saver])
    with pytest.warns(UserWarning, match="not here") as warned:
        Trainer(max_epochs=2).fit(Classifier(), batches(), ckpt_path=tmp_path / "c")
    assert str(warned[0].message) == (
        f"{tmp_path / 'c'}: it has the states of callbacks that are not here: "
        'ModelCheckpoint{"filename": "{epoch}-{step}", "monitor":...}. '
        "Give the trainer the same callbacks to go on as before."
    )


def test_weights_are_not_in_what_listeners_add_to(tmp_path: Path) -> None:
    told: list[str] = []

    class Looks(Classifier):
        def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            checkpoint["mine"] = 1
            told.append(missing(checkpoint))

        def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            told.append(missing(checkpoint))

    def missing(checkpoint: dict[str, Any]) -> str:
        assert checkpoint["mine"] == 1
        assert "state_dict" not in checkpoint
        with pytest.raises(KeyError) as error:
            checkpoint["state_dict"]
        return str(error.value.args[0])

    module = Looks()
    trainer = save_at(tmp_path / "c", 3, lambda trainer: trainer.fit(module, batches()))
    trainer.fit(module, batches(), ckpt_path=tmp_path / "c")
    trainer.save_checkpoint(tmp_path / "end")
    why = (
        "'state_dict' is not in it: here is only what `on_save_checkpoint` puts in. Weights, optimizers, schedulers, "
        "loops and the states of callbacks are saved by themselves"
    )
    assert told == [why, why, why]
    assert FolderFormat().load_part(tmp_path / "end", "custom") == {"mine": 1}


def test_random_numbers_of_every_generator_go_on(tmp_path: Path) -> None:
    class Draws(Classifier):
        drawn: list[tuple[float, float, float]]

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            self.drawn.append((random.random(), float(np.random.rand()), float(torch.rand(()))))
            return super().training_step(batch, batch_idx)

    def draws() -> Draws:
        module = Draws()
        module.drawn = []
        return module

    typedloops.seed_everything(1)
    whole = draws()
    Trainer(max_epochs=2).fit(whole, batches())
    typedloops.seed_everything(1)
    first = draws()
    save_at(tmp_path / "c", 3, lambda trainer: trainer.fit(first, batches()))
    typedloops.seed_everything(77)
    second = draws()
    Trainer(max_epochs=2).fit(second, batches(), ckpt_path=tmp_path / "c")
    assert first.drawn + second.drawn == whole.drawn


def test_random_numbers_that_are_not_of_here() -> None:
    states = RngStates().state_dict()
    with pytest.raises(StateError) as error:
        RngStates({**states, "tpu": 1}).restore()
    assert str(error.value) == (
        "random numbers of tpu: there is no such generator here. Go on with the packages and devices that the state "
        "is from."
    )
    with pytest.raises(StateError, match="random numbers of python: the state does not fit: "):
        RngStates({**states, "python": (3, (1, 2), None)}).restore()


def test_metrics_go_on_where_they_were(tmp_path: Path) -> None:
    class Logs(Callback[nn.Module]):
        def on_train_batch_end(
            self, t: TrainerView, m: nn.Module, outputs: object, batch: object, batch_idx: int
        ) -> None:
            for reduce in ("mean", "sum", "min", "max", "last"):
                t.log(reduce, float(batch_idx + 1), reduce=reduce, batch_size=batch_idx + 1)

    class Logger:
        def __init__(self) -> None:
            self.logged: list[tuple[int, dict[str, float]]] = []

        def log_metrics(self, metrics: Any, step: int) -> None:
            self.logged.append((step, dict(metrics)))

        def finalize(self, status: str) -> None: ...

    def run(logger: Logger, **settings: Any) -> Any:
        return Trainer(max_epochs=2, callbacks=[Logs(), *settings.pop("callbacks", ())], loggers=[logger])

    torch.manual_seed(1)
    whole, first, second = Logger(), Logger(), Logger()
    expected = run(whole).fit(Classifier(), batches(), batches(2))
    torch.manual_seed(1)
    with pytest.raises(Left):
        run(first, callbacks=[SaveAt(tmp_path / "c", 3)]).fit(Classifier(), batches(), batches(2))
    result = run(second).fit(Classifier(), batches(), batches(2), ckpt_path=tmp_path / "c")
    assert first.logged + second.logged == whole.logged
    assert result == expected
    assert result.metrics["mean"] == 3.0
    assert not any(math.isnan(value) for value in result.metrics.values())


# Trees of one's own


class Folds(Loop[[Callable[[int], Classifier]], list[float]]):
    """Fits a module of its own for each fold."""

    fit_loop: typedloops.Slot[FitLoop] = typedloops.Slot()
    state_fields: ClassVar[tuple[str, ...]] = ("fold", "losses")

    def __init__(self) -> None:
        self.fit_loop = FitLoop(max_epochs=2)
        self.fold = 0
        self.losses: list[float] = []

    @property
    def done(self) -> bool:
        return self.fold == 3

    def reset(self) -> None:
        if not self.restarting:
            self.fold, self.losses = 0, []

    def advance(self, make: Callable[[int], Classifier]) -> None:
        module = make(self.fold)
        result = self.fit_loop.run(module, batches(), batches(2))
        self.losses.append(result.metrics["val_loss"])
        self.fold += 1
        if isinstance(self.trainer, typedloops.Trainer) and self.saves_after == self.fold:
            self.trainer.save_checkpoint(self.path_to_save, when_written=self.leave)

    saves_after = -1
    path_to_save = Path()

    def leave(self, path: Path) -> None:
        raise Left

    def on_run_end(self) -> list[float]:
        return self.losses


def make(fold: int) -> Classifier:
    torch.manual_seed(fold)
    return Classifier()


@pytest.mark.parametrize("batch", [1, 4, 8, 9, 13, 19, 24])
def test_a_loop_around_fits_of_modules_of_its_own(tmp_path: Path, batch: int) -> None:
    expected = Trainer(fit_loop=Folds()).fit(make)
    with pytest.raises(Left):
        Trainer(fit_loop=Folds(), callbacks=[SaveAt(tmp_path / "c", batch)]).fit(make)
    torch.manual_seed(99)
    trainer = Trainer(fit_loop=Folds())
    trainer.load_checkpoint(tmp_path / "c")
    assert trainer.fit(make) == expected
    assert trainer.fit(make) == expected, "the next run begins anew"


class Thrice(Loop[[Classifier, Batch, int], Tensor]):
    """A leaf that says nothing of its state: what it counts by is kept for it."""

    @property
    def done(self) -> bool:
        return self.completed_iterations == 3

    def advance(self, model: Classifier, batch: Batch, batch_idx: int) -> None:
        self.loss = model.training_step(batch, batch_idx)

    def on_run_end(self) -> Tensor:
        return self.loss


class Counted(Loop[[int], list[float]]):
    """Fits of modules of its own, by the count that every loop has."""

    fit_loop: typedloops.Slot[FitLoopOf[Classifier, Batch, Tensor]] = typedloops.Slot()
    state_fields: ClassVar[tuple[str, ...]] = ("losses",)

    def __init__(self) -> None:
        leaf: LoopProtocol[[Classifier, Batch, int], Tensor] = Thrice()
        self.fit_loop = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(leaf)), max_epochs=2)
        self.losses: list[float] = []

    @property
    def done(self) -> bool:
        return self.completed_iterations == 3

    def reset(self) -> None:
        if not self.restarting:
            self.losses = []

    def advance(self, seed: int) -> None:
        result = self.fit_loop.run(make(seed + self.completed_iterations), batches(), None)
        assert result.last_output is not None
        self.losses.append(float(result.last_output))

    def on_run_end(self) -> list[float]:
        return self.losses


@pytest.mark.parametrize("batch", [1, 3, 4, 5, 8, 9, 13, 16])
def test_a_loop_that_counts_by_its_iterations(tmp_path: Path, batch: int) -> None:
    expected = Trainer(fit_loop=Counted()).fit(5)
    assert len(set(expected)) == 3
    with pytest.raises(Left):
        Trainer(fit_loop=Counted(), callbacks=[SaveAt(tmp_path / "c", batch)]).fit(5)
    torch.manual_seed(99)
    trainer = Trainer(fit_loop=Counted())
    trainer.load_checkpoint(tmp_path / "c")
    assert trainer.fit(5) == expected
    assert trainer.fit(5) == expected, "the next run begins anew"


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_a_loop_of_ones_own_saves_between_two_iterations(tmp_path: Path, fold: int) -> None:
    expected = Trainer(fit_loop=Folds()).fit(make)
    loop = Folds()
    loop.saves_after, loop.path_to_save = fold, tmp_path / "c"
    with pytest.raises(Left):
        Trainer(fit_loop=loop).fit(make)
    trainer = Trainer(fit_loop=Folds())
    trainer.load_checkpoint(tmp_path / "c")
    assert trainer.fit(make) == expected


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_a_loop_around_fits_goes_on_from_the_end_of_one_without_a_warning(tmp_path: Path, fold: int) -> None:
    class SavesAtTheEnd(Callback[nn.Module]):
        ends = 0

        def on_fit_end(self, trainer: TrainerView, module: nn.Module) -> None:
            self.ends += 1
            if self.ends == fold:
                trainer.save_checkpoint(tmp_path / "c", when_written=self.leave)

        def leave(self, path: Path) -> None:
            raise Left

    expected = Trainer(fit_loop=Folds()).fit(make)
    with pytest.raises(Left):
        Trainer(fit_loop=Folds(), callbacks=[SavesAtTheEnd()]).fit(make)
    trainer = Trainer(fit_loop=Folds())
    trainer.load_checkpoint(tmp_path / "c", exact=True)
    assert trainer.fit(make) == expected


@pytest.mark.parametrize("hook", ["on_train_epoch_end", "on_train_end", "on_fit_end"])
@pytest.mark.parametrize("fold", [1, 3])
def test_a_fit_within_a_loop_that_was_asked_to_stop_stays_so(tmp_path: Path, hook: str, fold: int) -> None:
    epochs: list[int] = []

    class Stops(Callback[nn.Module]):
        def on_train_epoch_start(self, trainer: TrainerView, module: nn.Module) -> None:
            epochs.append(trainer.current_epoch)

        def on_train_epoch_end(self, trainer: TrainerView, module: nn.Module) -> None:
            trainer.should_stop = True

    class Saves(Callback[nn.Module]):
        calls = 0

        def save(self, trainer: TrainerView, module: nn.Module) -> None:
            self.calls += 1
            if self.calls == fold:
                trainer.save_checkpoint(tmp_path / "c", when_written=self.leave)

        def leave(self, path: Path) -> None:
            raise Left

    saves = Saves()
    setattr(saves, hook, saves.save)
    expected = Trainer(fit_loop=Folds(), callbacks=[Stops()]).fit(make)
    assert epochs == [0, 0, 0]
    with pytest.raises(Left):
        Trainer(fit_loop=Folds(), callbacks=[Stops(), saves]).fit(make)
    trainer = Trainer(fit_loop=Folds(), callbacks=[Stops()])
    trainer.load_checkpoint(tmp_path / "c", exact=True)
    assert trainer.fit(make) == expected
    assert epochs == [0] * 6


class Fails(Exception):
    pass


class Counting(Loop[[], list[int]]):
    """Yields 0 to 9, and dies on one of them."""

    state_fields: ClassVar[tuple[str, ...]] = ("items",)

    def __init__(self, dies_on: int | None = None) -> None:
        self.items: list[int] = []
        self.dies_on = dies_on

    @property
    def done(self) -> bool:
        return len(self.items) == 10

    def reset(self) -> None:
        if not self.restarting:
            self.items = []

    def advance(self) -> None:
        item = len(self.items)
        if item == self.dies_on:
            raise Fails
        self.items.append(item)

    def on_save_checkpoint(self) -> dict[str, object]:
        return {"squares": [item**2 for item in self.items]}

    def on_load_checkpoint(self, state: Any) -> None:
        self.squares = state["squares"]

    def on_run_end(self) -> list[int]:
        return self.items


def test_a_loop_that_dies_on_item_5_goes_on_with_it() -> None:
    first = Counting(dies_on=5)
    with pytest.raises(Fails):
        first.run()
    state = copy.deepcopy(first.state_dict())
    second = Counting()
    second.load_state_dict(state)
    assert [second.restarting, second.squares] == [True, [0, 1, 4, 9, 16]]
    assert second.run() == [*range(10)]
    assert second.restarting is False
    assert second.run() == [*range(10)]


def test_a_loop_that_dies_under_a_trainer(tmp_path: Path) -> None:
    class Saves(Counting):
        def advance(self) -> None:
            self.trainer.save_checkpoint(tmp_path / "c")
            super().advance()

    with pytest.raises(Fails):
        Trainer(fit_loop=Saves(dies_on=5)).fit()
    trainer = Trainer(fit_loop=Saves())
    trainer.load_checkpoint(tmp_path / "c")
    assert trainer.fit() == [*range(10)]


# Loaders


class Endless:
    def __iter__(self) -> Iterator[Batch]:
        return iter(batches())


def test_a_loader_that_is_read_again_is_told_of(tmp_path: Path) -> None:
    save_at(tmp_path / "c", 3, lambda trainer: trainer.fit(Classifier(), Endless()))
    with pytest.warns(UserWarning, match="train dataloader") as told:
        Trainer(max_epochs=2).fit(Classifier(), Endless(), ckpt_path=tmp_path / "c")
    assert len(told) == 1
    with pytest.raises(LoaderError, match="train dataloader"), warnings.catch_warnings():
        Trainer(max_epochs=2).fit(Classifier(), Endless(), ckpt_path=tmp_path / "c", exact=True)


@pytest.mark.parametrize("hook", ["on_fit_end", "on_train_end", "teardown"])
def test_the_very_end(tmp_path: Path, hook: str) -> None:
    def save(self: object, trainer: TrainerView, module: nn.Module, *_: object) -> None:
        trainer.save_checkpoint(tmp_path / "c")

    Ends: Any = type("Ends", (Callback,), {hook: save})
    torch.manual_seed(1)
    first = Classifier()
    Trainer(max_epochs=2, callbacks=[Ends()]).fit(first, batches())
    torch.manual_seed(1)
    whole = Classifier()
    Trainer(max_epochs=3).fit(whole, batches())
    other = Classifier()
    assert Trainer(max_epochs=3).fit(other, batches(), ckpt_path=tmp_path / "c").optimizer_steps == 12
    assert same(whole, other)


def test_before_the_beginning(tmp_path: Path) -> None:
    class Begins(Callback[nn.Module]):
        def setup(self, trainer: TrainerView, module: nn.Module, stage: str) -> None:
            trainer.save_checkpoint(tmp_path / "c")

    torch.manual_seed(1)
    whole, other = Classifier(), None
    Trainer(max_epochs=2, callbacks=[Begins()]).fit(whole, batches())
    other = Classifier()
    Trainer(max_epochs=2).fit(other, batches(), ckpt_path=tmp_path / "c")
    assert same(whole, other)


def test_a_loop_that_does_not_come_to_where_it_was(tmp_path: Path) -> None:
    class Twice(Folds):
        @property
        def done(self) -> bool:
            return self.fold == 3 or getattr(self, "stops", False)

    with pytest.raises(Left):
        Trainer(fit_loop=Twice(), callbacks=[SaveAt(tmp_path / "c", 5)]).fit(make)
    loop = Twice()
    loop.stops = True  # type: ignore[attr-defined]
    trainer = Trainer(fit_loop=loop)
    trainer.load_checkpoint(tmp_path / "c")
    with pytest.warns(UserWarning, match=r"it was saved in 'fit_loop.epoch_loop', and the run that was to go on did"):
        trainer.fit(make)


def test_a_place_that_is_not_here(tmp_path: Path) -> None:
    save_at(tmp_path / "c", 3, lambda trainer: trainer.fit(Classifier(), batches()))
    content: Any = FolderFormat().load(tmp_path / "c")
    content["loops"]["places"]["epoch_loop"]["point"] = "tea"
    FolderFormat().save(tmp_path / "d", content)
    assert refused(lambda: Trainer().fit(Classifier(), batches(), ckpt_path=tmp_path / "d")) == (
        f"{tmp_path / 'd'}: the loop 'epoch_loop' was at 'tea', and its points here are begun, batch, validation, "
        "validated, end, end_validation. Go on with the release, and the loops, that it was saved with."
    )


# What goes wrong on the way


def test_a_checkpoint_that_does_not_fit_leaves_the_trainer_as_it_was(tmp_path: Path) -> None:
    save_at(tmp_path / "c", 5, lambda trainer: trainer.fit(Classifier(), batches()))
    trainer = Trainer(max_epochs=2)
    larger = Classifier()
    larger.more = nn.Linear(2, 2)
    refused(lambda: trainer.fit(larger, batches(), ckpt_path=tmp_path / "c"))
    result = trainer.fit(Classifier(), batches())
    assert (result.epochs, result.batches) == (2, 8)


def test_a_checkpoint_is_given_once(tmp_path: Path) -> None:
    save_at(tmp_path / "c", 5, lambda trainer: trainer.fit(Classifier(), batches()))
    trainer = Trainer(max_epochs=2)
    trainer.load_checkpoint(tmp_path / "d")
    with pytest.raises(MisuseError) as error:
        trainer.fit(Classifier(), batches(), ckpt_path=tmp_path / "c")
    assert str(error.value) == (
        f"ckpt_path: it is {str(tmp_path / 'c')!r}, and `trainer.load_checkpoint({str(tmp_path / 'd')!r})` was called "
        "before. Give one of the two."
    )
    assert trainer.fit(Classifier(), batches()).batches == 8, "and it is forgotten"


def test_a_module_that_was_evaluated_after_its_fit(tmp_path: Path) -> None:
    module, trainer = Classifier(), Trainer(max_epochs=1)
    trainer.fit(module, batches())
    module.eval()
    trainer.save_checkpoint(tmp_path / "c")
    other = Classifier()
    Trainer(max_epochs=2).fit(other, batches(), ckpt_path=tmp_path / "c")
    assert all(part.training for part in other.modules())


def test_other_settings_are_told(tmp_path: Path) -> None:
    save_at(tmp_path / "c", 5, lambda trainer: trainer.fit(Classifier(), batches()))
    told = "gradient_clip_val was None and is 1.0; val_check_interval was 1.0 and is 2"
    settings: dict[str, Any] = {"max_epochs": 2, "gradient_clip_val": 1.0, "val_check_interval": 2}
    with pytest.warns(UserWarning, match="other settings") as warned:
        Trainer(**settings).fit(Classifier(), batches(), ckpt_path=tmp_path / "c")
    assert str(warned[0].message) == (
        f"{tmp_path / 'c'}: the trainer has other settings, so the run does not go on as it would have: {told}."
    )
    assert refused(lambda: Trainer(**settings).fit(Classifier(), batches(), ckpt_path=tmp_path / "c", exact=True)) == (
        f"{tmp_path / 'c'}: the trainer has other settings: {told}. Give it those that it had."
    )


@pytest.mark.parametrize("path", [True, 3, "", b"here"])
def test_what_is_no_path(path: object) -> None:
    with pytest.raises(ConfigurationError) as error:
        Trainer().fit(Classifier(), batches(), ckpt_path=path)
    assert str(error.value).startswith(f"ckpt_path: {path!r} is no path. Give a path, or one of last, best, ")


def test_a_run_that_goes_on_says_from_where(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_at(tmp_path / "c", 5, lambda trainer: trainer.fit(Classifier(), batches()))
    with caplog.at_level("INFO", logger="typedloops"):
        Trainer(max_epochs=2).fit(Classifier(), batches(), ckpt_path=tmp_path / "c")
    assert caplog.messages[0] == f"goes on from {tmp_path / 'c'}: epoch 1, optimizer step 5"


def test_another_batch_size_from_the_end_of_an_epoch_on(tmp_path: Path) -> None:
    trainer = Trainer(max_epochs=1)
    module = Classifier()
    trainer.fit(module, batches(4), batches(2))
    trainer.save_checkpoint(tmp_path / "c")
    result = Trainer(max_epochs=2).fit(Classifier(), batches(6), batches(3), ckpt_path=tmp_path / "c")
    assert result.batches == 10


def test_a_loop_that_knows_what_to_save_only_once_it_runs(tmp_path: Path) -> None:
    class Late(Counting):
        def on_run_start(self) -> None:
            self.initial = 7

        def on_save_checkpoint(self) -> dict[str, object]:
            return {"initial": self.initial, "squares": []}

    first, second = Late(dies_on=5), Late()
    with pytest.raises(Fails):
        first.run()
    second.load_state_dict(first.state_dict())
    assert second.run() == [*range(10)]


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_validation_end", "on_train_epoch_end"])
def test_a_stop_of_a_fit_within_a_loop_holds_when_that_goes_on(tmp_path: Path, hook: str) -> None:
    class Stops(Callback[nn.Module]):
        saves = False

        def setup(self, t: TrainerView, m: nn.Module, stage: str) -> None:
            setattr(self, hook, self.stop)

        def stop(self, t: TrainerView, m: nn.Module, *args: object) -> None:
            t.should_stop = True
            if self.saves:
                t.save_checkpoint(tmp_path / "c", when_written=self.leave)

        def leave(self, path: Path) -> None:
            raise Left

        def on_train_start(self, t: TrainerView, m: nn.Module) -> None: ...

    class Epochs(Folds):
        def advance(self, make: Callable[[int], Classifier]) -> None:
            self.losses.append(self.fit_loop.run(make(self.fold), batches(), batches(2)).epochs)
            self.fold += 1

    expected = Trainer(fit_loop=Epochs(), callbacks=[Stops()]).fit(make)
    assert expected == [1, 1, 1]
    stops = Stops()
    stops.saves = True
    with pytest.raises(Left):
        Trainer(fit_loop=Epochs(), callbacks=[stops]).fit(make)
    trainer = Trainer(fit_loop=Epochs(), callbacks=[Stops()])
    trainer.load_checkpoint(tmp_path / "c")
    assert trainer.fit(make) == expected
