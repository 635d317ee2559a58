"""A module's methods as functions of its parameters, for gradients through a step that is not taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, cast

from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer
from typing_extensions import ParamSpec, TypeVar

from typedloops.errors import ModuleError, OptimizerError
from typedloops.loops.run.unwrapped import unwrapped

P = ParamSpec("P")
R = TypeVar("R")
Parameters = dict[str, Tensor]


class Functional:
    """A module as a function of those of its parameters that an optimizer changes.

    A parameter that is frozen when this is made stays a part of the module.  What methods do to buffers
    while they are called so (running statistics) is forgotten.

    Args:
        module: A `torch.nn.Module`.
        optimizer: Whose parameters.
        needed_by: What needs it, for an error.

    Raises:
        ModuleError: It is no such module.
        OptimizerError: A parameter of the optimizer is none of the module.
    """

    def __init__(self, module: object, optimizer: Optimizer, needed_by: str) -> None:
        inner = unwrapped(module)
        if not isinstance(inner, nn.Module):
            raise ModuleError(
                type(inner).__name__,
                f"it is no torch.nn.Module, and {needed_by} calls it with other parameters than its own",
                "Derive it from torch.nn.Module.",
            )
        self._module: nn.Module = inner
        names = {id(parameter): name for name, parameter in inner.named_parameters()}
        self._learning: dict[str, tuple[Tensor, dict[str, object]]] = {}
        for group in optimizer.param_groups:
            for parameter in cast("list[Tensor]", group["params"]):
                if id(parameter) not in names:
                    raise OptimizerError(
                        type(optimizer).__name__,
                        f"it has a parameter that is none of {type(inner).__name__}, and {needed_by} looks ahead of "
                        "its step",
                        "Register it in the module.",
                    )
                if parameter.requires_grad:
                    self._learning[names[id(parameter)]] = parameter, group

    def parameters(self) -> Parameters:
        """Their present values by their names, which share memory with the parameters."""
        return {name: parameter.detach() for name, (parameter, _) in self._learning.items()}

    def rates(self) -> dict[str, float]:
        """The present learning rate of each, by its name."""
        return {name: float(cast("float", group["lr"])) for name, (_, group) in self._learning.items()}

    def __call__(
        self, parameters: Mapping[str, Tensor], method: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """What a method of the module gives with these parameters in place of its own."""
        buffers = {name: buffer.clone() for name, buffer in self._module.named_buffers()}
        replaced = {f"module.{name}": value for name, value in {**buffers, **parameters}.items()}
        called: object = functional_call(_Calling(self._module, method), replaced, args, kwargs)
        return cast("R", called)


class _Calling(nn.Module, Generic[P, R]):
    """Calls a method of a module: torch replaces parameters only while a module is called."""

    def __init__(self, module: nn.Module, method: Callable[P, R]) -> None:
        super().__init__()
        self.module = module
        self.method = method

    def forward(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.method(*args, **kwargs)
