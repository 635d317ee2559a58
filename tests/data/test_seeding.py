"""Seeds: the same random numbers each time, in this process and in the workers of loaders."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tests.modules import Classifier
from typedloops import FitLoop, seed_everything
from typedloops.errors import ConfigurationError
from typedloops.loops.run.computing.seeding import Workers, seed_worker

Draw = tuple[float, float, float]


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    Workers.seeded = False
    seed_everything(0, workers=False)


def draw() -> Draw:
    # The old generator is the one that augmentations draw from without being given one.
    return random.random(), float(np.random.random()), torch.rand(1).item()


class Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Each item is what its worker draws."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.tensor([*draw(), float(index)]), torch.tensor(index % 3)


class Keeping(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Draw] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        self.seen += [(row[0], row[1], row[2]) for row in batch[0].tolist()]
        return super().training_step(batch, batch_idx)


def fitted(seed: int, workers: bool = True) -> tuple[list[Draw], DataLoader[tuple[Tensor, Tensor]]]:
    """What the two workers of a fit of two epochs draw."""
    seed_everything(seed, workers)
    model, loader = Keeping(), DataLoader(Augmented(), batch_size=2, num_workers=2)
    FitLoop(max_epochs=2).run(model, loader)
    return model.seen, loader


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_every_generator_starts_anew(seed: int) -> None:
    assert seed_everything(seed) == seed
    first = draw()
    assert draw() != first
    seed_everything(seed)
    assert draw() == first
    seed_everything((seed + 1) % 2**32)
    assert all(a != b for a, b in zip(first, draw(), strict=True))


def test_augmentation_in_workers_is_reproducible_and_differs_between_workers_and_epochs() -> None:
    seen, loader = fitted(3)
    assert fitted(3)[0] == seen
    assert len(set(seen)) == 16, "two workers, two epochs, no number twice"
    for place in range(3):
        assert len({drawn[place] for drawn in seen}) == 16, "nor from any of the three generators"
    assert not set(fitted(4)[0]) & set(seen)
    assert loader.worker_init_fn is None, "torch does it all"


def test_workers_of_other_processes_draw_other_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, _ = fitted(3)
    monkeypatch.setenv("RANK", "1")
    second, loader = fitted(3)
    assert loader.worker_init_fn is seed_worker
    assert fitted(3)[0] == second
    monkeypatch.setenv("RANK", "2")
    third, _ = fitted(3)
    for place in range(3):
        assert len({drawn[place] for drawn in (*alone, *second, *third)}) == 48
    assert fitted(3, workers=False)[0] == alone


def test_a_worker_init_fn_of_ones_own_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    seed_everything(3)
    loader = DataLoader(Augmented(), batch_size=2, num_workers=1, worker_init_fn=own)
    FitLoop(max_epochs=1).run(Keeping(), loader)
    assert loader.worker_init_fn is own
    plain = DataLoader(Augmented(), batch_size=2)
    FitLoop(max_epochs=1).run(Keeping(), plain)
    assert plain.worker_init_fn is None


def own(worker_id: int) -> None:
    pass


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, None, "3"])
def test_what_is_no_seed(seed: object) -> None:
    with pytest.raises(ConfigurationError) as told:
        seed_everything(seed)  # type: ignore[arg-type]
    assert str(told.value) == (f"seed_everything: {seed!r} is no seed. Give an int from 0 to 4294967295.")


def test_numpy_is_not_needed() -> None:
    code = (
        "import sys; sys.modules['numpy'] = sys.modules['numpy.random'] = None\n"
        "from typedloops import seed_everything\n"
        "import random\n"
        "print(seed_everything(5), random.random() == random.Random(5).random())"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.split() == ["5", "True"]
