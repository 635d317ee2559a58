"""What a loop of one's own may require of a module, by a Protocol."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import Protocol, runtime_checkable

from tests.modules import Batch, Classifier
from typedloops import TrainingModule
from typedloops.errors import ModuleError
from typedloops.loops.run.requirements import check_module


@runtime_checkable
class Searchable(TrainingModule[Batch, Tensor], Protocol):
    """Has parameters, which `nn.Module` gives by a generator function."""

    def parameters(self) -> Iterator[nn.Parameter]: ...


@runtime_checkable
class Adversarial(Protocol):
    """Has networks, and a number that is worked out."""

    generator: nn.Module

    @property
    def rate(self) -> float: ...


class Nets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Linear(1, 1)

    @property
    def rate(self) -> float:
        return 0.1


def test_a_method_that_gives_an_iterator_may_be_a_generator_function_or_not() -> None:
    class Listed(Classifier):
        def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
            return iter(list(super().parameters(recurse)))

    check_module(Classifier(), Searchable, "Search")
    check_module(Listed(), Searchable, "Search")


def test_attributes_and_properties_are_looked_for() -> None:
    check_module(Nets(), Adversarial, "Duel")
    without = Nets()
    del without.generator
    with pytest.raises(ModuleError) as caught:
        check_module(without, Adversarial, "Duel")
    assert str(caught.value) == (
        "Nets.generator: there is no such attribute, and Duel needs a Adversarial. Set it in `__init__`."
    )


def test_a_step_that_is_to_return_a_loss_is_no_generator_function() -> None:
    class Yields(Classifier):
        def training_step(self, batch: Batch, batch_idx: int):  # type: ignore[no-untyped-def]
            yield torch.zeros(())

    with pytest.raises(ModuleError, match=r"Yields\.training_step: it is a generator function, and Search needs"):
        check_module(Yields(), Searchable, "Search")
