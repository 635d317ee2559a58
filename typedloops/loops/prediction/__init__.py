"""Predicting: loaders, and the batches of one loader."""

from typedloops.loops.prediction.epoch_loop import PredictionEpochLoop as PredictionEpochLoop
from typedloops.loops.prediction.prediction_loop import PredictionLoop as PredictionLoop
from typedloops.loops.prediction.writing import WrittenPredictions as WrittenPredictions
