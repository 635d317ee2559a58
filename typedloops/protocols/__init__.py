"""The contracts: every place of the library that takes something says by its shape what it takes."""

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
from typedloops.protocols.module import OptimizerConfig as OptimizerConfig
from typedloops.protocols.module import PredictModule as PredictModule
from typedloops.protocols.module import Scheduler as Scheduler
from typedloops.protocols.module import SchedulerConfig as SchedulerConfig
from typedloops.protocols.module import SeveralOptimizersFitModule as SeveralOptimizersFitModule
from typedloops.protocols.module import SeveralOptimizersModule as SeveralOptimizersModule
from typedloops.protocols.module import StepOutput as StepOutput
from typedloops.protocols.module import TestModule as TestModule
from typedloops.protocols.module import TrainingModule as TrainingModule
from typedloops.protocols.module import ValidationModule as ValidationModule
from typedloops.protocols.state import Stateful as Stateful
from typedloops.protocols.trainer import ClipAlgorithm as ClipAlgorithm
from typedloops.protocols.trainer import Reduction as Reduction
from typedloops.protocols.trainer import Stage as Stage
from typedloops.protocols.trainer import TrainerView as TrainerView
from typedloops.protocols.writer import PredictionWriter as PredictionWriter
