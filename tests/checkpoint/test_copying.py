"""Copies stay as they are, whatever becomes of what they were made from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.optim import AdamW

from tests.checkpoint.contents import same, states
from typedloops.checkpoint import FolderFormat, Staging, copied
from typedloops.errors import CheckpointError


def memories(value: object) -> set[int]:
    """Where the tensors of a content are."""
    if isinstance(value, Tensor):
        return {value.untyped_storage().data_ptr()} if value.numel() else set()
    if isinstance(value, dict):
        value = list(value.values())
    return set().union(*map(memories, value)) if isinstance(value, (list, tuple)) else set()


@given(state=states)
@settings(max_examples=150, deadline=None)
def test_a_copy_is_the_same_in_other_memory(state: object) -> None:
    copy = copied({"part": state})
    assert same(copy, {"part": state})
    assert not memories(copy) & memories(state)


def test_training_goes_on_and_the_copy_does_not() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    optimizer = AdamW(model.parameters())
    content = {"module": model.state_dict(), "optimizers": [optimizer.state_dict()]}
    model(torch.randn(3, 4)).sum().backward()
    optimizer.step()
    content["optimizers"] = [optimizer.state_dict()]
    copy, before = copied(content), str(content)
    model(torch.randn(3, 4)).sum().backward()
    optimizer.step()
    assert str(copy).replace("OrderedDict(", "") != str(content).replace("OrderedDict(", "")
    assert before.count("tensor") == str(copy).count("tensor")
    assert not memories(copy) & memories(content)


def test_one_tensor_under_two_names_stays_one() -> None:
    weight = torch.randn(3, 4, requires_grad=True)
    copy = copied({"module": {"a": weight, "tied": weight.data, "turned": weight.t(), "lazy": weight.detach()[1]}})
    module = copy["module"]
    assert isinstance(module, dict)
    assert module["a"] is module["tied"]
    assert len(memories(copy)) == 3
    assert not module["a"].requires_grad
    assert same(module["turned"], weight.detach().t())


def test_lists_are_copied() -> None:
    inner: list[object] = [1]
    copy = copied({"part": {"inner": inner, "pair": (inner,)}})
    inner.append(2)
    assert copy == {"part": {"inner": [1], "pair": ([1],)}}


def test_memory_is_used_again_once_it_is_released() -> None:
    staging = Staging()
    content = {"module": {"a": torch.randn(100), "b": torch.randn(50, 2), "c": torch.ones(7, dtype=torch.int8)}}
    first = staging.copied(content)
    second = staging.copied(content)
    assert not memories(first.content) & memories(second.content)
    kept = memories(first.content)
    first.release()
    content["module"]["a"] += 1
    third = staging.copied(content)
    assert memories(third.content) == kept
    assert same(third.content, content)
    first.release()
    assert not memories(staging.copied(content).content) & (kept | memories(second.content))


def test_other_types_of_the_same_size_use_it_too() -> None:
    staging = Staging()
    first = staging.copied({"a": torch.randn(8)})
    kept = memories(first.content)
    first.release()
    second = staging.copied({"a": torch.ones(4, dtype=torch.float64)})
    assert memories(second.content) == kept
    assert same(second.content, {"a": torch.ones(4, dtype=torch.float64)})


def test_what_cannot_be_saved_is_left_for_the_format_to_refuse(tmp_path: Path) -> None:
    endless: list[object] = []
    endless.append(endless)
    for value, message in (
        (endless, "nested deeper"),
        (torch.empty(2, device="meta"), "meta device"),
        (torch.eye(2).to_sparse(), "sparse_coo"),
        (nn.Linear(1, 1), "an object of type Linear cannot be saved"),
    ):
        with pytest.raises(CheckpointError, match=message):
            FolderFormat().save(tmp_path / "a.ckpt", copied({"part": value}))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_from_a_device() -> None:
    staging = Staging()
    content = {"module": {str(i): torch.randn(1000, 100, device="cuda") for i in range(10)}}
    for _ in range(3):
        for tensor in content["module"].values():
            tensor += 1
        staged = staging.copied(content)
        copy = staged.content["module"]
        assert isinstance(copy, dict)
        assert all(tensor.is_pinned() for tensor in copy.values())
        assert same(copy, content["module"])
        staged.release()
