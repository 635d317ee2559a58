# pyright: reportUnknownMemberType=false
"""Combinations of loaders that do not fit what is said of them or done with them."""

from __future__ import annotations

from torch import Tensor

from tests.typing.good.combined_loaders import Consistent
from tests.typing.good.models import Batch, Classifier, loader
from typedloops import CombinedLoader, Trainer

numbers: list[int] = [1, 2]
trainer = Trainer()
pair = CombinedLoader((loader(), numbers))
trainer.fit(Consistent(), pair)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(Classifier(), pair)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(Classifier(), CombinedLoader([loader(), loader()]))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(Consistent(), CombinedLoader((loader(), [Tensor()]), "max_size"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
CombinedLoader(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
CombinedLoader((loader(), 5))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
CombinedLoader((loader(), numbers), "longest")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
said: CombinedLoader[tuple[Batch, str]] = CombinedLoader((loader(), numbers))  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
first: str = next(iter(pair))[1]  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
size: int = next(iter(CombinedLoader((loader(), numbers), "max_size")))[1]  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
