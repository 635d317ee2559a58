"""Other entry loops: `fit` takes and returns what their `run` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Generic, assert_type, cast

from torch import Tensor, nn
from typing_extensions import Protocol, TypeVar

from tests.typing.good.models import Batch, Classifier, batches
from typedloops import EvaluationResult, FitLoop, FitResult, Loop, PredictionLoop, TestLoop, Trainer, ValidationLoop

B = TypeVar("B")
B_contra = TypeVar("B_contra", contravariant=True)
T = TypeVar("T")
R = TypeVar("R")
data, model = batches(), Classifier()


class Scores(Protocol[B_contra]):
    def score(self, batch: B_contra, /) -> float: ...


class BestOf(Loop[[Scores[B], Iterable[B], int], list[float]], Generic[B]):
    """An entry loop with a type of batch of its own, and a keyword."""

    def __init__(self) -> None:
        self.scores: list[float] = []

    @property
    def done(self) -> bool:
        return bool(self.scores)

    def reset(self) -> None:
        self.scores = []

    def advance(self, model: Scores[B], source: Iterable[B], count: int) -> None:
        self.scores = sorted(model.score(batch) for batch in source)[-count:]

    def on_run_end(self) -> list[float]:
        return self.scores

    def run(self, model: Scores[B], source: Iterable[B], count: int = 1) -> list[float]:
        return super().run(model, source, count)


class Relating(Loop[..., Sequence[object]]):
    """An entry loop whose `run` is generic: it relates its inputs and its output anew at each call."""

    results: ClassVar[list[object]] = []

    @property
    def done(self) -> bool:
        return bool(self.results)

    def reset(self) -> None:
        self.results.clear()

    def advance(self, function: Callable[[object], object], source: Iterable[object]) -> None:
        self.results.extend(function(item) for item in source)

    def on_run_end(self) -> Sequence[object]:
        return self.results

    def run(self, function: Callable[[T], R], source: Iterable[T]) -> list[R]:
        return cast("list[R]", super().run(function, source))


class Scorer(nn.Module):
    def score(self, batch: Batch) -> float:
        return batch[0].sum().item()


by_constructor = Trainer(fit_loop=BestOf[Batch]())
assert_type(by_constructor, Trainer[BestOf[Batch], ValidationLoop, TestLoop, PredictionLoop])
assert_type(by_constructor.fit(Scorer(), data), list[float])
assert_type(by_constructor.fit(Scorer(), data, count=2), list[float])
assert_type(by_constructor.fit_loop, BestOf[Batch])
assert_type(by_constructor.predict(model, data), list[Tensor])

default = Trainer(max_epochs=1)
by_method = default.with_fit_loop(BestOf[Batch]())
assert_type(by_method, Trainer[BestOf[Batch], ValidationLoop, TestLoop, PredictionLoop])
assert_type(by_method.fit(Scorer(), data, 2), list[float])
assert_type(by_method.validate(model, data), EvaluationResult)
assert_type(default.fit(model, data), FitResult[Tensor])

scored = default.with_predict_loop(BestOf[Batch]()).with_test_loop(BestOf[Batch]()).with_validate_loop(BestOf[Batch]())
assert_type(scored, Trainer[FitLoop, BestOf[Batch], BestOf[Batch], BestOf[Batch]])
assert_type(scored.validate(Scorer(), data), list[float])
assert_type(scored.test(Scorer(), data), list[float])
assert_type(scored.predict(Scorer(), data, count=2), list[float])

everywhere = Trainer(
    fit_loop=FitLoop(max_epochs=1),
    validate_loop=BestOf[Batch](),
    test_loop=BestOf[Batch](),
    predict_loop=PredictionLoop(limit_batches=1),
)
assert_type(everywhere, Trainer[FitLoop, BestOf[Batch], BestOf[Batch], PredictionLoop])
assert_type(everywhere.test(Scorer(), data), list[float])

relating = Trainer(fit_loop=Relating())
assert_type(relating.fit(len, ["a", "b"]), list[int])


class Announcing(FitLoop):
    """A default loop with one method changed: of the same kind, so it may be assigned."""

    epochs = 0

    def on_advance_end(self) -> None:
        super().on_advance_end()
        self.epochs += 1
        assert_type(self.trainer.current_epoch, int)


trainer = Trainer()
trainer.fit_loop = Announcing(max_epochs=2)
assert_type(trainer.fit(model, data), FitResult[Tensor])
trainer.fit_loop = FitLoop(max_epochs=1)
trainer.validate_loop = ValidationLoop(limit_batches=1)
trainer.test_loop = TestLoop(limit_batches=0.5)
trainer.predict_loop = PredictionLoop(limit_batches=1)

announcing = Trainer(fit_loop=Announcing(max_epochs=2))
assert_type(announcing.fit(model, data), FitResult[Tensor])
assert_type(announcing.fit_loop.epochs, int)
assert announcing.fit_loop.epochs == 2


class Narrow(FitLoop):
    """A fit loop for one kind of module, whose `run` says so."""

    def run(self, model: Classifier, train_dataloaders: Iterable[Batch]) -> FitResult[Tensor]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().run(model, train_dataloaders)


assert_type(Trainer(fit_loop=Narrow(max_epochs=1)).fit(model, data), FitResult[Tensor])
