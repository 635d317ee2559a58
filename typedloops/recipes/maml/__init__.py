"""Meta-learning by gradient descent: MAML and its relatives."""

from typedloops.recipes.maml.evaluation import AdaptationEpochLoop as AdaptationEpochLoop
from typedloops.recipes.maml.evaluation import AdaptationTestLoop as AdaptationTestLoop
from typedloops.recipes.maml.evaluation import AdaptationValidationLoop as AdaptationValidationLoop
from typedloops.recipes.maml.optimization import AdaptationLoop as AdaptationLoop
from typedloops.recipes.maml.optimization import MetaOptimization as MetaOptimization
from typedloops.recipes.maml.optimization import MetaSGDLoop as MetaSGDLoop
from typedloops.recipes.maml.optimization import learning_rates as learning_rates
from typedloops.recipes.maml.tasks import InnerLoop as InnerLoop
from typedloops.recipes.maml.tasks import Tasks as Tasks
from typedloops.recipes.maml.tasks import TaskSteps as TaskSteps
from typedloops.recipes.maml.tasks import Weights as Weights
