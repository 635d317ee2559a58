"""The contracts: every place of the library that takes something says by its shape what it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typedloops._lazy import lazily

if TYPE_CHECKING:
    from typedloops.protocols.checkpoint import CheckpointFormat as CheckpointFormat
    from typedloops.protocols.data import Loaders as Loaders
    from typedloops.protocols.data import LoaderSource as LoaderSource
    from typedloops.protocols.data import LoadersSource as LoadersSource
    from typedloops.protocols.data import MadeOfLoaders as MadeOfLoaders
    from typedloops.protocols.data import SizedLoader as SizedLoader
    from typedloops.protocols.hooks import CallbackProtocol as CallbackProtocol
    from typedloops.protocols.logger import Logger as Logger
    from typedloops.protocols.loop import LoopProtocol as LoopProtocol
    from typedloops.protocols.module import ConfiguresOptimizers as ConfiguresOptimizers
    from typedloops.protocols.module import FitModule as FitModule
    from typedloops.protocols.module import HiddenOutput as HiddenOutput
    from typedloops.protocols.module import OptimizerConfig as OptimizerConfig
    from typedloops.protocols.module import PredictModule as PredictModule
    from typedloops.protocols.module import Scheduler as Scheduler
    from typedloops.protocols.module import SchedulerConfig as SchedulerConfig
    from typedloops.protocols.module import SeveralOptimizersFitModule as SeveralOptimizersFitModule
    from typedloops.protocols.module import SeveralOptimizersModule as SeveralOptimizersModule
    from typedloops.protocols.module import StepOutput as StepOutput
    from typedloops.protocols.module import TestModule as TestModule
    from typedloops.protocols.module import TrainingModule as TrainingModule
    from typedloops.protocols.module import TruncatedFitModule as TruncatedFitModule
    from typedloops.protocols.module import TruncatedModule as TruncatedModule
    from typedloops.protocols.module import ValidationModule as ValidationModule
    from typedloops.protocols.state import Stateful as Stateful
    from typedloops.protocols.trainer import ClipAlgorithm as ClipAlgorithm
    from typedloops.protocols.trainer import Reduction as Reduction
    from typedloops.protocols.trainer import Stage as Stage
    from typedloops.protocols.trainer import TrainerView as TrainerView
    from typedloops.protocols.writer import PredictionWriter as PredictionWriter
else:
    # Imported when first asked for: there are many, and a run looks at few.
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "checkpoint": ("CheckpointFormat",),
            "data": (
                "Loaders",
                "LoaderSource",
                "LoadersSource",
                "MadeOfLoaders",
                "SizedLoader",
            ),
            "hooks": ("CallbackProtocol",),
            "logger": ("Logger",),
            "loop": ("LoopProtocol",),
            "module": (
                "ConfiguresOptimizers",
                "FitModule",
                "HiddenOutput",
                "OptimizerConfig",
                "PredictModule",
                "Scheduler",
                "SchedulerConfig",
                "SeveralOptimizersFitModule",
                "SeveralOptimizersModule",
                "StepOutput",
                "TestModule",
                "TrainingModule",
                "TruncatedFitModule",
                "TruncatedModule",
                "ValidationModule",
            ),
            "state": ("Stateful",),
            "trainer": (
                "ClipAlgorithm",
                "Reduction",
                "Stage",
                "TrainerView",
            ),
            "writer": ("PredictionWriter",),
        },
    )
