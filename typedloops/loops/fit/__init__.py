"""Fitting: epochs, the batches of an epoch, the optimization of a batch."""

from typedloops.loops.fit.batch_loop import TrainingBatchLoop as TrainingBatchLoop
from typedloops.loops.fit.default_fit import FitLoop as FitLoop
from typedloops.loops.fit.epoch_loop import EpochResult as EpochResult
from typedloops.loops.fit.epoch_loop import TrainingEpochLoop as TrainingEpochLoop
from typedloops.loops.fit.fit_loop import FitLoopOf as FitLoopOf
from typedloops.loops.fit.optimization.automatic import AutomaticOptimization as AutomaticOptimization
from typedloops.loops.fit.optimization.manual_loop import ManualOptimization as ManualOptimization
from typedloops.loops.fit.optimization.manual_module import ManualModule as ManualModule
from typedloops.loops.fit.optimization.manual_optimizer import ManualOptimizer as ManualOptimizer
from typedloops.loops.fit.optimization.optimizer_loop import OptimizerLoop as OptimizerLoop
from typedloops.loops.fit.optimization.optimizer_loop import OptimizerLoopOf as OptimizerLoopOf
from typedloops.loops.fit.optimization.progress import OptimizationProgress as OptimizationProgress
from typedloops.loops.fit.optimization.progress import OptimizerProgress as OptimizerProgress
from typedloops.loops.fit.result import FitResult as FitResult
from typedloops.loops.fit.step_loop import StepLoop as StepLoop
