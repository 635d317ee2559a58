"""What active learning asks of a module."""

from __future__ import annotations

from typing_extensions import Protocol, TypeVar

from typedloops.protocols.module import FitModule, PredictModule, StepOutput, TrainingModule

B_contra = TypeVar("B_contra", contravariant=True)
U_contra = TypeVar("U_contra", contravariant=True)
V_contra = TypeVar("V_contra", contravariant=True)
Q_co = TypeVar("Q_co", covariant=True)


class LearningModule(TrainingModule[B_contra, StepOutput], PredictModule[U_contra, Q_co], Protocol):
    """A module that trains on batches with labels and predicts for batches without."""


class ValidatedLearningModule(
    FitModule[B_contra, V_contra, StepOutput],
    PredictModule[U_contra, Q_co],
    Protocol[B_contra, V_contra, U_contra, Q_co],
):
    """The same with loaders to validate on."""
