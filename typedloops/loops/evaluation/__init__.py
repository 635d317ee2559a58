"""Evaluating: loaders, and the batches of one loader."""

from typedloops.loops.evaluation.epoch_loop import EvaluationEpochLoop as EvaluationEpochLoop
from typedloops.loops.evaluation.evaluation_loop import EvaluationLoop as EvaluationLoop
from typedloops.loops.evaluation.evaluation_loop import TestLoop as TestLoop
from typedloops.loops.evaluation.evaluation_loop import ValidationLoop as ValidationLoop
from typedloops.loops.evaluation.result import EvaluationResult as EvaluationResult
from typedloops.loops.evaluation.result import LoaderResult as LoaderResult
