"""An entry loop of one's own, whose runs are fits of modules of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from typing_extensions import override

from tests.verification.digits import Digits, in_order, shuffled
from typedloops import FitLoop, InRun, Loop, Slot, Trainer, verify_resume


class Folds(Loop[[Callable[[], Digits]], list[float]]):
    """Fits a module of its own for each fold."""

    fit_loop: Slot[FitLoop] = Slot()
    state_fields: ClassVar[tuple[str, ...]] = ("fold", "losses")

    def __init__(self) -> None:
        self.fit_loop = FitLoop(max_epochs=1)
        self.fold = 0
        self.losses: list[float] = []

    @property
    @override
    def done(self) -> bool:
        return self.fold == 2

    @override
    def reset(self) -> None:
        if not self.restarting:
            self.fold, self.losses = 0, []

    @override
    def advance(self, make: Callable[[], Digits]) -> None:
        result = self.fit_loop.run(make(), shuffled(), in_order())
        self.losses.append(result.metrics["val_loss"])
        self.fold += 1

    @override
    def on_run_end(self) -> list[float]:
        return self.losses


def test_every_fold_goes_on_exactly() -> None:
    report = verify_resume(lambda: Trainer(fit_loop=Folds()), lambda trainer: trainer.fit(Digits), at=9)
    report.check()
    assert {place.loop for place in report.places} >= {"fit_loop.fit_loop", "fit_loop.fit_loop.epoch_loop"}


def test_a_fold_that_is_not_counted() -> None:
    class Uncounted(Folds):
        def on_load_checkpoint(self, state: object) -> None:
            self.losses = []

    report = verify_resume(lambda: Trainer(fit_loop=Uncounted()), lambda trainer: trainer.fit(Digits), at=[30])
    (first,) = report.differences
    assert first.path == "loops: losses"


class Labels(InRun[[Digits], float]):
    """Saves between the fit of the module that it was given and what it does with that."""

    fit_loop: Slot[FitLoop] = Slot()
    points: ClassVar[tuple[str, ...]] = ("begun", "trained")
    """In the order of one round; the next one begins at the last."""
    state_fields: ClassVar[tuple[str, ...]] = ("rounds",)

    def __init__(self) -> None:
        self.fit_loop = FitLoop(max_epochs=1)
        self.rounds = 0

    @property
    @override
    def done(self) -> bool:
        return self.rounds == 2

    @override
    def reset(self) -> None:
        if not self.restarting:
            self.rounds = 0

    @override
    def advance(self, model: Digits) -> None:
        if not self.passed("begun"):
            self.mark("begun")
        self.fit_loop.run(model, shuffled(), in_order())
        self.rounds += 1
        self.mark("trained")

    @override
    def on_run_end(self) -> float:
        return self.rounds


def test_a_point_after_the_fit_of_the_same_module() -> None:
    """The optimizers of the fit that is over are no state: nothing goes on with them."""
    report = verify_resume(lambda: Trainer(fit_loop=Labels()), lambda trainer: trainer.fit(Digits()), at=12)
    assert "fit_loop" in {place.loop for place in report.places}
    report.check()
