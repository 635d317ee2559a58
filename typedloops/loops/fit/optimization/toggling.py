"""Parameters that do not learn while another optimizer is at work."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import cast

from torch import Tensor
from torch.optim import Optimizer


@contextmanager
def toggled(optimizer: Optimizer, optimizers: Iterable[Optimizer]) -> Generator[None]:
    """For a while, what belongs only to others of `optimizers` requires no gradient; afterwards as before.

    A parameter that `optimizer` shares with another, and one that was frozen, are left as they are.
    """
    own = set(map(id, parameters_of(optimizer)))
    others = [parameter for other in optimizers if other is not optimizer for parameter in parameters_of(other)]
    turned_off = [parameter for parameter in others if parameter.requires_grad and id(parameter) not in own]
    try:
        for parameter in turned_off:
            parameter.requires_grad = False
        yield
    finally:
        for parameter in turned_off:
            parameter.requires_grad = True


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """What an optimizer changes."""
    return [parameter for group in optimizer.param_groups for parameter in cast("list[Tensor]", group["params"])]


def sharing(optimizers: Sequence[Optimizer]) -> tuple[int, int] | None:
    """Two of the optimizers that share a parameter, by their indices; None when no two do."""
    owner: dict[int, int] = {}
    for index, optimizer in enumerate(optimizers):
        for parameter in parameters_of(optimizer):
            if (first := owner.setdefault(id(parameter), index)) != index:
                return first, index
    return None
