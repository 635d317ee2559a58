"""The default successive halving: of trainings by a `FitLoop`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeAlias, cast, overload

from typing_extensions import Never, TypeVar

from typedloops.loops.fit.default_fit import AnyModule, FitLoop
from typedloops.protocols.anything import Anything
from typedloops.protocols.data import LoaderSource, LoadersSource
from typedloops.protocols.hooks import CallbackProtocol
from typedloops.protocols.module import (
    FitModule,
    SeveralOptimizersFitModule,
    SeveralOptimizersModule,
    StepOutput,
    TrainingModule,
    TruncatedFitModule,
    TruncatedModule,
)
from typedloops.recipes.successive_halving.loop import SuccessiveHalvingLoopOf
from typedloops.recipes.successive_halving.result import SuccessiveHalvingResult

C = TypeVar("C")

Trains: TypeAlias = (
    TrainingModule[Never, StepOutput] | SeveralOptimizersModule[Never, StepOutput] | TruncatedModule[Never, Never]
)
Validates: TypeAlias = (
    FitModule[Never, Never, StepOutput]
    | SeveralOptimizersFitModule[Never, Never, StepOutput]
    | TruncatedFitModule[Never, Never, Never]
)
T = TypeVar("T", bound=Trains)
V = TypeVar("V", bound=Validates)


class SuccessiveHalvingLoop(SuccessiveHalvingLoopOf[AnyModule, Anything, Anything]):
    """Successive halving of trainings by the default fit; see `SuccessiveHalvingLoopOf`, which has the arguments.

    ```
    Trainer(fit_loop=SuccessiveHalvingLoop("val_loss")).fit(make_module, configurations, train, val)
    ```
    """

    def __init__(
        self,
        monitor: str,
        *,
        mode: Literal["min", "max"] = "min",
        eta: int = 3,
        min_epochs: int = 1,
        max_epochs: int | None = None,
        seed: int = 0,
        on_error: Literal["raise", "worst"] = "raise",
        make_callbacks: Callable[[int], Iterable[CallbackProtocol]] | None = None,
        fit_loop: FitLoop | None = None,
    ) -> None:
        super().__init__(
            FitLoop() if fit_loop is None else fit_loop,
            monitor,
            mode=mode,
            eta=eta,
            min_epochs=min_epochs,
            max_epochs=max_epochs,
            seed=seed,
            on_error=on_error,
            make_callbacks=make_callbacks,
        )

    # With loaders to validate on, the module must also validate: the base has no way to say that.
    @overload  # type: ignore[override]
    def run(
        self,
        make_module: Callable[[C], T],
        configurations: Sequence[C],
        train_dataloaders: LoaderSource[object],
        val_dataloaders: None = None,
    ) -> SuccessiveHalvingResult[C, T]: ...
    @overload
    def run(
        self,
        make_module: Callable[[C], V],
        configurations: Sequence[C],
        train_dataloaders: LoaderSource[object],
        val_dataloaders: LoadersSource[object],
    ) -> SuccessiveHalvingResult[C, V]: ...
    def run(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        make_module: Callable[[C], object],
        configurations: Sequence[C],
        train_dataloaders: LoaderSource[object],
        val_dataloaders: LoadersSource[object] | None = None,
    ) -> SuccessiveHalvingResult[C, object]:
        make = cast("Callable[[C], AnyModule]", make_module)
        return super().run(make, configurations, train_dataloaders, val_dataloaders)
