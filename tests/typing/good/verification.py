"""Verifying that runs go on exactly: with modules and loaders, and with functions that run any entry loop."""

from __future__ import annotations

from typing import assert_type

from tests.typing.good.models import Classifier, batches
from typedloops import ResumeReport, Trainer, verify_resume


def make() -> Trainer:
    return Trainer(max_epochs=1)


def run(trainer: Trainer) -> int:
    return trainer.fit(Classifier(), batches()).epochs


assert_type(verify_resume(Trainer(max_epochs=1), Classifier(), batches(), at=1), ResumeReport)
assert_type(verify_resume(make, Classifier(), batches, batches(), at=[0, 2], seed=1), ResumeReport)
assert_type(verify_resume(make, run, at=1), ResumeReport)
assert_type(verify_resume(Trainer(max_epochs=1), lambda trainer: run(trainer), at=1), ResumeReport)
