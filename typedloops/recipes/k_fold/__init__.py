"""K-fold cross-validation: a loop above the fit."""

from typedloops.recipes.k_fold.default_loop import KFoldLoop as KFoldLoop
from typedloops.recipes.k_fold.ensemble import EnsembleModule as EnsembleModule
from typedloops.recipes.k_fold.folds import RandomFolds as RandomFolds
from typedloops.recipes.k_fold.folds import Splitter as Splitter
from typedloops.recipes.k_fold.loaders import BatchLoaders as BatchLoaders
from typedloops.recipes.k_fold.loaders import Part as Part
from typedloops.recipes.k_fold.loop import KFoldLoopOf as KFoldLoopOf
from typedloops.recipes.k_fold.result import FoldResult as FoldResult
from typedloops.recipes.k_fold.result import KFoldResult as KFoldResult
from typedloops.recipes.k_fold.result import Summary as Summary
