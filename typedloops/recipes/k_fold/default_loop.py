"""The default cross-validation: with a `FitLoop`, which relates modules and items anew at each call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TypeAlias, cast, overload

from typing_extensions import TypeVar

from typedloops.loops.fit.default_fit import FitLoop
from typedloops.protocols.anything import Anything
from typedloops.protocols.hooks import CallbackProtocol
from typedloops.protocols.module import FitModule, SeveralOptimizersFitModule, StepOutput
from typedloops.recipes.k_fold.best_weights import Mode
from typedloops.recipes.k_fold.folds import Labels, Splitter
from typedloops.recipes.k_fold.loaders import BatchLoaders, Items, MakesLoaders
from typedloops.recipes.k_fold.loop import Keep, KFoldLoopOf, OneFit
from typedloops.recipes.k_fold.result import KFoldResult

T = TypeVar("T")
X = TypeVar("X")
Y = TypeVar("Y")
O = TypeVar("O", bound=StepOutput)

AnyFitModule: TypeAlias = FitModule[Anything, Anything, Anything]


class KFoldLoop(KFoldLoopOf[AnyFitModule, Anything, Anything, Anything]):
    """Cross-validates a module with the default fit; see `KFoldLoopOf` for the order of things.

    ```
    trainer = Trainer(max_epochs=20, fit_loop=KFoldLoop(RandomFolds(5, stratified=True)))
    result = trainer.fit(lambda fold: Classifier(), items, labels=labels)
    print(result)
    ensemble = EnsembleModule(result.modules(lambda fold: Classifier()))
    ```

    Args:
        folds: How many, or what makes them: `RandomFolds`, or a splitter of scikit-learn.
        fit_loop: Fits the module of a fold; by default a `FitLoop`.

    The other arguments are those of `KFoldLoopOf`.
    """

    def __init__(
        self,
        folds: int | Splitter = 5,
        *,
        only: Collection[int] | None = None,
        seed: int = 0,
        keep: Keep = "last",
        monitor: str = "val_loss",
        mode: Mode = "min",
        make_callbacks: Callable[[int], Iterable[CallbackProtocol]] | None = None,
        out_of_fold: bool = False,
        fit_loop: OneFit[AnyFitModule, Anything, Anything, Anything] | None = None,
    ) -> None:
        super().__init__(
            FitLoop() if fit_loop is None else fit_loop,
            folds,
            only=only,
            seed=seed,
            keep=keep,
            monitor=monitor,
            mode=mode,
            make_callbacks=make_callbacks,
            out_of_fold=out_of_fold,
        )

    # The loaders may be left to the default, whose batches are of the items' type: the base has no way to say that.
    @overload
    def run(
        self,
        make_module: Callable[[int], FitModule[T, T, O] | SeveralOptimizersFitModule[T, T, O]],
        data: Items[T],
        make_loaders: None = None,
        labels: Labels | None = None,
        groups: Labels | None = None,
    ) -> KFoldResult[O]: ...
    @overload
    def run(
        self,
        make_module: Callable[[int], FitModule[X, Y, O] | SeveralOptimizersFitModule[X, Y, O]],
        data: Items[T],
        make_loaders: MakesLoaders[T, X, Y],
        labels: Labels | None = None,
        groups: Labels | None = None,
    ) -> KFoldResult[O]: ...
    def run(
        self,
        make_module: Callable[[int], AnyFitModule | SeveralOptimizersFitModule[Anything, Anything, Anything]],
        data: Items[Anything],
        make_loaders: MakesLoaders[Anything, Anything, Anything] | None = None,
        labels: Labels | None = None,
        groups: Labels | None = None,
    ) -> KFoldResult[Anything]:
        """Cross-validate; see `KFoldLoopOf.run`.  Loaders are by default those of `BatchLoaders()`."""
        makes = cast("Callable[[int], AnyFitModule]", make_module)
        return super().run(makes, data, BatchLoaders() if make_loaders is None else make_loaders, labels, groups)
