"""How long it takes to begin a pass again near its beginning, and far from it: `python -m benchmarks.resume_time`.

From `iter` to the first batch, of a shuffled `DataLoader` of a million items.  torch's sampler draws the whole
permutation at its first index wherever the pass is begun: "from the beginning" shows what that takes.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.machine import machine
from benchmarks.timing import least_ratio, seconds
from typedloops import BatchLoader, Callback, Trainer, TrainerView
from typedloops.loops.run.passes import LoaderPass

ITEMS = 1_000_000
BATCH_SIZE = 8
NEAR, FAR = 10, 100_000
ROUNDS = 7


class Indices(Dataset[int]):
    def __len__(self) -> int:
        return ITEMS

    def __getitem__(self, index: int) -> int:
        return index


def first_batch(loader: DataLoader[int], position: Mapping[str, object] | None) -> object:
    return next(iter(LoaderPass("loader", loader, resumed=position)))


def saved_at(loader: DataLoader[int], taken: int) -> dict[str, object]:
    whole = LoaderPass("loader", loader)
    iter(whole)
    return whole.state_dict(taken)


def by_indices(loader: DataLoader[int], taken: int) -> object:
    """What leaving out the batches of indices one by one takes, with no data fetched for them."""
    if loader.batch_sampler is None:
        return None
    return next(islice(iter(loader.batch_sampler), taken, None))


class Null(nn.Module):
    """Does nothing, and leaves the fit when it is called for the first time."""

    def __init__(self, leaves: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.leaves = leaves

    def training_step(self, batch: int, batch_idx: int) -> None:
        if self.leaves:
            raise Arrived

    def configure_optimizers(self) -> None:
        """Nothing is optimized."""


class Arrived(Exception):
    """The first batch is there."""


class Saves(Callback[Null, int]):
    """Saves a fit at some of its batches."""

    def __init__(self, folder: Path, places: Collection[int]) -> None:
        self.folder = folder
        self.places = places

    def on_train_batch_end(
        self, trainer: TrainerView, module: Null, outputs: object, batch: int, batch_idx: int
    ) -> None:
        if batch_idx + 1 in self.places:
            trainer.save_checkpoint(self.folder / str(batch_idx + 1))


def resume_fit(loader: BatchLoader[int], path: Path) -> None:
    """A whole fit that goes on, until its first batch."""
    with suppress(Arrived):
        Trainer(max_epochs=1).fit(Null(leaves=True), loader, ckpt_path=path)


def fits(loader: BatchLoader[int]) -> float:
    """The time from calling `fit` to its first batch, far from the beginning to near it."""
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing is optimized
        callbacks = [Saves(Path(folder), (NEAR, FAR))]
        Trainer(max_epochs=1, limit_train_batches=FAR + 1, callbacks=callbacks).fit(Null(leaves=False), loader)
        return least_ratio(
            lambda: resume_fit(loader, Path(folder, str(FAR))),
            lambda: resume_fit(loader, Path(folder, str(NEAR))),
            ROUNDS,
        )


def main() -> None:
    torch.set_num_threads(1)
    loader: DataLoader[int] = DataLoader(Indices(), batch_size=BATCH_SIZE, shuffle=True)
    positions = {taken: saved_at(loader, taken) for taken in (NEAR, FAR)}
    times: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, position in [
            ("the beginning", None),
            *((f"batch {taken:,}", positions[taken]) for taken in positions),
        ]:
            times.setdefault(name, []).append(seconds(partial(first_batch, loader, position)))
        times.setdefault(f"batch {FAR:,}, by its indices", []).append(seconds(lambda: by_indices(loader, FAR)))
    print(machine())
    for name, measured in times.items():
        print(f"from {name}: {1e3 * min(measured):.1f} ms")
    ratio = least_ratio(
        lambda: first_batch(loader, positions[FAR]), lambda: first_batch(loader, positions[NEAR]), ROUNDS
    )
    print(f"batch {FAR:,} / batch {NEAR}: {ratio:.3f}")
    whole: BatchLoader[int] = BatchLoader(Indices(), batch_size=BATCH_SIZE, shuffle=True)
    print(f"batch {FAR:,} / batch {NEAR}, from the call of fit to its first batch: {fits(whole):.3f}")


if __name__ == "__main__":
    main()
