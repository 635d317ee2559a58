"""Values of a run that are kept as they are: odd numbers, odd batches, what modules and optimizers hold besides."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR, ExponentialLR, MultiStepLR, SequentialLR
from torch.utils.data import DataLoader, Sampler

from tests.modules import Batch, Classifier, batches
from tests.modules import Stream as PlainStream
from tests.saving.test_saved_runs import Left, SaveAt, Trainer, refused, same, save_at
from typedloops import Callback, FitLoop, TrainerView
from typedloops.checkpoint import FolderFormat
from typedloops.errors import LoaderError, OptimizerError, StateError
from typedloops.loops.fit.fit_state import fit_state, take_up
from typedloops.loops.run.context import RunContext
from typedloops.loops.run.saving.module_state import gradients_of, load_gradients_into
from typedloops.protocols.trainer import Stage


def goes_on_exactly(
    path: Path,
    make: Callable[[], nn.Module],
    *,
    batch: int = 3,
    data: Callable[[], object] = batches,
    settings: Callable[[], dict[str, Any]] = dict,
    **fit: Any,
) -> tuple[Any, Any]:
    """Fit, and fit in two processes' stead; the module of each, once they are seen to be the same.

    Args:
        path: Where to save.
        make: Makes the module.
        batch: After which batch of all to save.
        data: Makes the loader.
        settings: Makes settings of the trainer.
        fit: Arguments of the fit that goes on.
    """
    torch.manual_seed(1)
    whole = make()
    expected = Trainer(**{"max_epochs": 2, **settings()}).fit(whole, data())
    torch.manual_seed(1)
    save_at(path, batch, lambda trainer: trainer.fit(make(), data()), **settings())
    torch.manual_seed(99)
    other = make()
    result = Trainer(**{"max_epochs": 2, **settings()}).fit(other, data(), ckpt_path=path, **fit)
    assert result == expected
    assert same(whole, other)
    return whole, other


# Numbers and counters


class Scheduled(Classifier):
    """Has a learning rate of NumPy, and schedulers one after the other."""

    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), lr=np.float64(0.1))
        steps = SequentialLR(optimizer, [ConstantLR(optimizer, 0.5, 2), MultiStepLR(optimizer, [1, 3])], [2])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": steps, "interval": "step"}}


def test_a_learning_rate_of_numpy_and_the_counter_of_a_scheduler(tmp_path: Path) -> None:
    goes_on_exactly(tmp_path / "c", Scheduled)


# Batches that are objects


@dataclass
class Item:
    """A batch that is no plain data."""

    x: Tensor
    y: Tensor


class Items(Classifier):
    """Trains on such batches."""

    def training_step(self, batch: Item, batch_idx: int) -> Tensor:  # type: ignore[override]
        return self.loss((batch.x, batch.y))


class Stream:
    """Gives such batches, and does not say how many; noisy ones if wanted."""

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise

    def __iter__(self) -> Iterator[Item]:
        for x, y in batches():
            yield Item(x + self.noise * torch.randn(x.shape) if self.noise else x, y)


class WithState(Stream):
    """Says where it is."""

    at = 0

    def __iter__(self) -> Iterator[Item]:
        for x, y in batches()[self.at :]:
            self.at += 1
            yield Item(x, y)
        self.at = 0

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.at = state["at"]


class Numbers(Sampler[list[int]]):
    """Batches of indices, without a length."""

    def __init__(self) -> None: ...

    def __iter__(self) -> Iterator[list[int]]:
        yield from ([i, i + 1] for i in range(0, 8, 2))


def indexed(noise: float = 0.0) -> DataLoader[Any]:
    examples = [(x[i], y[i]) for x, y in batches() for i in range(2)]

    def collate(examples: list[Any]) -> Item:
        x = torch.stack([x for x, _ in examples])
        return Item(x + noise * torch.randn(x.shape) if noise else x, torch.stack([y for _, y in examples]))

    return DataLoader(cast("Any", examples), batch_sampler=Numbers(), collate_fn=collate)


@pytest.mark.parametrize("batch", [1, 3, 4, 6, 8])
def test_a_batch_that_was_fetched_ahead_is_fetched_again(tmp_path: Path, batch: int) -> None:
    goes_on_exactly(tmp_path / "c", Items, batch=batch, data=indexed, exact=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "train dataloader: . batches of this Stream are read again", UserWarning)
        goes_on_exactly(tmp_path / "d", Items, batch=batch, data=Stream)


def test_one_that_is_random_is_told_of(tmp_path: Path) -> None:
    noisy = partial(indexed, 0.1)
    save_at(tmp_path / "c", 2, lambda trainer: trainer.fit(Items(), noisy()))
    problem = "train dataloader: the batch that was fetched ahead is fetched again, and it is random. Let its batches "
    with pytest.warns(UserWarning, match="fetched ahead") as told:
        result = Trainer(max_epochs=2).fit(Items(), noisy(), ckpt_path=tmp_path / "c")
    assert result.batches == 8
    assert str(told[0].message) == problem + ("be made of tensors, numbers and strings in lists, tuples and dicts.")
    with pytest.raises(LoaderError, match=problem):
        Trainer(max_epochs=2).fit(Items(), noisy(), ckpt_path=tmp_path / "c", exact=True)


def test_one_that_can_neither_be_saved_nor_fetched_again(tmp_path: Path) -> None:
    told = refused(lambda: Trainer(callbacks=[SaveAt(tmp_path / "c", 2)]).fit(Items(), WithState()))
    assert told == (
        "train dataloader: the batch that was fetched ahead, an object of type Item, cannot be saved, and the loader "
        "cannot go back before it. Let its batches be made of tensors, numbers and strings in lists, tuples and dicts, "
        "or give the loader a length: none is fetched ahead then."
    )


def test_a_loader_that_has_fewer_batches_than_it_had(tmp_path: Path) -> None:
    class Short(Numbers):
        def __iter__(self) -> Iterator[list[int]]:
            return iter([[0, 1], [2, 3]])

    save_at(tmp_path / "c", 2, lambda trainer: trainer.fit(Items(), indexed()))
    with pytest.raises(LoaderError, match="it ended where it had given one more batch when its position was saved"):
        Trainer().fit(
            Items(),
            DataLoader(cast("Any", range(8)), batch_sampler=Short(), collate_fn=indexed().collate_fn),
            ckpt_path=tmp_path / "c",
        )


class Broken(Exception):
    """Ends a run in its middle."""


def test_after_an_exception_the_batch_under_way_and_the_one_fetched_ahead_are_given_again(tmp_path: Path) -> None:
    class Saves(Callback[nn.Module]):
        save_on_exception = True

        def path_for_exception(self, trainer: TrainerView) -> Path:
            return tmp_path / "c"

    class Fails(Classifier):
        fails = True

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            if batch_idx == 1 and self.fails:
                raise Broken
            seen.append(float(batch[0].sum()))
            return super().training_step(batch, batch_idx)

    seen: list[float] = []
    module = Fails()
    with pytest.raises(Broken):
        Trainer(max_epochs=1, callbacks=[Saves()]).fit(module, PlainStream(batches()))
    module.fails = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        Trainer(max_epochs=1).fit(module, PlainStream(batches()), ckpt_path=tmp_path / "c")
    assert seen == [float(x.sum()) for x, _ in batches()]


class Pieces(nn.Module):
    """Splits batches that are objects, and remembers objects."""

    truncated_bptt_steps = 2

    def __init__(self, kind: type[Any] = Item) -> None:
        super().__init__()
        self.net = nn.Linear(3, 1)
        self.kind = kind
        self.pieces = 0

    def tbptt_split_batch(self, batch: Any, split_size: int) -> list[Any]:
        x = batch.x if isinstance(batch, Item) else batch[0]
        return [x[:, i : i + split_size] for i in range(0, x.shape[1], split_size)]

    def training_step(self, batch: Tensor, batch_idx: int, hiddens: Any) -> Any:
        before = hiddens.x if isinstance(hiddens, Item) else hiddens or 0
        self.pieces += 1
        loss = self.net(batch).pow(2).mean()
        return {"loss": loss, "hiddens": Item(loss.detach(), loss) if self.kind is Item else before}

    def configure_optimizers(self) -> SGD:
        return SGD(self.parameters(), lr=0.1)


class SaveInPiece(SaveAt):
    """Saves in the middle of a batch, or as soon as that is possible."""

    def on_before_optimizer_step(self, trainer: TrainerView, module: nn.Module, optimizer: object) -> None:
        self.batches += 1
        if self.batches == self.batch:
            trainer.save_checkpoint(self.path, when_written=self.leave)

    def on_train_batch_end(self, t: TrainerView, m: nn.Module, outputs: object, batch: object, batch_idx: int) -> None:
        """Nothing."""


@pytest.mark.parametrize(("kind", "objects", "pieces"), [(int, False, 5), (int, True, 6), (Item, False, 6)])
def test_between_pieces_of_what_is_no_data_nothing_is_saved(
    tmp_path: Path, kind: type[Any], objects: bool, pieces: int
) -> None:
    generator = torch.Generator().manual_seed(1)
    x = [torch.randn(2, 6, 3, generator=generator) for _ in range(4)]
    loader = [Item(one, one) if objects else (one,) for one in x]
    torch.manual_seed(1)
    whole = Pieces(kind)
    expected = Trainer(max_epochs=2).fit(whole, loader)
    torch.manual_seed(1)
    first, second = Pieces(kind), Pieces(kind)
    with pytest.raises(Left):
        Trainer(max_epochs=2, callbacks=[SaveInPiece(tmp_path / "c", 5)]).fit(first, loader)
    assert first.pieces == pieces
    assert Trainer(max_epochs=2).fit(second, loader, ckpt_path=tmp_path / "c") == expected
    assert same(whole, second)


# Buffers


class Part(nn.Module):
    """Has buffers of every kind."""

    shared: Tensor
    later: Tensor | None
    kept_later: Tensor | None
    grows: Tensor
    same_everywhere: Tensor

    def __init__(self, shared: Tensor) -> None:
        super().__init__()
        self.register_buffer("shared", shared, persistent=False)
        self.register_buffer("later", None, persistent=False)
        self.register_buffer("kept_later", None)
        self.register_buffer("grows", torch.zeros(1), persistent=False)
        self.register_buffer("same_everywhere", torch.zeros(1).expand(3), persistent=False)


class Buffered(Classifier):
    """Fills its buffers as it goes."""

    def __init__(self) -> None:
        super().__init__()
        shared = torch.zeros(3)
        self.parts = nn.ModuleList([Part(shared), Part(shared)])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        first, second = (cast("Part", part) for part in self.parts)
        first.shared += 1
        second.shared += 1
        mean = batch[0].mean()
        first.later = mean if first.later is None else first.later + mean
        second.later = first.later
        first.kept_later = first.later * 2
        first.grows = torch.cat([first.grows, mean.reshape(1)])
        first.same_everywhere = mean.expand(3) + first.same_everywhere
        return super().training_step(batch, batch_idx)


def test_buffers_that_are_shared_filled_later_or_grow(tmp_path: Path) -> None:
    whole, other = goes_on_exactly(tmp_path / "c", Buffered)
    for mine, theirs in zip(whole.parts, other.parts, strict=True):
        for name, buffer in mine.named_buffers():
            assert torch.equal(buffer, theirs.get_buffer(name)), name
    first, second = other.parts
    assert first.shared is second.shared
    assert first.shared.tolist() == [16.0] * 3
    assert first.later is second.later


def test_a_buffer_that_is_registered_by_a_step_finds_no_place(tmp_path: Path) -> None:
    class Registers(Classifier):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            self.net[1].register_buffer("cache", torch.ones(2), persistent=False)
            return super().training_step(batch, batch_idx)

    save_at(tmp_path / "c", 2, lambda trainer: trainer.fit(Registers(), batches()))
    assert refused(lambda: Trainer().fit(Registers(), batches(), ckpt_path=tmp_path / "c")) == (
        f"{tmp_path / 'c'}: it has buffers that the module has not, and that are not among its weights: net.1.cache. "
        "Register them in `__init__`, `register_buffer(name, None, persistent=False)` where the value comes later."
    )


# Optimizers


class WithTotal(SGD):
    """Keeps something that is of no single parameter."""

    def step(self, closure: Any = None) -> Any:
        state: Any = self.state
        total = state["global"].setdefault("steps", torch.zeros(()))
        total += 1
        return super().step(closure)


class Totals(Classifier):
    """Is trained by it."""

    def configure_optimizers(self) -> Any:
        self.optimizer = WithTotal(self.parameters(), lr=0.1, momentum=0.9)
        return self.optimizer


def test_a_state_that_is_of_no_parameter(tmp_path: Path) -> None:
    _, other = goes_on_exactly(tmp_path / "c", Totals)
    assert other.optimizer.state["global"] == {"steps": torch.tensor(8.0)}


@pytest.mark.parametrize("named", [False, True])
def test_parameters_in_another_order(tmp_path: Path, named: bool) -> None:
    class Ordered(Classifier):
        def __init__(self, order: int = 1) -> None:
            super().__init__()
            self.order = order

        def configure_optimizers(self) -> Any:
            parameters: list[Any] = list(self.named_parameters() if named else self.parameters())
            return torch.optim.Adam(parameters[:: self.order])

    save_at(tmp_path / "c", 2, lambda trainer: trainer.fit(Ordered(), batches()))
    with pytest.raises(OptimizerError) as told:
        Trainer().fit(Ordered(-1), batches(), ckpt_path=tmp_path / "c")
    assert str(told.value) == (
        "configure_optimizers: parameter 0 in group 0 of the Adam that it made is 'net.3.bias', and was 'net.0.weight' "
        "when its state was saved. Give it the same parameters in the same order, or start anew."
    )


def test_a_group_that_was_added_during_the_run(tmp_path: Path) -> None:
    class Unfreezes(Classifier):
        def configure_optimizers(self) -> Any:
            self.optimizer = SGD(self.net[3].parameters(), lr=0.1)
            return self.optimizer

        def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
            if batch_idx == 1:
                self.optimizer.add_param_group({"params": list(self.net[0].parameters())})

    save_at(tmp_path / "c", 3, lambda trainer: trainer.fit(Unfreezes(), batches()))
    with pytest.raises(OptimizerError) as told:
        Trainer().fit(Unfreezes(), batches(), ckpt_path=tmp_path / "c")
    assert str(told.value) == (
        "configure_optimizers: what it made does not fit: loaded state dict has a different number of parameter "
        "groups. Make the same, parameter groups that were added during the run among them, or start anew."
    )


def test_a_scheduler_that_steps_right_after_resuming(tmp_path: Path) -> None:
    class Decays(Classifier):
        def configure_optimizers(self) -> Any:
            optimizer = SGD(self.parameters(), lr=0.1)
            return [optimizer], [ExponentialLR(optimizer, 0.5)]

    goes_on_exactly(tmp_path / "c", Decays, batch=4)


# Gradients and outputs


class Sparse(nn.Module):
    """Optimizes by itself, every second batch; its gradients are sparse and add up."""

    automatic_optimization = False

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 3, sparse=True)
        self.head = nn.Linear(3, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss: Tensor = self.head(self.embedding(batch)).pow(2).mean()
        loss.backward()
        if batch_idx % 2:
            self.made.step()
            self.made.zero_grad()
        return loss.detach()

    def configure_optimizers(self) -> SGD:
        self.made = SGD(self.parameters(), lr=0.5)
        return self.made


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_sparse_gradients_that_add_up(tmp_path: Path, batch: int) -> None:
    def data() -> list[Tensor]:
        return [torch.tensor([1, 2, 1]), torch.tensor([2, 3, 3]), torch.tensor([0, 0, 9]), torch.tensor([4, 1, 1])]

    goes_on_exactly(tmp_path / "c", Sparse, batch=batch, data=data)


@pytest.mark.parametrize("coalesced", [False, True])
def test_a_sparse_gradient_comes_back_as_it_was(tmp_path: Path, coalesced: bool) -> None:
    gradient = torch.sparse_coo_tensor(torch.tensor([[0, 2, 0]]), torch.ones(3, 2), (4, 2), check_invariants=True)
    module = nn.Embedding(4, 2, sparse=True)
    module.weight.grad = gradient.coalesce() if coalesced else gradient
    FolderFormat().save(tmp_path / "c", {"gradients": gradients_of(module, ())})
    other = nn.Embedding(4, 2, sparse=True)
    load_gradients_into(other, (), cast("dict[str, object]", FolderFormat().load(tmp_path / "c")["gradients"]))
    loaded = other.weight.grad
    assert loaded is not None
    assert loaded.is_coalesced() is coalesced
    assert torch.equal(loaded.to_dense(), gradient.to_dense())


class Returns(Classifier):
    """Returns something that no checkpoint can hold, with scalars."""

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        loss = self.loss(batch)
        return {"loss": loss, "double": loss.detach() * 2, "thing": Item(batch[0], batch[1])}


@pytest.mark.parametrize("again", [False, True])
def test_metrics_of_a_last_output_that_is_no_data(tmp_path: Path, again: bool) -> None:
    class SaveInValidation(Callback[nn.Module]):
        def __init__(self, batch: int) -> None:
            self.batch = batch

        def on_validation_batch_end(
            self, t: TrainerView, m: nn.Module, o: object, b: object, batch_idx: int, dataloader_idx: int = 0
        ) -> None:
            if batch_idx == self.batch:
                t.save_checkpoint(tmp_path / "c", when_written=self.leave)

        def leave(self, path: Path) -> None:
            raise Left

    torch.manual_seed(1)
    expected = Trainer(max_epochs=1).fit(Returns(), batches(), batches()).metrics
    assert expected.keys() == {"train_loss", "double", "val_loss"}
    torch.manual_seed(1)
    with pytest.raises(Left):
        Trainer(max_epochs=1, callbacks=[SaveInValidation(1)]).fit(Returns(), batches(), batches())
    if again:
        trainer = Trainer(max_epochs=1, callbacks=[SaveInValidation(2)])
        with pytest.raises(Left):
            trainer.fit(Returns(), batches(), batches(), ckpt_path=tmp_path / "c")
    assert Trainer(max_epochs=1).fit(Returns(), batches(), batches(), ckpt_path=tmp_path / "c").metrics == expected


# Other devices


def test_random_numbers_of_devices_that_are_not_here(tmp_path: Path) -> None:
    save_at(tmp_path / "a", 2, lambda trainer: trainer.fit(Classifier(), batches()))
    content: Any = FolderFormat().load(tmp_path / "a")
    content["rng"]["cuda"] = [torch.zeros(16, dtype=torch.uint8)] * 99
    FolderFormat().save(tmp_path / "c", content)
    here = torch.cuda.device_count()
    with pytest.warns(UserWarning, match="random numbers of cuda") as told:
        result = Trainer(max_epochs=2).fit(Classifier(), batches(), ckpt_path=tmp_path / "c")
    assert str(told[0].message) == (
        f"random numbers of cuda: they are of 99 devices, and there are {here}, so they do not go on as they "
        "would have."
    )
    assert result.batches == 8
    with pytest.raises(StateError, match="random numbers of cuda: "):
        Trainer(max_epochs=2).fit(Classifier(), batches(), ckpt_path=tmp_path / "c", exact=True)


def test_what_is_taken_up_goes_to_the_device_of_the_run() -> None:
    first, second = (RunContext(Stage.FIT, Classifier(), None, FitLoop()) for _ in range(2))
    first.log("x", torch.ones(()))
    first.optimization.scalars[0] = {"loss": torch.ones(())}
    second.device = torch.device("meta")
    take_up(second, fit_state(first))
    logged: Any = second.training_metrics.state_dict()
    loss = second.optimization.scalars[0]["loss"]
    assert isinstance(loss, Tensor)
    assert (loss.is_meta, logged["metrics"]["x"]["value"].is_meta) == (True, True)


def test_a_buffer_that_became_one_of_other_numbers(tmp_path: Path) -> None:
    class Widens(Classifier):
        total: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", torch.zeros(()), persistent=False)

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            self.total = self.total.double() + batch[0].double().mean()
            return super().training_step(batch, batch_idx)

    whole, other = goes_on_exactly(tmp_path / "c", Widens)
    assert other.total.dtype is torch.float64
    assert torch.equal(whole.total, other.total)


def test_a_loader_that_is_past_the_batch_under_way_says_so(tmp_path: Path) -> None:
    """One that saves its place by itself cannot give a batch twice."""

    class OwnPlace:
        def __init__(self) -> None:
            self.place = 0

        def __iter__(self) -> Iterator[Batch]:
            items = batches()
            while self.place < len(items):
                self.place += 1
                yield items[self.place - 1]
            self.place = 0

        def __len__(self) -> int:
            return len(batches())

        def state_dict(self) -> dict[str, object]:
            return {"place": self.place}

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self.place = state_dict["place"]

    class Saves(Callback[nn.Module]):
        save_on_exception = True

        def path_for_exception(self, trainer: TrainerView) -> Path:
            return tmp_path / "c"

        def on_before_backward(self, trainer: TrainerView, module: nn.Module, loss: Tensor) -> None:
            if trainer.global_step == 1:
                raise Broken

    with pytest.raises(Broken):
        Trainer(max_epochs=1, callbacks=[Saves()]).fit(Classifier(), OwnPlace())
    told = "in the middle of batch 1: its loader, which saves its place by itself, is past it: it is left out"
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        result = Trainer(max_epochs=1).fit(Classifier(), OwnPlace(), ckpt_path=tmp_path / "c")
    assert [told in str(warning.message) for warning in warned] == [True, False]
    assert "it gave 3 batches" in str(warned[1].message)
    assert result.batches == 3
