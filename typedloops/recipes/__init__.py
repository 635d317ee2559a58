"""Loops for kinds of training that are not plain supervised epochs: each to use, or to read and change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typedloops._lazy import lazily

if TYPE_CHECKING:
    from typedloops.recipes.active_learning import Acquisition as Acquisition
    from typedloops.recipes.active_learning import ActiveLearningLoop as ActiveLearningLoop
    from typedloops.recipes.active_learning import ActiveLearningResult as ActiveLearningResult
    from typedloops.recipes.active_learning import KnownLabels as KnownLabels
    from typedloops.recipes.active_learning import LabelPool as LabelPool
    from typedloops.recipes.active_learning import LearningModule as LearningModule
    from typedloops.recipes.active_learning import LearningRound as LearningRound
    from typedloops.recipes.active_learning import Oracle as Oracle
    from typedloops.recipes.active_learning import TensorPool as TensorPool
    from typedloops.recipes.active_learning import ValidatedLearningModule as ValidatedLearningModule
    from typedloops.recipes.active_learning import entropy_sampling as entropy_sampling
    from typedloops.recipes.active_learning import least_confidence_sampling as least_confidence_sampling
    from typedloops.recipes.active_learning import margin_sampling as margin_sampling
    from typedloops.recipes.active_learning import random_sampling as random_sampling
    from typedloops.recipes.bilevel import BilevelLoop as BilevelLoop
    from typedloops.recipes.bilevel import BilevelModule as BilevelModule
    from typedloops.recipes.curriculum import CurriculumLoop as CurriculumLoop
    from typedloops.recipes.curriculum import CurriculumStage as CurriculumStage
    from typedloops.recipes.curriculum import MetricPlateau as MetricPlateau
    from typedloops.recipes.curriculum import MetricReached as MetricReached
    from typedloops.recipes.curriculum import StageResult as StageResult
    from typedloops.recipes.curriculum import StageRule as StageRule
    from typedloops.recipes.guided import GuidedLoop as GuidedLoop
    from typedloops.recipes.guided import GuidedModule as GuidedModule
    from typedloops.recipes.guided import GuidedOutput as GuidedOutput
    from typedloops.recipes.k_fold import BatchLoaders as BatchLoaders
    from typedloops.recipes.k_fold import EnsembleModule as EnsembleModule
    from typedloops.recipes.k_fold import FoldResult as FoldResult
    from typedloops.recipes.k_fold import KFoldLoop as KFoldLoop
    from typedloops.recipes.k_fold import KFoldLoopOf as KFoldLoopOf
    from typedloops.recipes.k_fold import KFoldResult as KFoldResult
    from typedloops.recipes.k_fold import Part as Part
    from typedloops.recipes.k_fold import RandomFolds as RandomFolds
    from typedloops.recipes.k_fold import Splitter as Splitter
    from typedloops.recipes.k_fold import Summary as Summary
    from typedloops.recipes.maml import AdaptationEpochLoop as AdaptationEpochLoop
    from typedloops.recipes.maml import AdaptationLoop as AdaptationLoop
    from typedloops.recipes.maml import AdaptationTestLoop as AdaptationTestLoop
    from typedloops.recipes.maml import AdaptationValidationLoop as AdaptationValidationLoop
    from typedloops.recipes.maml import InnerLoop as InnerLoop
    from typedloops.recipes.maml import MetaOptimization as MetaOptimization
    from typedloops.recipes.maml import MetaSGDLoop as MetaSGDLoop
    from typedloops.recipes.maml import Tasks as Tasks
    from typedloops.recipes.maml import TaskSteps as TaskSteps
    from typedloops.recipes.maml import Weights as Weights
    from typedloops.recipes.maml import learning_rates as learning_rates
    from typedloops.recipes.online import ActorCritic as ActorCritic
    from typedloops.recipes.online import CollectLoop as CollectLoop
    from typedloops.recipes.online import Environment as Environment
    from typedloops.recipes.online import MinibatchLoop as MinibatchLoop
    from typedloops.recipes.online import OnlineLoop as OnlineLoop
    from typedloops.recipes.online import Policy as Policy
    from typedloops.recipes.online import PolicyGradientLoop as PolicyGradientLoop
    from typedloops.recipes.online import PolicySamples as PolicySamples
    from typedloops.recipes.online import Rollout as Rollout
    from typedloops.recipes.online import Transitions as Transitions
    from typedloops.recipes.online import VectorEnvironment as VectorEnvironment
    from typedloops.recipes.online import clipped_surrogate as clipped_surrogate
    from typedloops.recipes.online import episode_returns as episode_returns
    from typedloops.recipes.online import generalized_advantages as generalized_advantages
    from typedloops.recipes.successive_halving import Candidate as Candidate
    from typedloops.recipes.successive_halving import Rung as Rung
    from typedloops.recipes.successive_halving import SuccessiveHalvingLoop as SuccessiveHalvingLoop
    from typedloops.recipes.successive_halving import SuccessiveHalvingLoopOf as SuccessiveHalvingLoopOf
    from typedloops.recipes.successive_halving import SuccessiveHalvingResult as SuccessiveHalvingResult
    from typedloops.recipes.successive_halving import rungs as rungs
    from typedloops.recipes.yielding import YieldingModule as YieldingModule
    from typedloops.recipes.yielding import YieldLoop as YieldLoop
else:
    # Imported when first asked for: a recipe knows nothing of the others.
    _HOMES = {
        "active_learning": (
            "Acquisition",
            "ActiveLearningLoop",
            "ActiveLearningResult",
            "KnownLabels",
            "LabelPool",
            "LearningModule",
            "LearningRound",
            "Oracle",
            "TensorPool",
            "ValidatedLearningModule",
            "entropy_sampling",
            "least_confidence_sampling",
            "margin_sampling",
            "random_sampling",
        ),
        "bilevel": (
            "BilevelLoop",
            "BilevelModule",
        ),
        "curriculum": (
            "CurriculumLoop",
            "CurriculumStage",
            "MetricPlateau",
            "MetricReached",
            "StageResult",
            "StageRule",
        ),
        "guided": (
            "GuidedLoop",
            "GuidedModule",
            "GuidedOutput",
        ),
        "k_fold": (
            "BatchLoaders",
            "EnsembleModule",
            "FoldResult",
            "KFoldLoop",
            "KFoldLoopOf",
            "KFoldResult",
            "Part",
            "RandomFolds",
            "Splitter",
            "Summary",
        ),
        "maml": (
            "AdaptationEpochLoop",
            "AdaptationLoop",
            "AdaptationTestLoop",
            "AdaptationValidationLoop",
            "InnerLoop",
            "MetaOptimization",
            "MetaSGDLoop",
            "TaskSteps",
            "Tasks",
            "Weights",
            "learning_rates",
        ),
        "online": (
            "ActorCritic",
            "CollectLoop",
            "Environment",
            "MinibatchLoop",
            "OnlineLoop",
            "Policy",
            "PolicyGradientLoop",
            "PolicySamples",
            "Rollout",
            "Transitions",
            "VectorEnvironment",
            "clipped_surrogate",
            "episode_returns",
            "generalized_advantages",
        ),
        "successive_halving": (
            "Candidate",
            "Rung",
            "SuccessiveHalvingLoop",
            "SuccessiveHalvingLoopOf",
            "SuccessiveHalvingResult",
            "rungs",
        ),
        "yielding": (
            "YieldLoop",
            "YieldingModule",
        ),
    }
    __getattr__, __dir__, __all__ = lazily(__name__, _HOMES)
