"""Typed, compiled, resumable training loops for PyTorch.

The layers, lowest first; a layer imports only from those above it in this list:

0. `errors`
1. `protocols`: what every place that takes something asks of it
2. `_core`: the compiled core, and its reference in plain Python
3. `checkpoint`: what is kept of a run, on the disk
4. `loops`: the loop contract and the default loops
5. `callbacks`, `data`
6. `trainer`, `recipes`
7. `testing`, `verification`, `demo`
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from typedloops._lazy import lazily

__version__ = "0.1.0"

if TYPE_CHECKING:
    from typedloops._core import COMPILED as COMPILED
    from typedloops._core import BatchProgress as BatchProgress
    from typedloops._core import DataLoaderProgress as DataLoaderProgress
    from typedloops._core import Processed as Processed
    from typedloops._core import Progress as Progress
    from typedloops._core import ReadyCompleted as ReadyCompleted
    from typedloops._core import SchedulerProgress as SchedulerProgress
    from typedloops._core import Started as Started
    from typedloops.callbacks import Callback as Callback
    from typedloops.callbacks import ModelCheckpoint as ModelCheckpoint
    from typedloops.callbacks import ModuleHooks as ModuleHooks
    from typedloops.data import BatchLoader as BatchLoader
    from typedloops.data import CombinedLoader as CombinedLoader
    from typedloops.data import ShardWriter as ShardWriter
    from typedloops.data import read_shards as read_shards
    from typedloops.loops.base import Loop as Loop
    from typedloops.loops.base import Slot as Slot
    from typedloops.loops.base import SlotList as SlotList
    from typedloops.loops.base import typed_connect as typed_connect
    from typedloops.loops.evaluation import EvaluationEpochLoop as EvaluationEpochLoop
    from typedloops.loops.evaluation import EvaluationLoop as EvaluationLoop
    from typedloops.loops.evaluation import EvaluationResult as EvaluationResult
    from typedloops.loops.evaluation import LoaderResult as LoaderResult
    from typedloops.loops.evaluation import TestLoop as TestLoop
    from typedloops.loops.evaluation import ValidationLoop as ValidationLoop
    from typedloops.loops.fit import AutomaticOptimization as AutomaticOptimization
    from typedloops.loops.fit import EpochResult as EpochResult
    from typedloops.loops.fit import FitLoop as FitLoop
    from typedloops.loops.fit import FitLoopOf as FitLoopOf
    from typedloops.loops.fit import FitResult as FitResult
    from typedloops.loops.fit import ManualModule as ManualModule
    from typedloops.loops.fit import ManualOptimization as ManualOptimization
    from typedloops.loops.fit import ManualOptimizer as ManualOptimizer
    from typedloops.loops.fit import OptimizationProgress as OptimizationProgress
    from typedloops.loops.fit import OptimizerLoop as OptimizerLoop
    from typedloops.loops.fit import OptimizerLoopOf as OptimizerLoopOf
    from typedloops.loops.fit import OptimizerProgress as OptimizerProgress
    from typedloops.loops.fit import StepLoop as StepLoop
    from typedloops.loops.fit import TrainingBatchLoop as TrainingBatchLoop
    from typedloops.loops.fit import TrainingEpochLoop as TrainingEpochLoop
    from typedloops.loops.fit.optimization.micro_batches import MicroBatchOptimization as MicroBatchOptimization
    from typedloops.loops.fit.paused import PausedFit as PausedFit
    from typedloops.loops.fit.stopping import StopReason as StopReason
    from typedloops.loops.prediction import PredictionEpochLoop as PredictionEpochLoop
    from typedloops.loops.prediction import PredictionLoop as PredictionLoop
    from typedloops.loops.prediction import WrittenPredictions as WrittenPredictions
    from typedloops.loops.run.computing.out_of_memory import shrinking as shrinking
    from typedloops.loops.run.computing.precision import Precision as Precision
    from typedloops.loops.run.computing.seeding import seed_everything as seed_everything
    from typedloops.loops.run.context import InRun as InRun
    from typedloops.loops.run.settings.durations import Duration as Duration
    from typedloops.loops.run.settings.durations import Unit as Unit
    from typedloops.protocols import HiddenOutput as HiddenOutput
    from typedloops.protocols import LoopProtocol as LoopProtocol
    from typedloops.protocols import PredictionWriter as PredictionWriter
    from typedloops.protocols import Stage as Stage
    from typedloops.protocols import TrainerView as TrainerView
    from typedloops.protocols import TrainingModule as TrainingModule
    from typedloops.trainer import Trainer as Trainer
    from typedloops.verification import ResumeDifference as ResumeDifference
    from typedloops.verification import ResumeReport as ResumeReport
    from typedloops.verification import verify_resume as verify_resume
else:
    # Imported when first asked for: a loop of one's own needs no torch.
    _HOMES = {
        "_core": (
            "COMPILED",
            "BatchProgress",
            "DataLoaderProgress",
            "Processed",
            "Progress",
            "ReadyCompleted",
            "SchedulerProgress",
            "Started",
        ),
        "callbacks": ("Callback", "ModelCheckpoint", "ModuleHooks"),
        "data": ("BatchLoader", "CombinedLoader", "ShardWriter", "read_shards"),
        "loops.base": ("Loop", "Slot", "SlotList", "typed_connect"),
        "loops.evaluation": (
            "EvaluationEpochLoop",
            "EvaluationLoop",
            "EvaluationResult",
            "LoaderResult",
            "TestLoop",
            "ValidationLoop",
        ),
        "loops.fit": (
            "AutomaticOptimization",
            "EpochResult",
            "FitLoop",
            "FitLoopOf",
            "FitResult",
            "ManualModule",
            "ManualOptimization",
            "ManualOptimizer",
            "OptimizationProgress",
            "OptimizerLoop",
            "OptimizerLoopOf",
            "OptimizerProgress",
            "StepLoop",
            "TrainingBatchLoop",
            "TrainingEpochLoop",
        ),
        "loops.prediction": ("PredictionEpochLoop", "PredictionLoop", "WrittenPredictions"),
        "loops.fit.optimization.micro_batches": ("MicroBatchOptimization",),
        "loops.fit.paused": ("PausedFit",),
        "loops.fit.stopping": ("StopReason",),
        "loops.run.settings.durations": ("Duration", "Unit"),
        "loops.run.computing.precision": ("Precision",),
        "loops.run.context": ("InRun",),
        "protocols": ("HiddenOutput", "LoopProtocol", "PredictionWriter", "Stage", "TrainerView", "TrainingModule"),
        "loops.run.computing.out_of_memory": ("shrinking",),
        "loops.run.computing.seeding": ("seed_everything",),
        "trainer": ("Trainer",),
        "verification": ("ResumeDifference", "ResumeReport", "verify_resume"),
    }
    __getattr__, __dir__, __all__ = lazily(__name__, _HOMES, also=("__version__",))
