"""Errors that a user meets, each with what mypy says of its line, in the message or in the notes to it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Generic

from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from typing_extensions import Protocol, TypeVar

from tests.typing.good.models import Batch, Classifier, Points, batches
from typedloops import (
    BatchLoader,
    Callback,
    FitLoopOf,
    FitResult,
    Loop,
    LoopProtocol,
    Progress,
    ReadyCompleted,
    Slot,
    StepLoop,
    Trainer,
    TrainerView,
    TrainingBatchLoop,
    TrainingEpochLoop,
    TrainingModule,
)

B = TypeVar("B")
P = TypeVar("P")
B_contra = TypeVar("B_contra", contravariant=True)
data, model, trainer = batches(), Classifier(), Trainer(max_epochs=1)


class OnlyTrains(nn.Module):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return batch[0].sum()

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


class ReturnsFloat(OnlyTrains):
    def validation_step(self, batch: Batch, batch_idx: int) -> float:
        return 0.0


class TwoParameters(nn.Module):
    def predict_step(self, batch: Batch) -> Tensor:
        return batch[0]


class Countdown(Loop[[int], int]):
    left = 0

    @property
    def done(self) -> bool:
        return self.left == 0

    def advance(self, n: int) -> None:
        self.left -= 1

    def on_run_end(self) -> int:
        return self.left


class Scores(Loop[[Classifier, Iterable[Batch]], list[float]]):
    @property
    def done(self) -> bool:
        return True

    def advance(self, model: Classifier, source: Iterable[int]) -> None:  # E: override ~ type as "Iterable[tuple[
        pass

    def on_run_end(self) -> str:  # E: override ~ Return type "str" of "on_run_end"
        return ""


class NoDone(Loop[[Iterator[Batch]]]):
    def advance(self, source: Iterator[Batch]) -> None: ...


class Parent(Loop[[int]]):
    child: Slot[LoopProtocol[[int], int]] = Slot()
    spare: Slot[LoopProtocol[[int], int] | None] = Slot(required=False)

    @property
    def done(self) -> bool:
        return True

    def advance(self, n: int) -> None:
        self.spare.run(n)  # E: union-attr ~ Item "None" of "LoopProtocol[[int], int] | None" has no


class YieldingModule(Protocol[B_contra]):
    def training_step(self, batch: B_contra, batch_idx: int, /) -> Generator[Tensor, None, None]: ...


class YieldLoop(StepLoop[YieldingModule[B], B, float], Generic[B]):
    @property
    def done(self) -> bool:
        return True

    def advance(self, model: YieldingModule[B], batch: B, batch_idx: int) -> None: ...


class UnboundOutput(StepLoop[TrainingModule[B, P], B, P], Generic[B, P]):  # E: type-var ~ "P" of "TrainingModule" must
    pass


class InputsAsType(Loop[int, str]):  # E: valid-type ~ Can only replace ParamSpec with a parameter types list
    pass


def fit_loop_of(trainer: TrainerView) -> object:
    return trainer.fit_loop  # E: attr-defined ~ "TrainerView" has no attribute "fit_loop"


class DoneIsMethod(Loop[[int]]):
    def done(self) -> bool:  # E: override ~ Signature of "done" incompatible with supertype "Loop"
        return True

    def advance(self, n: int) -> None: ...


class OneField(Loop[[int]]):
    state_fields = "seen"  # E: assignment ~ base class "Loop" defined the type as "tuple[str, ...]"

    @property
    def done(self) -> bool:
        return True

    def advance(self, n: int) -> None: ...


class BatchOfNames(nn.Module):
    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return batch["x"].sum()

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


class Counts(Callback[Classifier]):
    def on_train_end(self) -> None: ...  # E: override ~ on_train_end(self, trainer: TrainerView, module: Classi


class Misspelt:
    def on_train_strat(self, trainer: TrainerView, module: nn.Module) -> None: ...


def collate(items: list[str]) -> Batch:
    raise NotImplementedError


# A wrong batch: mypy says what the module wants.
trainer.fit(model, [1, 2])  # E: list-item ~ List item 0 has incompatible type "int"; expected "tuple[Tensor, Tensor]"
trainer.validate(model, [1, 2])  # E: arg-type ~ has incompatible type "list[int]"; expected "Iterable[tuple[Tensor
trainer.predict(model, [1, 2])  # E: list-item ~ List item 0 has incompatible type "int"; expected "tuple[Tensor

# A module that does not fit: the Protocol is named.  What it lacks mypy does not say of an `nn.Module`, which may
# have any attribute for all that mypy knows.
trainer.fit(nn.Linear(4, 2), data)  # E: call-overload ~ model: TrainingModule[T, O]
trainer.fit(OnlyTrains(), data, data)  # E: call-overload ~ model: FitModule[T, V, O]
trainer.validate(OnlyTrains(), data)  # E: arg-type ~ "OnlyTrains"; expected "ValidationModule[
trainer.validate(ReturnsFloat(), data)  # E: arg-type ~ "ReturnsFloat"; expected "ValidationModule[
trainer.predict(TwoParameters(), data)  # E: call-overload ~ model: PredictModule[B, Q]

trainer.fit(BatchOfNames(), data)  # E: arg-type ~ expected "Iterable[dict[str, Tensor]] | Callable[[], Iterable[dict
trainer.fit(model)  # E: call-overload ~ No overload variant of "run" of "FitLoop" matches argument type "Classifier"

# What comes back.
result: FitResult[float] = trainer.fit(model, data)  # E: assignment ~ expression has type "FitResult[Tensor]"
print(trainer.fit(model, data).metric)  # E: attr-defined ~ has no attribute "metric"; maybe "metrics"?
best: float = Trainer(fit_loop=Scores()).fit(model, data)  # E: assignment ~ expression has type "list[float]"

# Misspelt names.
Trainer("3")  # E: call-arg ~ Too many positional arguments for "Trainer"
Trainer(callbacks=Counts())  # E: arg-type ~ has incompatible type "Counts"; expected "Sequence[SetupHook[
Trainer(max_epoch=1)  # E: call-arg ~ did you mean "max_epochs"?
trainer.fit(model, data, val_dataloader=data)  # E: call-overload ~ did you mean "val_dataloaders"
trainer.fit_loop.epoch_loop.batch_loop.connect(optimiser_loop=None)  # E: call-arg ~ did you mean "optimizer_loop"?
Trainer(callbacks=[Misspelt()])  # E: list-item ~ incompatible type "Misspelt"; expected "SetupHook[

# Loops.
Countdown().run("x")  # E: arg-type ~ to "run" of "Loop" has incompatible type "str"; expected "int"
Countdown().run()  # E: call-arg ~ Too few arguments for "run" of "Loop"
Trainer(fit_loop=Scores()).fit(model, [1, 2])  # E: list-item ~ expected "tuple[Tensor, Tensor]"
Trainer(fit_loop=Scores)  # E: arg-type ~ has incompatible type "type[Scores]"; expected "FitLoop | None"
trainer.fit_loop.epoch_loop = Countdown()  # E: assignment ~ variable has type "TrainingEpochLoop[
NoDone()  # E: abstract ~ Cannot instantiate abstract class "NoDone" with abstract attribute "done"
trainer.fit_loop = Scores()  # E: assignment ~ expression has type "Scores", variable has type "FitLoop"
Parent().child = YieldLoop[Batch]()  # E: assignment ~ variable has type "LoopProtocol[[int], int]"
yielding = Trainer(fit_loop=FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(YieldLoop[Batch]()))))
yielding.fit(model, data)  # E: arg-type ~ "Classifier"; expected "YieldingModule[tuple[Tensor, Tensor]]"
yielding.fit(model, data[:1])  # E: arg-type ~ training_step(self, tuple[Tensor, Tensor], int, /) -> Generator

# Data and counters.
BatchLoader(Points(), collate_fn=collate)  # E: arg-type ~ expected "Callable[[list[tuple[Tensor, int]]],
Progress(ReadyCompleted()).increment_started()  # E: misc ~ Invalid self argument "Progress[ReadyCompleted]"
