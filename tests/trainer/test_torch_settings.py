"""Settings of torch hold for a run, and are afterwards what they were: after errors, and inside another run, too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import typedloops
from tests.modules import Batch, Classifier, batches
from typedloops.errors import ConfigurationError
from typedloops.loops.run.computing.torch_settings import CUBLAS_CONFIG

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer

Settings = tuple[str, bool, bool, bool, bool, str | None]


def settings() -> Settings:
    return (
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
        os.environ.get(CUBLAS_CONFIG),
    )


PLAIN: Settings = ("highest", False, False, False, False, None)
OTHERS: Settings = ("medium", True, True, True, True, ":16:8")


def put(values: Settings) -> None:
    torch.set_float32_matmul_precision(values[0])
    torch.use_deterministic_algorithms(values[1], warn_only=values[2])
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = values[3:5]
    os.environ.pop(CUBLAS_CONFIG, None)
    if values[5] is not None:
        os.environ[CUBLAS_CONFIG] = values[5]


@pytest.fixture(params=["plain", "others"])
def before(request: pytest.FixtureRequest) -> Iterator[Settings]:
    saved = settings()
    values = PLAIN if request.param == "plain" else OTHERS
    put(values)
    yield values
    put(saved)


class Looking(Classifier):
    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.fails = fails
        self.seen: list[Settings] = []

    def setup(self, stage: str) -> None:
        self.seen.append(settings())

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.seen.append(settings())
        if self.fails:
            raise KeyError
        return super().training_step(batch, batch_idx)


GIVEN: dict[str, tuple[dict[str, Any], dict[int, object]]] = {
    "nothing": ({}, {}),
    "products": ({"float32_matmul_precision": "high"}, {0: "high"}),
    "deterministic": ({"deterministic": True}, {1: True, 2: False, 3: True, 4: False}),
    "a warning": ({"deterministic": "warn"}, {1: True, 2: True, 3: True, 4: False}),
    "not deterministic": ({"deterministic": False}, {1: False, 2: False, 3: False}),
    "benchmark": ({"benchmark": True}, {4: True}),
    "no benchmark": ({"benchmark": False}, {4: False}),
    "both": ({"deterministic": True, "benchmark": True}, {1: True, 2: False, 3: True, 4: True}),
}


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("name", GIVEN)
def test_they_hold_for_a_run(before: Settings, name: str, fails: bool) -> None:
    given, changes = GIVEN[name]
    model = Looking(fails)
    if fails:
        with pytest.raises(KeyError):
            Trainer(max_epochs=1, **given).fit(model, batches(1))
    else:
        Trainer(max_epochs=1, **given).fit(model, batches(1))
    expected: list[object] = [*before]
    for place, value in changes.items():
        expected[place] = value
    if given.get("deterministic") and before[5] is None:
        expected[5] = ":4096:8"
    assert model.seen == [tuple(expected)] * 2
    assert settings() == before


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_inside_another_has_its_own(before: Settings, fails: bool) -> None:
    inner = Looking(fails)

    class Outer(Looking):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            if fails:
                with pytest.raises(KeyError):
                    Trainer(max_epochs=1, float32_matmul_precision="medium", deterministic=False).fit(inner, batches(1))
            else:
                Trainer(max_epochs=1, float32_matmul_precision="medium", deterministic=False).fit(inner, batches(1))
            return super().training_step(batch, batch_idx)

    outer = Outer()
    Trainer(max_epochs=1, float32_matmul_precision="high", deterministic="warn").fit(outer, batches(1))
    assert [seen[:4] for seen in outer.seen] == [("high", True, True, True)] * 2
    assert [seen[:4] for seen in inner.seen] == [("medium", False, False, False)] * 2
    assert settings() == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"float32_matmul_precision": "low"},
            (
                "float32_matmul_precision: 'low' is no precision of products. "
                "Give 'highest', 'high' or 'medium', or None to leave it."
            ),
        ),
        (
            {"deterministic": "yes"},
            "deterministic: 'yes' says not whether. Give True, 'warn' or False, or None to leave it.",
        ),
        ({"deterministic": 1}, "deterministic: 1 says not whether. Give True, 'warn' or False, or None to leave it."),
        ({"benchmark": 0}, "benchmark: 0 says not whether. Give True or False, or None to leave it."),
    ],
)
def test_what_cannot_be_set(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        Trainer(**given)
    assert str(told.value) == message
