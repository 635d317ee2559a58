"""Truncated backpropagation through time: equal to the loop that one writes by hand, on real text."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, AdamW, Optimizer

import typedloops
from tests.modules import Classifier, Loader, batches
from typedloops import Callback, ManualOptimization, OptimizerLoop, TrainerView
from typedloops.errors import ConfigurationError, LoaderError, MisuseError, ModuleError, StepOutputError
from typedloops.loops.fit.truncated import split_along_time
from typedloops.loops.run.hidden import cut

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer

Hidden = tuple[Tensor, Tensor]
TextBatch = tuple[Tensor, Tensor]
Output = dict[str, Any]

TEXT = "".join(sorted({"".join(error.__doc__ or "") for error in vars(typedloops.errors).values() if error.__doc__}))


def text_batches(count: int = 3, size: int = 4, time: int = 22) -> list[TextBatch]:
    """Characters of the library's own docstrings, each to be predicted from those before it; shape (size, time)."""
    codes = torch.tensor([ord(letter) % 64 for letter in TEXT])
    pieces = codes[: count * size * (time + 1)].view(count, size, time + 1)
    return [(piece[:, :-1], piece[:, 1:]) for piece in pieces]


class CharacterModel(nn.Module):
    truncated_bptt_steps = 5

    def __init__(self, optimizer: type[AdamW | SGD] = AdamW, cell: str = "LSTM", dropout: float = 0.1) -> None:
        super().__init__()
        self.embed = nn.Embedding(64, 8)
        self.cell = getattr(nn, cell)(8, 12, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(12, 64)
        self.optimizer = optimizer
        self.lengths: list[int] = []

    def training_step(self, batch: TextBatch, batch_idx: int, hiddens: Hidden | None) -> Output:
        x, y = batch
        self.lengths.append(x.shape[1])
        out, hiddens = self.cell(self.embed(x), hiddens)
        loss = nn.functional.cross_entropy(self.head(self.dropout(out)).flatten(0, 1), y.flatten())
        return {"loss": loss, "hiddens": hiddens}

    def configure_optimizers(self) -> Optimizer:
        return self.optimizer(self.parameters(), lr=0.01)


def by_hand(model: CharacterModel, data: Sequence[TextBatch], steps: int, epochs: int, clip: float | None) -> None:
    optimizer = model.configure_optimizers()
    for _ in range(epochs):
        for batch_idx, (x, y) in enumerate(data):
            hiddens: Any = None
            for start in range(0, x.shape[1], steps):
                part = (x[:, start : start + steps], y[:, start : start + steps])
                output = model.training_step(part, batch_idx, hiddens)
                hiddens = cut(output["hiddens"])
                optimizer.zero_grad()
                output["loss"].backward()
                if clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()


def same_bits(a: nn.Module, b: nn.Module) -> bool:
    return all(map(torch.equal, a.state_dict().values(), b.state_dict().values()))


class UnfusedOptimizer(OptimizerLoop):
    def on_run_end(self) -> Any:
        return super().on_run_end()


class UnfusedBatches(typedloops.TrainingBatchLoop[Any, Any, Any]):
    def on_run_end(self) -> Any:
        return super().on_run_end()


def fitted(model: CharacterModel, data: Any, epochs: int = 1, unfused: str = "", **settings: Any) -> Any:
    trainer = Trainer(max_epochs=epochs, **settings)
    if unfused == "optimizer loop":
        trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=UnfusedOptimizer())
    elif unfused == "batch loop":
        trainer.fit_loop.epoch_loop.replace(batch_loop=UnfusedBatches)
    result = trainer.fit(model, data)
    return result, trainer


