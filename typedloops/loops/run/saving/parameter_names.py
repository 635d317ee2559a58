"""Which parameters an optimizer has: their states go by their order, and nothing else tells that it is another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.optim import Optimizer

from typedloops._core.shapes import is_list_or_tuple
from typedloops.errors import OptimizerError


def names_of_parameters(optimizer: Optimizer, module: object) -> list[list[str]]:
    """The names of the parameters of each group.

    Those that the module gives them; otherwise those that the optimizer was given with them, or none.
    """
    names = (
        {id(parameter): name for name, parameter in module.named_parameters()} if isinstance(module, nn.Module) else {}
    )
    return [
        [
            names.get(id(parameter), own)
            for parameter, own in zip(cast("list[Tensor]", group["params"]), _own_names(group), strict=True)
        ]
        for group in optimizer.param_groups
    ]


def _own_names(group: dict[str, object]) -> Sequence[str]:
    names = group.get("param_names")
    return cast("list[str]", names) if is_list_or_tuple(names) else [""] * len(cast("list[Tensor]", group["params"]))


def check_names(optimizer: Optimizer, module: object, saved: object) -> None:
    """Compare what `names_of_parameters` gave with what it gives now, as far as it is known.

    Raises:
        OptimizerError: There is another parameter in the place of one.
    """
    groups: Sequence[object] = saved if is_list_or_tuple(saved) else ()
    # That there are as many is checked by torch.
    for index, (now, then) in enumerate(zip(names_of_parameters(optimizer, module), groups, strict=False)):
        for number, (name, before) in enumerate(zip(now, cast("list[str]", then), strict=False)):
            if name and before and name != before:
                raise OptimizerError(
                    "configure_optimizers",
                    f"parameter {number} in group {index} of the {type(optimizer).__name__} that it made is {name!r}, "
                    f"and was {before!r} when its state was saved",
                    "Give it the same parameters in the same order, or start anew.",
                )
