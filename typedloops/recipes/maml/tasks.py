"""Tasks, and a module's step on each of several with weights of its own, by `torch.func`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_leaves, tree_map
from typing_extensions import TypeVar

from typedloops._core.calls import AnyCallable
from typedloops._core.escape import call, name_of
from typedloops.errors import ConfigurationError, LoaderError, ModuleError, StepOutputError, add_note
from typedloops.loops.fit.optimization.loss import REMEDY, LossFinder
from typedloops.loops.run.computing.modes import submodules
from typedloops.loops.run.metrics import scalars_of
from typedloops.loops.run.unwrapped import unwrapped
from typedloops.protocols.loop import LoopProtocol

B = TypeVar("B", default=object)
T = TypeVar("T")

Weights: TypeAlias = Mapping[str, Tensor]
"""The parameters of a module by name, each with the tasks along its first axis."""


class Tasks(NamedTuple, Generic[B]):
    """A batch of tasks: what they are adapted to, and what the adapted weights are judged by.

    Args:
        support: A set of samples as the module's step takes it; in this batch all its tensors have the
            tasks along a further, first axis.
        query: Other samples of the same tasks.
    """

    support: B
    query: B


class TaskSteps(Generic[B]):
    """A step of a module, taken on each of several tasks with weights of its own.

    Random numbers (dropout) are drawn for each task anew.  What a step leaves in buffers is forgotten with the task.

    Args:
        module: Whose step it is.
        step: Takes a set of one task, without the axis of the tasks, and the index of the batch.
        batch_idx: That index.
        loss: What an output that is a bare scalar is called.
        vectorized: Whether all tasks are computed at once, under `torch.func.vmap`; otherwise one after the other.
    """

    def __init__(
        self,
        module: nn.Module,
        step: Callable[[B, int], object],
        batch_idx: int,
        *,
        loss: str = "loss",
        vectorized: bool = True,
    ) -> None:
        self._where = name_of(step)
        self._call = _Step(module, step)
        self._module = module
        self._losses = LossFinder(step)
        self._loss_name = loss
        self._batch_idx = batch_idx
        self._vectorized = vectorized

    def scalars(self, weights: Weights, sets: B) -> dict[str, Tensor]:
        """What the step gives for each task by its own weights: its scalars by name, each of shape (tasks,)."""
        return self._of_each(self._scalars, weights, sets)

    def losses(self, weights: Weights, sets: B) -> dict[str, Tensor]:
        """The same of a training step, among them its `loss`.

        Raises:
            StepOutputError: It has none.
        """
        return self._of_each(self._scalars_with_loss, weights, sets)

    def gradients(self, weights: Weights, sets: B, of: Collection[str]) -> dict[str, Tensor]:
        """The gradient of each task's loss at its own weights.

        Under `torch.no_grad` it has no graph, and is a number as any other to whoever differentiates on.

        Args:
            weights: Where it is taken.
            sets: One of each task.
            of: The names of the weights that it is asked of.
        """
        # By torch's own autograd, since the loss of a task depends on no other's weights: what `torch.func.grad` gives
        # under `vmap` is differentiated wrongly where a normalization has weights (LayerNorm; torch 2.13).
        second_order = torch.is_grad_enabled()
        with torch.enable_grad():
            held = {name: _held(weight, name in of, attached=second_order) for name, weight in weights.items()}
            chosen = {name: held[name] for name in of}
            total = self.losses(held, sets)["loss"].sum()
            try:
                found = torch.autograd.grad(
                    total, list(chosen.values()), create_graph=second_order, materialize_grads=True
                )
            except RuntimeError as error:
                self._losses.explain(total, error)
                raise
        return dict(zip(chosen, found, strict=True))

    def _scalars(self, weights: Weights, task_set: B) -> dict[str, Tensor]:
        output = self._output(weights, task_set)
        named = scalars_of(output, self._loss_name)
        return {name: torch.as_tensor(value).reshape(()) for name, value in named.items()}

    def _scalars_with_loss(self, weights: Weights, task_set: B) -> dict[str, Tensor]:
        output = self._output(weights, task_set)
        if output is None:
            raise StepOutputError(self._where, "it returned None for a task", "Return a loss for each task.")
        loss = self._losses.find(output)
        if loss.numel() != 1:
            raise StepOutputError(self._where, f"its loss has shape {tuple(loss.shape)}", "Reduce it: loss.mean().")
        if not loss.is_floating_point():
            raise StepOutputError(self._where, f"its loss is of {loss.dtype}", REMEDY)
        named = {**scalars_of(output, "loss"), "loss": loss}
        return {name: torch.as_tensor(value).reshape(()) for name, value in named.items()}

    def _output(self, weights: Weights, task_set: B) -> object:
        # Copies, so that no task sees what another leaves in a buffer.
        buffers = {name: buffer.clone() for name, buffer in self._module.named_buffers()}
        named = {f"{PREFIX}{name}": value for name, value in {**buffers, **weights}.items()}
        return cast("object", functional_call(self._call, named, (task_set, self._batch_idx)))

    def _of_each(self, function: AnyCallable[dict[str, Tensor]], *args: object) -> dict[str, Tensor]:
        """What `function` gives for each task, whose arguments are the slices of `args` along their first axes."""
        with self._explained():
            if self._vectorized:
                return vmap(function, randomness="different")(*args)
            results = [function(*task_of(args, index)) for index in range(count_tasks(args))]
            return {name: torch.stack([result[name] for result in results]) for name in results[0]}

    @contextmanager
    def _explained(self) -> Generator[None]:
        """Say in the words of the module what `torch.func` cannot do with its step."""
        try:
            yield
        except RuntimeError as error:
            if not self._vectorized:
                raise
            told = str(error).partition("\n")[0]
            if "vmap" in told or "Batching rule" in told:
                raise ModuleError(
                    self._where,
                    f"it cannot be computed for all tasks at once ({told})",
                    "Take one task after the other, `vectorized=False`, or let it do without.",
                ) from error
            # A buffer that is changed in place, say, which has another shape than what belongs to all tasks.
            add_note(error, f"{self._where} ran for all tasks at once, under torch.func.vmap; try `vectorized=False`.")
            raise


def _held(weight: Tensor, asked: bool, *, attached: bool) -> Tensor:
    """A weight that a gradient can be asked of, if it is; with the graph that it comes from, or without."""
    if attached and (weight.requires_grad or not asked):
        return weight
    return weight.detach().requires_grad_(asked)


PREFIX = "module."


class _Step(nn.Module):
    """Calls a step as `forward`, so that `functional_call` can give its module other weights for the time."""

    def __init__(self, module: nn.Module, step: AnyCallable) -> None:
        super().__init__()
        self.module = module
        self._step = step

    def forward(self, task_set: object, batch_idx: int) -> object:
        return call(self._step, task_set, batch_idx)


InnerLoop: TypeAlias = LoopProtocol[[TaskSteps[B], Weights, B, int], Weights]
"""What adapts: given the steps of tasks, where their weights begin, their support sets and how often to step."""


def weights_for(module: nn.Module, tasks: Tasks[B]) -> Weights:
    """The parameters of a module that are not frozen, as they are, for each of the tasks; no memory is taken.

    Raises:
        LoaderError: The batch has no tasks.
    """
    count = count_tasks(tasks)
    named = ((name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad)
    return {name: parameter.expand(count, *parameter.shape) for name, parameter in named}


def as_tasks(batch: Tasks[B]) -> Tasks[B]:
    """A batch with its names, which a loader may have taken off.

    Raises:
        LoaderError: It has other parts.
    """
    parts: object = batch
    if not isinstance(parts, (tuple, list)) or len(cast("list[object]", parts)) != 2:
        raise LoaderError("a batch of tasks", f"it is a {type(parts).__name__}", "Give `Tasks(support, query)`.")
    return Tasks(*batch)


def count_tasks(tasks: object) -> int:
    """How many tasks there are along the first axes of all tensors.

    Raises:
        LoaderError: They differ, or something else is among them.
    """
    leaves = cast("list[object]", tree_leaves(tasks))
    odd = next((leaf for leaf in leaves if not isinstance(leaf, Tensor) or not leaf.ndim), None)
    if odd is not None:
        raise LoaderError(
            "a batch of tasks",
            f"there is a {type(odd).__name__} without tasks in it",
            "Give tensors that have the tasks along their first axis.",
        )
    sizes = sorted({len(leaf) for leaf in leaves if isinstance(leaf, Tensor)})
    if len(sizes) != 1 or not sizes[0]:
        raise LoaderError(
            "a batch of tasks",
            f"its tensors have {' and '.join(map(str, sizes)) or 'no'} tasks along their first axes",
            "Stack the sets of as many tasks in each, one task or more.",
        )
    return sizes[0]


def task_of(tasks: T, index: int) -> T:
    """One of the tasks."""

    def slice_of(leaf: Tensor) -> Tensor:
        return leaf[index]

    return cast("T", tree_map(slice_of, tasks))


def module_of(model: object, needed_by: str) -> nn.Module:
    """The `nn.Module` whose weights are adapted.

    Raises:
        ModuleError: There is none, or it keeps running statistics, which belong to no task.
    """
    module = unwrapped(model)
    if not isinstance(module, nn.Module):
        raise ModuleError(
            type(module).__name__, f"it is no nn.Module, and {needed_by} adapts parameters", "Make it one."
        )
    for name, part in submodules(module):
        if part.training and getattr(part, "running_mean", None) is not None:
            raise ModuleError(
                f"{type(module).__name__}.{name}",
                f"this {type(part).__name__} keeps running statistics, which would mix those of all tasks",
                "Give it `track_running_stats=False`, so that each set is normalized by its own; call "
                f"`torch.func.replace_all_batch_norm_modules_`; or freeze it, `{name}.eval()`.",
            )
    return module


def means(scalars: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The mean over the tasks of each scalar; one that is no floating-point number has one all the same."""
    return {
        name: values.mean() if values.is_floating_point() else values.double().mean()
        for name, values in scalars.items()
    }


def check_steps(where: str, steps: object, *, least: int = 1) -> None:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < least:
        raise ConfigurationError(where, f"{steps!r} is no number of steps", f"Give {least} or more.")
