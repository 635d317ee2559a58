"""Active learning: train, score the pool, ask for labels, grow, again."""

from typedloops.recipes.active_learning.acquisition import Acquisition as Acquisition
from typedloops.recipes.active_learning.acquisition import entropy_sampling as entropy_sampling
from typedloops.recipes.active_learning.acquisition import least_confidence_sampling as least_confidence_sampling
from typedloops.recipes.active_learning.acquisition import margin_sampling as margin_sampling
from typedloops.recipes.active_learning.acquisition import random_sampling as random_sampling
from typedloops.recipes.active_learning.label_pool import KnownLabels as KnownLabels
from typedloops.recipes.active_learning.label_pool import LabelPool as LabelPool
from typedloops.recipes.active_learning.label_pool import Oracle as Oracle
from typedloops.recipes.active_learning.label_pool import TensorPool as TensorPool
from typedloops.recipes.active_learning.loop import ActiveLearningLoop as ActiveLearningLoop
from typedloops.recipes.active_learning.modules import LearningModule as LearningModule
from typedloops.recipes.active_learning.modules import ValidatedLearningModule as ValidatedLearningModule
from typedloops.recipes.active_learning.result import ActiveLearningResult as ActiveLearningResult
from typedloops.recipes.active_learning.result import LearningRound as LearningRound
