"""What is to be run, made anew for each run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from typing_extensions import TypeVar

from typedloops._core.calls import AnyCallable
from typedloops.errors import ConfigurationError
from typedloops.loops.run.sources import is_factory
from typedloops.trainer import Trainer
from typedloops.verification.recorder import AnyTrainer

T = TypeVar("T")


@dataclass(frozen=True)
class Prepared:
    """A run that has not begun.

    Args:
        trainer: Whose run it will be.
        run: Begins it, and returns what it gives.
        loaders: Its loaders by name, as far as they are known.
    """

    trainer: AnyTrainer
    run: Callable[[], object]
    loaders: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True)
class CopiedFit:
    """A fit of copies.

    Args:
        trainer: A trainer, or a function that makes one.
        module: What is fitted.
        loaders: The loaders by the parameter of `fit` that they are for, or functions that make them.
    """

    trainer: object
    module: object
    loaders: Mapping[str, object]

    def prepare(self) -> Prepared:
        """Copy all of it at once: what its parts share, the copies share.

        Raises:
            ConfigurationError: It cannot be copied.
        """
        trainer, module, loaders = _copied((self.trainer, self.module, dict(self.loaders)))
        made = _made_trainer(trainer)
        seen = {name: loader for name, loader in loaders.items() if loader is not None and not is_factory(loader)}

        # Whether they fit each other was looked at where they were given.
        fit = cast("AnyCallable", made.fit)
        return Prepared(made, lambda: fit(module, **loaders), seen)


@dataclass(frozen=True)
class MadeRun:
    """A run that a function makes.

    Args:
        trainer: A trainer, or a function that makes one.
        run: Makes module and loaders, and runs them with the trainer that it is given.
    """

    trainer: object
    run: Callable[[AnyTrainer], object]

    def prepare(self) -> Prepared:
        """Make or copy the trainer.

        Raises:
            ConfigurationError: It cannot be copied.
        """
        trainer = _made_trainer(_copied(self.trainer))
        return Prepared(trainer, lambda: self.run(trainer))


def _made_trainer(trainer: object) -> AnyTrainer:
    made = cast("Callable[[], object]", trainer)() if callable(trainer) else trainer
    if not isinstance(made, Trainer):
        raise ConfigurationError(
            "verify_resume: trainer",
            f"a {type(made).__name__} is no trainer",
            "Give a typedloops.Trainer, or a function that makes one.",
        )
    return cast("AnyTrainer", made)


def _copied(things: T) -> T:
    try:
        return copy.deepcopy(things)
    except Exception as error:
        raise ConfigurationError(
            "verify_resume",
            f"each run needs a copy of the trainer, the module and the loaders, and making one fails with "
            f"{type(error).__name__}: {error}",
            "Give functions: verify_resume(make_trainer, lambda trainer: trainer.fit(make_module(), make_loader())).",
        ) from error
