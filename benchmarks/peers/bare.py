"""The loops that one writes by hand."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.peers.measure import Batch, NullBatch, Tasks, TinyNet


class NullModule:
    def step(self, batch: NullBatch, batch_idx: int) -> None:
        return None


def null(loader: Iterable[NullBatch]) -> None:
    step = NullModule().step
    for batch_idx, batch in enumerate(loader):
        step(batch, batch_idx)


def tiny(loader: Iterable[Batch]) -> None:
    module = TinyNet()
    optimizer = module.sgd()
    for batch in loader:
        loss = module.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


class Counting:
    def __init__(self, n: int) -> None:
        self.n = n
        self.i = 0

    @property
    def done(self) -> bool:
        return self.i >= self.n

    def advance(self) -> None:
        self.i += 1


def loop(n: int) -> None:
    counting = Counting(n)
    while not counting.done:
        counting.advance()


if __name__ == "__main__":
    Tasks(fit=null, validate=null, predict=null, tiny=tiny, loop=loop).main()
