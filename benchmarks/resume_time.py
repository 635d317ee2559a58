"""How long it takes to begin a pass again near its beginning, and far from it: `python -m benchmarks.resume_time`.

From `iter` to the first batch, of a shuffled `DataLoader` of a million items.  torch's sampler draws the whole
permutation at its first index wherever the pass is begun: "from the beginning" shows what that takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import islice

import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.machine import machine
from benchmarks.timing import least_ratio, seconds
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


if __name__ == "__main__":
    main()