@pytest.mark.parametrize("unfused", ["", "optimizer loop", "batch loop"])
@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("steps", [1, 5, 11, 22, 30])
@pytest.mark.parametrize(("optimizer", "cell"), [(AdamW, "LSTM"), (SGD, "GRU")])
def test_same_bits_as_by_hand(optimizer: Any, cell: str, steps: int, clip: float | None, unfused: str) -> None:
    ours, theirs = CharacterModel(optimizer, cell), CharacterModel(optimizer, cell)
    theirs.load_state_dict(ours.state_dict())
    ours.truncated_bptt_steps = steps
    data = text_batches()
    torch.manual_seed(1)
    result, trainer = fitted(ours, data, 2, unfused, gradient_clip_val=clip)
    torch.manual_seed(1)
    by_hand(theirs, data, steps, 2, clip)
    assert same_bits(ours, theirs)
    pieces = -(-22 // steps)
    assert ours.lengths == theirs.lengths == [*[steps] * (22 // steps), *[22 % steps] * (22 % steps > 0)] * 6
    assert (result.batches, result.optimizer_steps) == (6, 6 * pieces)
    assert trainer.fit_loop.epoch_loop.batch_progress.current.completed == 3


class Searching(CharacterModel):
    def configure_optimizers(self) -> Optimizer:
        return LBFGS(self.parameters(), lr=0.1, max_iter=3)


class OwnStep(CharacterModel):
    """Steps in its own way, looking at each piece twice."""

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Optimizer, optimizer_closure: Any) -> None:
        optimizer_closure()
        optimizer.step(optimizer_closure)


@pytest.mark.parametrize("unfused", ["", "optimizer loop", "batch loop"])
@pytest.mark.parametrize("kind", [Searching, OwnStep])
def test_an_optimizer_that_looks_several_times_sees_the_same_piece(kind: type[CharacterModel], unfused: str) -> None:
    """Each look is given what the first look at the piece before returned."""
    torch.manual_seed(0)
    ours, theirs = kind(), kind()
    theirs.load_state_dict(ours.state_dict())
    torch.manual_seed(1)
    fitted(ours, text_batches(), epochs=2, unfused=unfused)
    torch.manual_seed(1)
    optimizer: Any = theirs.configure_optimizers()
    for batch_idx, (x, y) in enumerate(text_batches() * 2):
        hiddens: Any = None
        for start in range(0, x.shape[1], 5):
            part = (x[:, start : start + 5], y[:, start : start + 5])
            outputs: list[Output] = []

            def look(part: Any, batch_idx: int, hiddens: Any, outputs: list[Output]) -> Any:
                outputs.append(theirs.training_step(part, batch_idx, hiddens))
                optimizer.zero_grad()
                outputs[-1]["loss"].backward()
                return outputs[-1]["loss"]

            closure = partial(look, part, batch_idx, hiddens, outputs)
            if kind is OwnStep:
                closure()
            optimizer.step(closure)
            assert len(outputs) > 1
            hiddens = cut(outputs[0]["hiddens"])
    assert same_bits(ours, theirs)


def test_learning_to_predict_text() -> None:
    model = CharacterModel(dropout=0.0)
    with torch.no_grad():
        before = float(model.training_step(text_batches(1)[0], 0, None)["loss"])
    result, _ = fitted(model, text_batches(), epochs=40)
    assert result.metrics["train_loss"] < before / 2


def test_the_loop_says_how_long_a_piece_is_before_the_module() -> None:
    model = CharacterModel()
    trainer = Trainer(max_epochs=1)
    trainer.fit_loop.epoch_loop.batch_loop.truncated_bptt_steps = 20
    trainer.fit(model, text_batches(1))
    assert model.lengths == [20, 2]
    trainer.fit_loop.epoch_loop.batch_loop.truncated_bptt_steps = None
    trainer.fit(model, text_batches(1))
    assert model.lengths == [20, 2, 5, 5, 5, 5, 2]


def test_a_module_may_split_its_batches_itself() -> None:
    class Halving(CharacterModel):
        truncated_bptt_steps = 3

        def tbptt_split_batch(self, batch: TextBatch, split_size: int) -> list[TextBatch]:
            assert split_size == 3
            half = batch[0].shape[1] // 2
            return [(batch[0][:, :half], batch[1][:, :half]), (batch[0][:, half:], batch[1][:, half:])]

    model = Halving()
    assert fitted(model, text_batches(1))[0].optimizer_steps == 2
    assert model.lengths == [11, 11]


def test_the_graph_of_a_piece_is_gone_when_the_next_but_one_begins() -> None:
    graphs: list[weakref.ref[object]] = []

    class Watching(CharacterModel):
        def training_step(self, batch: TextBatch, batch_idx: int, hiddens: Hidden | None) -> Output:
            if hiddens is not None:
                assert [state.grad_fn for state in hiddens] == [None, None]
                assert not any(state.requires_grad for state in hiddens)
            gc.collect()
            assert sum(graph() is not None for graph in graphs) <= 1
            output = super().training_step(batch, batch_idx, hiddens)
            graphs.append(weakref.ref(output["hiddens"][0]))
            return output

    fitted(Watching(), text_batches(2))
    assert len(graphs) == 10


def test_hooks_and_indices_of_the_pieces() -> None:
    seen: list[str] = []

    class Trace(Callback[CharacterModel, TextBatch]):
        def on_train_batch_start(self, trainer: TrainerView, module: Any, batch: TextBatch, batch_idx: int) -> None:
            seen.append(f"start {batch_idx} of {batch[0].shape[1]}")

        def on_before_optimizer_step(self, trainer: TrainerView, module: Any, optimizer: Optimizer) -> None:
            seen.append("step")

        def on_train_batch_end(
            self, trainer: TrainerView, module: Any, outputs: Any, batch: TextBatch, batch_idx: int
        ) -> None:
            seen.append(f"end {batch_idx} of {batch[0].shape[1]} at {trainer.global_step}")

    fitted(CharacterModel(), text_batches(2), callbacks=[Trace()])
    assert seen == [
        "start 0 of 22",
        *["step"] * 5,
        "end 0 of 22 at 5",
        "start 1 of 22",
        *["step"] * 5,
        "end 1 of 22 at 10",
    ]


def test_a_batch_is_finished_though_the_steps_are_all_taken() -> None:
    result = Trainer(max_steps=7).fit(CharacterModel(), text_batches())
    assert (result.stop_reason, result.optimizer_steps, result.batches) == ("max_steps", 10, 2)


def test_a_piece_without_a_loss_forgets_nothing() -> None:
    given: list[bool] = []

    class Skipping(CharacterModel):
        def training_step(self, batch: TextBatch, batch_idx: int, hiddens: Hidden | None) -> Any:
            given.append(hiddens is not None)
            return None if len(given) == 2 else super().training_step(batch, batch_idx, hiddens)

    assert fitted(Skipping(), text_batches(1))[0].optimizer_steps == 4
    assert given == [False, True, True, True, True]


class ManualText(CharacterModel):
    automatic_optimization = False

    def configure_optimizers(self) -> Optimizer:
        self.by_myself = super().configure_optimizers()
        return self.by_myself

    def training_step(self, batch: TextBatch, batch_idx: int, hiddens: Hidden | None) -> Output:
        output = super().training_step(batch, batch_idx, hiddens)
        self.by_myself.zero_grad()
        output["loss"].backward()
        self.by_myself.step()
        return output


class UnfusedManual(ManualOptimization):
    def on_run_end(self) -> Any:
        return super().on_run_end()


@pytest.mark.parametrize("unfused", [False, True])
def test_manual_optimization(unfused: bool) -> None:
    ours, theirs = ManualText(), CharacterModel()
    theirs.load_state_dict(ours.state_dict())
    trainer = Trainer(max_epochs=1)
    if unfused:
        trainer.fit_loop.epoch_loop.batch_loop.connect(manual_loop=UnfusedManual())
    torch.manual_seed(1)
    assert trainer.fit(ours, text_batches()).optimizer_steps == 15
    torch.manual_seed(1)
    by_hand(theirs, text_batches(), 5, 1, None)
    assert same_bits(ours, theirs)


def test_several_optimizers_remember_each_their_own() -> None:
    class Two(CharacterModel):
        def training_step(  # type: ignore[override]
            self, batch: TextBatch, batch_idx: int, optimizer_idx: int, hiddens: Tensor | None
        ) -> Output:
            output = super().training_step(batch, batch_idx, None)
            expected = None if hiddens is None else float(hiddens)
            assert expected == (
                None if self.pieces[optimizer_idx] == 0 else 10.0 * optimizer_idx + self.pieces[optimizer_idx]
            )
            self.pieces[optimizer_idx] += 1
            return {"loss": output["loss"], "hiddens": torch.tensor(10.0 * optimizer_idx + self.pieces[optimizer_idx])}

        def configure_optimizers(self) -> Any:
            self.pieces = [0, 0]
            return [SGD(self.cell.parameters(), lr=0.1), SGD(self.head.parameters(), lr=0.1)]

    model = Two()
    assert fitted(model, text_batches(1))[0].optimizer_steps == 10
    assert model.pieces == [5, 5]


class Named(NamedTuple):
    x: Tensor
    lengths: Tensor


SHAPES: dict[str, Callable[[Tensor], Any]] = {
    "tensor": lambda x: x,
    "tuple": lambda x: (x, x + 1),
    "list": lambda x: [x, [x]],
    "mapping": lambda x: {"x": x, "inner": {"y": x}},
    "named tuple": lambda x: Named(x, torch.arange(len(x))),
    "with other things": lambda x: (x, "name", None, 3),
}


def tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)


@pytest.mark.parametrize("shape", SHAPES)
@given(time=st.integers(1, 12), steps=st.integers(1, 13))
def test_the_pieces_are_the_batch(shape: str, time: int, steps: int) -> None:
    batch = SHAPES[shape](torch.arange(3 * time * 2).view(3, time, 2))
    pieces = split_along_time(batch, steps, "a batch")
    assert len(pieces) == -(-time // steps)
    for place, whole in enumerate(tensors_in(batch)):
        parts = [list(tensors_in(piece))[place] for piece in pieces]
        if whole.ndim == 1:
            assert all(torch.equal(part, whole) for part in parts)
        else:
            assert torch.equal(torch.cat(parts, 1), whole)
            assert [part.shape[1] for part in parts[:-1]] == [steps] * (len(pieces) - 1)
    assert all(type(piece) is type(batch) for piece in pieces)


class Plain(Classifier):
    """Returns a hidden state that nobody asked for."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return {"loss": self.loss(batch), "hiddens": batch[0]}


class Forgetful(CharacterModel):
    def training_step(self, batch: TextBatch, batch_idx: int, hiddens: Hidden | None) -> Output:
        return {"loss": super().training_step(batch, batch_idx, hiddens)["loss"]}


class Unasking(Classifier):
    truncated_bptt_steps = 2


class NoSwitch(CharacterModel):
    truncated_bptt_steps = 0


class Splitless(CharacterModel):
    def tbptt_split_batch(self, batch: TextBatch, split_size: int) -> list[TextBatch]:
        return []


def fitting(model: nn.Module, data: Any, **settings: Any) -> Callable[[], object]:
    return lambda: Trainer(max_epochs=1, **settings).fit(model, data)


def with_steps(steps: object) -> CharacterModel:
    model = CharacterModel()
    model.truncated_bptt_steps = steps  # type: ignore[assignment]
    return model


X = torch.zeros(2, 4, dtype=torch.int64)

BAD: dict[str, tuple[Callable[[], object], type[MisuseError], str]] = {
    "a negative length": (
        fitting(with_steps(-1), text_batches(1)),
        ConfigurationError,
        "CharacterModel.truncated_bptt_steps: -1 is no number of time steps. Give an int; 0 is whole batches.",
    ),
    "no length": (
        lambda: typedloops.TrainingBatchLoop(OptimizerLoop(), truncated_bptt_steps=True),
        ConfigurationError,
        "truncated_bptt_steps: True is no number of time steps. Give an int; 0 is whole batches.",
    ),
    "hiddens with it off": (
        fitting(Plain(), batches(1)),
        StepOutputError,
        (
            "Plain.training_step: it returned a hidden state, and truncated_bptt_steps is not set. "
            "Set `truncated_bptt_steps` on the module, or leave 'hiddens' out."
        ),
    ),
    "no hiddens with it on": (
        fitting(Forgetful(), text_batches(1)),
        StepOutputError,
        (
            "Forgetful.training_step: it returned no hidden state, and truncated_bptt_steps is set. "
            "Return {'loss': ..., 'hiddens': ...}, or leave truncated_bptt_steps out."
        ),
    ),
    "no parameter with it on": (
        fitting(Unasking(), batches(1)),
        ModuleError,
        (
            "Unasking.training_step: it has no parameter `hiddens`, and truncated_bptt_steps is set. "
            "Take the hidden state of the piece before as `hiddens`, or leave truncated_bptt_steps out."
        ),
    ),
    "a parameter with it off": (
        fitting(NoSwitch(), text_batches(1)),
        ModuleError,
        (
            "NoSwitch.training_step: it has a parameter `hiddens`, and truncated_bptt_steps is not set. "
            "Set `truncated_bptt_steps` on the module, or give the parameter a default."
        ),
    ),
    "times that differ": (
        fitting(CharacterModel(), [(X, X[:, :3])]),
        LoaderError,
        (
            "a batch of the train dataloader: its tensors do not agree in their time steps: batch[0] 4, batch[1] 3. "
            "Give the module a `tbptt_split_batch`."
        ),
    ),
    "no time": (
        fitting(CharacterModel(), [(X[:, 0], X[:, 0])]),
        LoaderError,
        (
            "a batch of the train dataloader: no tensor in it has a second axis, which is its time. "
            "Give the module a `tbptt_split_batch`."
        ),
    ),
    "no time steps": (
        fitting(CharacterModel(), [(X[:, :0], X[:, :0])]),
        LoaderError,
        "a batch of the train dataloader: it has no time steps. Leave such batches out of the loader.",
    ),
    "no pieces": (
        fitting(Splitless(), text_batches(1)),
        StepOutputError,
        "Splitless.tbptt_split_batch: it returned []. Return a list of one or more pieces of the batch.",
    ),
    "windows of batches": (
        fitting(CharacterModel(), text_batches(2), accumulate_grad_batches=2),
        ConfigurationError,
        (
            "accumulate_grad_batches: the optimizer steps after each piece of a batch, "
            "and truncated_bptt_steps is set. "
            "Leave one of them out: larger batches have the same gradients as several."
        ),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_can_never_work(case: str) -> None:
    run, kind, message = BAD[case]
    with pytest.raises(kind) as refused:
        run()
    assert str(refused.value) == message


def test_nothing_of_a_batch_is_kept_after_the_fit() -> None:
    trainer = Trainer(max_epochs=1)
    trainer.fit(CharacterModel(), Loader(text_batches(2)))
    assert trainer.fit_loop.epoch_loop.batch_loop.hidden.states == {}
