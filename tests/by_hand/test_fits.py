"""What a fit does is what the loop that one writes does.

Events with their counters, the reason of the end and the bits of the weights are those of `ByHand`, on the fused
path and on the one that goes through Python, whatever happens at whichever event.
"""

from __future__ import annotations

from itertools import product

import pytest
import torch

from tests.by_hand import trainer
from tests.by_hand.fits import Failure, Fit, fits
from tests.by_hand.loop import ByHand
from tests.by_hand.recording import Outcome

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # what is told where is tested where it is told


def check(ours: Outcome, theirs: Outcome) -> None:
    assert ours.lines == theirs.lines
    assert (ours.ended, ours.counts) == (theirs.ended, theirs.counts)
    assert all(map(torch.equal, ours.weights.values(), theirs.weights.values()))


@pytest.mark.parametrize("fit", fits(), ids=str)
def test_a_fit(fit: Fit) -> None:
    by_hand = ByHand(fit).run()
    for fused in (True, False):
        check(trainer.run(fit, fused=fused), by_hand)


ONE_EPOCH = [
    Fit("2 batches", "one", "1 epoch of 3 batches", "each epoch"),
    Fit("2 batches", "own step", "3 of no length", "no validation"),
    Fit("1 batch", "two", "1 epoch of 3 batches", "each 2 batches"),
    Fit("1 batch", "LBFGS", "1 epoch of 3 batches", "each epoch"),
]
TWO_EPOCHS = [
    Fit(accumulation, optimizers, "2 epochs", "each 2 batches")
    for accumulation, optimizers in product(("2 batches", "3 batches"), ("one", "taking turns", "own step"))
]
HAPPENS: dict[str, tuple[str, list[Fit]]] = {
    "raise": ("", ONE_EPOCH),
    "StopIteration": ("", ONE_EPOCH),
    "stop": ("", ONE_EPOCH),
    "-1": ("M.on_train_batch_start", TWO_EPOCHS),
    "None": ("training_step", TWO_EPOCHS),
}
"""What happens, how the events begin at which it may, and in which fits."""


@pytest.mark.parametrize(
    ("does", "fit"), [(does, fit) for does, (_, table) in HAPPENS.items() for fit in table], ids=str
)
def test_at_every_event(does: str, fit: Fit) -> None:
    undisturbed = ByHand(fit).run().lines
    places = [line for line, event in enumerate(undisturbed) if event.startswith(HAPPENS[does][0])]
    assert len(places) > 5
    for line in places:
        failure = Failure(line, does)
        by_hand = ByHand(fit, failure).run()
        assert by_hand.lines[: line + 1] == undisturbed[: line + 1]
        check(trainer.run(fit, fused=line % 2 == 0, failure=failure), by_hand)
