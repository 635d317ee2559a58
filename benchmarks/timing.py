"""Timing that other programs on the machine spoil as little as can be.

The clock is that of the thread: it stands while another program has the processor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from statistics import median
from time import thread_time
from typing import Generic, TypeAlias, TypeVar

B = TypeVar("B")

Action: TypeAlias = Callable[[], object]
Consumer: TypeAlias = Callable[[Iterable[B]], object]


def seconds(action: Action) -> float:
    """How long one call takes."""
    start = thread_time()
    action()
    return thread_time() - start


def least(action: Action, rounds: int) -> float:
    """The least time of `rounds` calls: what the others had on top is not the action's."""
    return min(seconds(action) for _ in range(rounds))


def least_ratio(subject: Action, rival: Action, rounds: int) -> float:
    """How many times as long `subject` takes as `rival`: the least time of each, called in turn."""
    pairs = [(seconds(subject), seconds(rival)) for _ in range(rounds)]
    return min(own for own, _ in pairs) / min(other for _, other in pairs)


class TimedBlocks(Generic[B]):
    """A loader that times whoever goes through it: how long they take over each block of batches.

    It sees a training loop from inside one run, so what the loop does once per run or
    per epoch is not in the figures.  Before each block and after the last one a rival
    goes through the same batches, so that both are timed within milliseconds of each other.

    Args:
        block: The batches of one block, handed out at the speed of a list.
        count: How many blocks.
        rival: Another consumer of `block`.
    """

    def __init__(self, block: Sequence[B], count: int, rival: Consumer[B] | None = None) -> None:
        self.block = block
        self.count = count
        self.rival = rival
        self.seconds: list[float] = []
        self.rival_seconds: list[float] = []

    def __len__(self) -> int:
        return len(self.block) * self.count

    def __iter__(self) -> Iterator[B]:
        return chain.from_iterable(self._blocks())

    def _blocks(self) -> Iterator[Sequence[B]]:
        for _ in range(self.count):
            self._time_rival()
            start = thread_time()
            yield self.block
            self.seconds.append(thread_time() - start)
        self._time_rival()

    def _time_rival(self) -> None:
        if self.rival is not None:
            start = thread_time()
            self.rival(self.block)
            self.rival_seconds.append(thread_time() - start)

    @property
    def least_per_batch(self) -> float:
        """Seconds for one batch, in the block that took the least."""
        return min(self.seconds) / len(self.block)

    @property
    def ratio(self) -> float:
        """How many times as long the consumer took as the rival.

        The median over the blocks, each against the rival's times just before and just
        after it: a machine that gets slower or faster meanwhile does not show.  The first
        block warms up.
        """
        before, after = self.rival_seconds, self.rival_seconds[1:]
        triples = list(zip(self.seconds, before, after, strict=False))
        return median(2 * own / (earlier + later) for own, earlier, later in triples[1:])
