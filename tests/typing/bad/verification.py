# pyright: reportUnknownMemberType=false
"""Verifying that runs go on exactly: what does not fit each other."""

from __future__ import annotations

from tests.typing.good.models import Classifier, batches
from typedloops import Trainer, verify_resume

trainer, numbers = Trainer(max_epochs=1), [1, 2]


def takes_a_number(trainer: int) -> None: ...


verify_resume(trainer)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
verify_resume(trainer, Classifier(), numbers)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
verify_resume(trainer, Classifier(), batches(), numbers)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
verify_resume(trainer, takes_a_number)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
verify_resume(3, lambda trainer: None)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
verify_resume(trainer, Classifier(), batches(), at="many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
