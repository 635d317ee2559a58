"""What it costs to save while a fit goes on.

    python -m benchmarks.async_saving [--megabytes 500] [--steps 300] [--every 100] [--rounds 3] [--folder .]

The same fit without checkpoints and with one beside the run every so many steps, in turn.  A step goes through
all weights, as that of a model of this size does; torch has one thread, so that the writing has the other
processor.  The clock is that of the wall.  What is told is the ratio of the times between the first
step and the last, and how long the run was stopped for each copy.

The exit status is 1 when the time without the copies is above 1.05 of that without saving.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from shutil import rmtree
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

import torch
from torch import Tensor, nn
from torch.optim import SGD

from benchmarks.machine import machine
from typedloops import Callback, Trainer, TrainerView
from typedloops.checkpoint import Staging

TARGET: Final = 1.05
WIDTH: Final = 2048
BATCH: Final = 8


class Wide(nn.Module):
    """Layers of 16 MB each; with the momentum of SGD twice as much is saved."""

    def __init__(self, megabytes: int) -> None:
        super().__init__()
        layers = max(1, round(megabytes * 2**20 / 2 / (WIDTH * WIDTH * 4)))
        self.net = nn.Sequential(*(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(layers)))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.net(batch).square().mean()  # type: ignore[no-any-return]  # nn.Sequential gives Any

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return SGD(self.parameters(), lr=1e-6, momentum=0.9)


class Saves(Callback[nn.Module]):
    """Saves beside the run every so many steps, and takes the time of the steps."""

    def __init__(self, folder: Path, every: int | None) -> None:
        self.folder = folder
        self.every = every
        self.began = self.ended = 0.0
        self.written = 0

    def on_train_start(self, trainer: TrainerView, module: nn.Module) -> None:
        self.began = perf_counter()

    def on_train_batch_end(
        self, trainer: TrainerView, module: nn.Module, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if self.every is not None and (batch_idx + 1) % self.every == 0:
            trainer.save_checkpoint(self.folder / str(batch_idx), asynchronous=True, when_written=self.forget)

    def forget(self, path: Path) -> None:
        self.written += 1
        rmtree(path)

    def on_train_end(self, trainer: TrainerView, module: nn.Module) -> None:
        self.ended = perf_counter()


def seconds(module: Wide, batches: list[Tensor], folder: Path, every: int | None) -> float:
    """How long the steps of a fit take."""
    saves = Saves(folder, every)
    Trainer(max_epochs=1, callbacks=[saves]).fit(module, batches)
    assert every is None or saves.written == len(batches) // every
    return saves.ended - saves.began


def copy_seconds(module: nn.Module) -> float:
    """How long the copy of a state takes that stops the run; the memory of the one before is there."""
    state = {"module": module.state_dict(), "momentum": {k: v.clone() for k, v in module.state_dict().items()}}
    staging, times = Staging(), list[float]()
    for _ in range(5):
        start = perf_counter()
        staged = staging.copied(state)
        times.append(perf_counter() - start)
        staged.release()
    return median(times[1:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path())
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    module = Wide(options.megabytes)
    batches = [torch.randn(BATCH, WIDTH)] * options.steps
    copy = copy_seconds(module)
    plain: list[float] = []
    saving: list[float] = []
    with TemporaryDirectory(dir=options.folder) as folder:
        for _ in range(options.rounds):
            plain.append(seconds(module, batches, Path(folder), None))
            saving.append(seconds(module, batches, Path(folder), options.every))
            print(f"  without {plain[-1]:.2f} s, with {saving[-1]:.2f} s", flush=True)
    copies = copy * (options.steps // options.every)
    ratio = (median(saving) - copies) / median(plain)
    print(f"{options.megabytes} MB every {options.every} steps of {median(plain) / options.steps * 1e3:.0f} ms")
    print(f"a copy takes {copy:.3f} s; with saving / without: {median(saving) / median(plain):.3f}")
    print(f"the same less the copies: {ratio:.3f}, target {TARGET} {'met' if ratio <= TARGET else 'MISSED'}")
    return int(ratio > TARGET)


if __name__ == "__main__":
    sys.exit(main())
