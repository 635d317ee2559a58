"""Lightning 1.9, the last with loops of one's own: its `Loop` and its `BatchProgress`."""
# mypy: disable-error-code="attr-defined, import-not-found, misc, no-any-return, no-any-unimported"
# It is installed in an environment of its own; elsewhere `pytorch_lightning` is version 2.

from __future__ import annotations

from pytorch_lightning.loops import Loop
from pytorch_lightning.trainer.progress import BatchProgress

from benchmarks.peers.measure import Tasks


class Plain(Loop):
    i = 0
    n = 0

    @property
    def done(self) -> bool:
        return self.i >= self.n

    def reset(self) -> None:
        self.i = 0

    def on_run_start(self, n: int) -> None:
        self.n = n

    def advance(self, n: int) -> None:
        self.i += 1


class Counting(Loop):
    n = 0

    def __init__(self) -> None:
        super().__init__()
        self.progress = BatchProgress()

    @property
    def done(self) -> bool:
        return self.progress.current.completed >= self.n

    def reset(self) -> None:
        self.progress.reset_on_run()

    def on_run_start(self, n: int) -> None:
        self.n = n

    def advance(self, n: int) -> None:
        self.progress.increment_ready()
        self.progress.increment_started()
        self.progress.increment_processed()
        self.progress.increment_completed()


if __name__ == "__main__":
    Tasks("pytorch-lightning", loop=Plain().run, counting=Counting().run).main()
