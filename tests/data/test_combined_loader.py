"""Several loaders as one."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import typedloops
from tests.modules import Batch, Classifier, Loader, Stream, batches
from typedloops import BatchLoader, Callback, CombinedLoader, Trainer, TrainerView
from typedloops.errors import ConfigurationError, EscapedStopIteration, LoaderError, MisuseError

# The shapes and modes here are values that no checker can follow.
Combined: Any = CombinedLoader


class Unsized:
    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))


def by_hand(mode: str, sizes: list[int]) -> list[object]:
    """What a combination of `range(size)` of each size gives, in closed form."""
    if mode == "sequential":
        return [batch for size in sizes for batch in range(size)]
    rounds = min(sizes) if mode == "min_size" else max(sizes)
    if mode == "max_size":
        return [tuple(i if i < size else None for size in sizes) for i in range(rounds)]
    return [tuple(i % size for size in sizes) for i in range(rounds)]


MODES = ("min_size", "max_size_cycle", "max_size", "sequential")
SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@given(mode=st.sampled_from(MODES), sizes=SIZES, unsized=st.sets(st.integers(0, 3)))
def test_every_mode_in_closed_form(mode: str, sizes: list[int], unsized: set[int]) -> None:
    loaders = tuple(Unsized(size) if i in unsized else range(size) for i, size in enumerate(sizes))
    combined = Combined(loaders, mode)
    expected = by_hand(mode, sizes)
    assert list(combined) == expected
    assert list(combined) == expected  # a second epoch
    if unsized & set(range(len(sizes))):
        with pytest.raises(TypeError, match=r"^this CombinedLoader has no length: CombinedLoader\[\d\] has none$"):
            len(combined)
    else:
        assert len(combined) == len(expected)


@given(sizes=SIZES)
def test_the_index_of_the_loader_of_each_batch(sizes: list[int]) -> None:
    indexed = Combined([range(size) for size in sizes], "sequential").indexed()
    assert list(indexed) == [(index, batch) for index, size in enumerate(sizes) for batch in range(size)]
    assert len(indexed) == sum(sizes)


@pytest.mark.parametrize("mode", MODES[:3])
def test_the_shape_of_a_batch_is_that_of_the_loaders(mode: str) -> None:
    first, second = range(2), range(10, 12)
    assert list(Combined((first, second), mode)) == [(0, 10), (1, 11)]
    assert list(Combined([first, second], mode)) == [[0, 10], [1, 11]]
    assert list(Combined({"a": first, "b": second}, mode)) == [{"a": 0, "b": 10}, {"a": 1, "b": 11}]
    assert list(Combined((first, Combined([second, first], mode)), mode)) == [(0, [10, 0]), (1, [11, 1])]


class Asked:
    """Says when it is iterated and for what it is asked."""

    def __init__(self, name: str, count: int, log: list[str]) -> None:
        self.name, self.count, self.log = name, count, log

    def __iter__(self) -> Iterator[int]:
        self.log.append(f"{self.name} begins")
        for i in range(self.count):
            self.log.append(f"{self.name}{i}")
            yield i


ASKED: dict[str, list[str]] = {
    # a has two batches and b three
    "min_size": ["a begins", "a0", "b begins", "b0", "|", "a1", "b1", "|"],
    "max_size_cycle": ["a begins", "a0", "b begins", "b0", "|", "a1", "b1", "|", "b2", "a begins", "a0", "|"],
    "max_size": ["a begins", "a0", "b begins", "b0", "|", "a1", "b1", "|", "b2", "|"],
    "sequential": ["a begins", "a0", "|", "a1", "|", "b begins", "b0", "|", "b1", "|", "b2", "|"],
}


@pytest.mark.parametrize("mode", MODES)
def test_loaders_are_asked_for_no_more_than_is_given(mode: str) -> None:
    log: list[str] = []
    combined = CombinedLoader((Asked("a", 2, log), Asked("b", 3, log)), mode)  # type: ignore[call-overload]
    iterator = iter(combined)
    assert log == []
    log.extend("|" for _ in iterator)
    assert log == ASKED[mode]


def test_a_loader_that_begins_anew_is_shuffled_anew() -> None:
    dataset = TensorDataset(torch.arange(8))
    few: DataLoader[Any] = DataLoader(dataset, batch_size=1, shuffle=True)
    many: DataLoader[Any] = DataLoader(TensorDataset(torch.arange(16)), batch_size=1)
    got = [int(pair[0][0]) for pair in CombinedLoader((few, many), "max_size_cycle")]
    assert sorted(got[:8]) == sorted(got[8:]) == list(range(8))
    assert got[:8] != got[8:]


def labelled(items: list[tuple[Tensor, ...]]) -> Batch:
    return torch.stack([item[0] for item in items]), torch.stack([item[1] for item in items])


DATASET = TensorDataset(torch.randn(10, 4), torch.arange(10) % 3)


class TwoSided(Classifier):
    """Trains on two batches at a time."""

    def training_step(self, batch: tuple[Batch, Batch], batch_idx: int) -> Tensor:  # type: ignore[override]
        return self.loss(batch[0]) + 0.5 * self.loss(batch[1])

    validation_step = None  # type: ignore[assignment]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_fit_has_the_bits_of_the_loop_that_one_writes(workers: int) -> None:
    def loaders() -> tuple[BatchLoader[Batch], BatchLoader[Batch]]:
        generator = torch.Generator().manual_seed(3)
        first = BatchLoader(
            DATASET, collate_fn=labelled, batch_size=2, shuffle=True, generator=generator, num_workers=workers
        )
        return first, BatchLoader(DATASET, collate_fn=labelled, batch_size=3)

    torch.manual_seed(1)
    model, by_hand = TwoSided().eval(), TwoSided().eval()
    by_hand.load_state_dict(model.state_dict())
    torch.manual_seed(2)
    result = Trainer(max_epochs=2).fit(model, CombinedLoader(loaders()))
    torch.manual_seed(2)
    by_hand.train()
    optimizer, (first, second) = by_hand.configure_optimizers(), loaders()
    for _ in range(2):
        for pair in zip(first, second, strict=False):
            optimizer.zero_grad()
            by_hand.training_step(pair, 0).backward()
            optimizer.step()
    assert result.batches == 8
    for ours, theirs in zip(model.parameters(), by_hand.parameters(), strict=True):
        assert torch.equal(ours, theirs)


class LastTold(Callback):
    """Which batches were said to be the last."""

    def __init__(self) -> None:
        self.told: list[bool] = []

    def on_train_batch_end(self, trainer: TrainerView, module: object, *args: object) -> None:
        fit: Any = trainer
        self.told.append(fit.fit_loop.epoch_loop.batch_progress.is_last_batch)


@pytest.mark.parametrize("kind", [Loader, Stream])
@pytest.mark.parametrize(
    ("mode", "limit", "count"),
    [
        ("min_size", 1.0, 2),
        ("max_size_cycle", 1.0, 5),
        ("max_size_cycle", 3, 3),
        ("max_size_cycle", 9, 5),
        ("sequential", 1.0, 7),
        ("sequential", 6, 6),
    ],
)
def test_the_last_batch_and_windows_of_a_combination(kind: Any, mode: str, limit: float, count: int) -> None:
    class Any2(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self.loss(batch) if mode == "sequential" else self.loss(batch[0]) + self.loss(batch[1])

    told = LastTold()
    trainer = Trainer(max_epochs=1, limit_train_batches=limit, accumulate_grad_batches=2, callbacks=[told])
    result = trainer.fit(Any2(), Combined([Loader(batches(2)), kind(batches(5))], mode))
    assert told.told == [False] * (count - 1) + [True]
    assert (result.batches, result.optimizer_steps) == (count, -(-count // 2))


def test_a_share_of_a_combination() -> None:
    train: Any = CombinedLoader([Loader(batches(2)), Loader(batches(6))], "sequential")
    assert Trainer(max_epochs=1, limit_train_batches=0.5).fit(Classifier(), train).batches == 4


def test_what_has_ended_gives_none() -> None:
    class Sometimes(Classifier):
        def training_step(self, batch: dict[str, Batch | None], batch_idx: int) -> Tensor:  # type: ignore[override]
            return torch.stack([self.loss(part) for part in batch.values() if part is not None]).sum()

    train = CombinedLoader({"few": batches(1), "many": batches(3)}, "max_size")
    assert Trainer(max_epochs=2).fit(Sometimes(), train).batches == 6


def test_an_evaluation_on_a_combination_is_one_loader() -> None:
    model = Classifier()
    result = Trainer().validate(model, CombinedLoader([batches(2), batches(3)], "sequential"))
    assert [loader.batches for loader in result.dataloaders] == [5]


@pytest.mark.parametrize("way", [copy.deepcopy, lambda combined: pickle.loads(pickle.dumps(combined))])
def test_a_copy_gives_the_same(way: Any) -> None:
    combined = CombinedLoader({"a": [1, 2], "b": [3, 4]})
    assert list(way(combined)) == list(combined)


def test_the_same_loader_twice() -> None:
    plain: DataLoader[Any] = DataLoader(DATASET, batch_size=5, num_workers=1)
    assert len(list(CombinedLoader((plain, plain)))) == 2
    persistent: DataLoader[Any] = DataLoader(DATASET, batch_size=5, num_workers=1, persistent_workers=True)
    assert len(list(CombinedLoader([persistent, persistent], "sequential"))) == 4


def exhaust(loaders: object, mode: str = "min_size") -> object:
    return list(Combined(loaders, mode))


def let_stop_out(items: object) -> object:
    raise StopIteration


def both(loader: Iterable[object]) -> dict[str, Iterable[object]]:
    return {"labelled": loader, "unlabelled": [1, 2]}


CASES: dict[str, tuple[object, str, type[MisuseError], str]] = {
    "an unknown mode": (
        [[1]],
        "longest",
        ConfigurationError,
        r"CombinedLoader: mode: 'longest' is none\. Give one of 'min_size', 'max_size_cycle', 'max_size', 'sequential'",
    ),
    "one loader": (
        DataLoader(DATASET),
        "min_size",
        LoaderError,
        r"CombinedLoader: a DataLoader is no group of loaders\. Give a tuple, a list or a mapping",
    ),
    "a string": ("ab", "min_size", LoaderError, "CombinedLoader: a str is no group of loaders"),
    "no loader": ([], "min_size", LoaderError, r"CombinedLoader: it is given no loader\. Give"),
    "not iterable": (
        both(5),  # type: ignore[arg-type]
        "min_size",
        LoaderError,
        r"CombinedLoader\['labelled'\]: an object of type int is not iterable\. Give a loader",
    ),
    "a dataset": (
        [[1], DATASET],
        "min_size",
        LoaderError,
        r"CombinedLoader\[1\]: a TensorDataset is a dataset: it gives samples, not batches\. Put it into a loader",
    ),
    "loaders in a loader's place": (
        both([Unsized(1), Unsized(2)]),
        "min_size",
        LoaderError,
        r"CombinedLoader\['labelled'\]: it is a list of loaders, and one is taken\. .*CombinedLoader makes one of",
    ),
    **{
        f"an empty one, {mode}": (
            both([]),
            mode,
            LoaderError,
            r"CombinedLoader\['labelled'\]: it gave no batches\. Is the dataset empty",
        )
        for mode in MODES
    },
    "None for a batch": (
        both([1, None]),
        "min_size",
        LoaderError,
        r"CombinedLoader\['labelled'\]: batch 1 is None\. Yield batches only",
    ),
    "an iterator that is to begin anew": (
        (iter([1]), [1, 2]),
        "max_size_cycle",
        LoaderError,
        r"CombinedLoader\[0\]: it gave no batches: a list_iterator is an iterator, .* only once",
    ),
    "an iterator in two places": (
        (one := iter([1, 2, 3]), one),
        "min_size",
        LoaderError,
        r"CombinedLoader\[1\]: it goes on where CombinedLoader\[0\] is: a list_iterator like this has one iterator",
    ),
    "persistent workers in two places": (
        [persistent := DataLoader(DATASET, num_workers=1, persistent_workers=True), persistent],
        "max_size",
        LoaderError,
        r"CombinedLoader\[1\]: it goes on where CombinedLoader\[0\] is: a DataLoader .*\. Give another one; an it",
    ),
    "StopIteration from a collate function": (
        both(DataLoader(DATASET, collate_fn=let_stop_out)),
        "min_size",
        EscapedStopIteration,
        "let_stop_out: StopIteration escaped from it",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_message(case: str) -> None:
    loaders, mode, kind, message = CASES[case]
    with pytest.raises(MisuseError, match=f"^{message}") as caught:
        exhaust(loaders, mode)
    assert type(caught.value) is kind


def test_only_one_after_another_has_an_index() -> None:
    with pytest.raises(ConfigurationError, match=r"'min_size'\)\.indexed: a batch of it is of every loader\. It is"):
        CombinedLoader([[1], [2]]).indexed()


def test_one_that_errs_about_its_length_is_told_by_name() -> None:
    combined = Combined({"a": Loader(batches(2), length=3), "b": batches(4)}, "max_size")
    with pytest.warns(UserWarning, match=r"^CombinedLoader\['a'\]: its length is 3 and it gave 2 batches"):
        assert len(list(combined)) == 4


def test_several_loaders_to_train_on_are_told_of_it() -> None:
    trainer: Any = typedloops.Trainer(max_epochs=1)
    with pytest.raises(LoaderError, match=r"it is a list of loaders, and one is taken\. Give one loader: CombinedL"):
        trainer.fit(Classifier(), [Loader(batches(1)), Loader(batches(1))])
