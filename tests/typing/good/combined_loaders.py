"""Several loaders as one: its batches have the types of theirs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_type

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from tests.typing.good.models import Batch, Classifier, Points, batches, loader
from typedloops import BatchLoader, CombinedLoader, EvaluationResult, FitResult, Trainer
from typedloops.protocols import MadeOfLoaders

trainer = Trainer(max_epochs=1)
labelled = loader()
unlabelled: list[Tensor] = [torch.randn(2, 4), torch.randn(2, 4)]
lengths: list[int] = [3, 4]
collated = BatchLoader(Points(), collate_fn=len, batch_size=2)

two = CombinedLoader((labelled, unlabelled))
assert_type(two, CombinedLoader[tuple[Batch, Tensor]])
assert_type(CombinedLoader((labelled, unlabelled, lengths)), CombinedLoader[tuple[Batch, Tensor, int]])
four = CombinedLoader((labelled, unlabelled, collated, labelled), "max_size_cycle")
assert_type(four, CombinedLoader[tuple[Batch, Tensor, int, Batch]])
assert_type(CombinedLoader((lengths,) * 5), CombinedLoader[tuple[int, ...]])
assert_type(CombinedLoader([lengths, [5, 6]]), CombinedLoader[list[int]])
assert_type(CombinedLoader({"a": lengths, "b": [5, 6]}), CombinedLoader[dict[str, int]])
assert_type(next(iter(two)), tuple[Batch, Tensor])
assert_type(len(two), int)

padded = CombinedLoader((labelled, unlabelled), "max_size")
assert_type(padded, CombinedLoader[tuple[Batch | None, Tensor | None]])
assert_type(
    CombinedLoader((labelled, unlabelled, lengths), "max_size"),
    CombinedLoader[tuple[Batch | None, Tensor | None, int | None]],
)
assert_type(CombinedLoader([lengths, lengths], mode="max_size"), CombinedLoader[list[int | None]])
assert_type(CombinedLoader({"a": lengths}, "max_size"), CombinedLoader[dict[str, int | None]])

in_turn = CombinedLoader((labelled, unlabelled), "sequential")
assert_type(in_turn, CombinedLoader[Batch | Tensor])
assert_type(CombinedLoader((labelled, unlabelled, lengths), "sequential"), CombinedLoader[Batch | Tensor | int])
assert_type(CombinedLoader([labelled, loader()], "sequential"), CombinedLoader[Batch])
assert_type(CombinedLoader({"a": collated, "b": collated}, "sequential"), CombinedLoader[int])
assert_type(next(iter(in_turn.indexed())), tuple[int, Batch | Tensor])
nested = CombinedLoader((two, lengths))
assert_type(nested, CombinedLoader[tuple[tuple[Batch, Tensor], int]])
wider: CombinedLoader[object] = two
made_of: MadeOfLoaders = two


class Consistent(nn.Module):
    """Trains on a labelled and an unlabelled batch at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def training_step(self, batch: tuple[Batch, Tensor], batch_idx: int) -> Tensor:
        (points, labels), others = batch
        logits: Tensor = self.net(points)
        unsure: Tensor = self.net(others)
        return nn.functional.cross_entropy(logits, labels) + unsure.square().mean()

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


assert_type(trainer.fit(Consistent(), two), FitResult[Tensor])
assert_type(trainer.fit(Classifier(), CombinedLoader([labelled, loader()], "sequential")), FitResult[Tensor])
assert_type(trainer.validate(Classifier(), CombinedLoader([batches(), batches()], "sequential")), EvaluationResult)


def of_many(sources: list[Iterable[Batch]]) -> FitResult[Tensor]:
    return trainer.fit(Classifier(), CombinedLoader(sources, "sequential"))


assert of_many([labelled, batches()]).batches == 4
