from typing_extensions import TypeVar, disjoint_base

from typedloops._core.moving import Movable

_B = TypeVar("_B")

@disjoint_base
class BatchTransfer:
    """Moves the tensors in a batch; called with the batch.

    It goes through lists, tuples, named tuples, mappings and dataclasses, nested in any way, and
    calls `to(device)` of anything else that has it.  A container in which something was moved is a
    new one of the same class; one in which nothing was is itself.

    Args:
        tensor_type: What a tensor is.
        device: Where to; None leaves everything where it is.
        dtype: What to make of floating-point tensors; None leaves them as they are.
        non_blocking: Whether the host goes on while tensors are copied.
    """

    def __init__(
        self, tensor_type: type[Movable], device: object, dtype: object = None, *, non_blocking: bool = False
    ) -> None: ...
    def __call__(self, batch: _B) -> _B: ...
