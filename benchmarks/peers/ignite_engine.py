"""Ignite: an `Engine` with nothing attached.  An evaluation and a prediction are the same engine as a training."""

from __future__ import annotations

from collections.abc import Iterable

from ignite.engine import Engine  # type: ignore[import-not-found, unused-ignore]

from benchmarks.peers.measure import Batch, NullBatch, Tasks, TinyNet


def null(loader: Iterable[NullBatch]) -> None:
    Engine(lambda engine, batch: None).run(loader, max_epochs=1)


def tiny(loader: Iterable[Batch]) -> None:
    module = TinyNet()
    optimizer = module.sgd()

    def step(engine: object, batch: Batch) -> None:
        loss = module.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    Engine(step).run(loader, max_epochs=1)


if __name__ == "__main__":
    Tasks("pytorch-ignite", fit=null, tiny=tiny).main()
