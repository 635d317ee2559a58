"""Examples that count as far as they help: held against the formulas of the paper, and killed on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import LBFGS, SGD, Adam, Optimizer
from torch.utils.data import TensorDataset

import typedloops
from tests.recipes.kills import killed_and_resumed
from typedloops import BatchLoader, CombinedLoader, FitLoopOf, TrainingBatchLoop, TrainingEpochLoop
from typedloops.errors import ConfigurationError, LoaderError, ModuleError, OptimizerError, StepOutputError
from typedloops.recipes.guided import GuidedLoop
from typedloops.testing import check_loop_contract

# Settings are taken from tables here, and some modules are wrong on purpose.
Trainer: Any = typedloops.Trainer
Batch = tuple[Tensor, Tensor]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))

    def training_losses(self, batch: Batch, batch_idx: int) -> Tensor:
        return cross_entropy(self.net(batch[0]), batch[1], reduction="none")

    def guiding_loss(self, batch: Batch, batch_idx: int) -> Tensor:
        return cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return SGD(self.parameters(), lr=0.1, momentum=0.9)


class Stateful(Net):
    """Draws random numbers and keeps running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 10))


class Unfused(GuidedLoop):
    def on_run_end(self) -> Any:
        return super().on_run_end()


def digits(count: int, wrong: float = 0.0, dtype: torch.dtype = torch.float32) -> TensorDataset:
    data = load_digits()
    generator = torch.Generator().manual_seed(count)
    index_B = torch.randperm(len(data.target), generator=generator)[:count]
    digit_B = torch.as_tensor(data.target)[index_B]
    next_B = (digit_B + 1) % 10
    wrong_B = torch.rand(count, generator=generator) < wrong
    image_BP = torch.as_tensor(data.data, dtype=dtype)[index_B] / 16
    return TensorDataset(image_BP, torch.where(wrong_B, next_B, digit_B), wrong_B)


def batches_of(dataset: TensorDataset, size: int) -> list[Batch]:
    image_BP, digit_B, _ = dataset.tensors
    return list(zip(image_BP.split(size), digit_B.split(size), strict=True))


def pairs(batches: int = 4, size: int = 20, wrong: float = 0.3, clean_size: int = 15) -> Any:
    noisy: Any = BatchLoader(digits(batches * size, wrong), batch_size=size, shuffle=True)
    clean: Any = BatchLoader(digits(2 * clean_size), batch_size=clean_size, shuffle=True)
    return CombinedLoader((noisy, clean), "max_size_cycle")


def guided(leaf: type[GuidedLoop] = GuidedLoop, max_epochs: int | None = None) -> Any:
    return FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(leaf())), max_epochs=max_epochs)


def fit(model: Any, data: Any, *, leaf: type[GuidedLoop] = GuidedLoop, **options: Any) -> Any:
    return Trainer(**{"max_epochs": 1, "fit_loop": guided(leaf), **options}).fit(model, data)


def by_the_paper(model: Net, batch: Batch, clean: Batch) -> Tensor:
    """The weights of algorithm 1: a step with weights of 0, whose gradient in them is that of the clean loss."""
    parameters = dict(model.named_parameters())
    weight_B = torch.zeros(len(batch[1]), dtype=batch[0].dtype, requires_grad=True)
    loss = (weight_B * model.training_losses(batch, 0)).sum()
    gradients = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
    ahead = {name: p - 0.1 * g for (name, p), g in zip(parameters.items(), gradients, strict=True)}
    logits = torch.func.functional_call(
        model.net, {name.removeprefix("net."): p for name, p in ahead.items()}, clean[0]
    )
    (slope_B,) = torch.autograd.grad(cross_entropy(logits, clean[1]), weight_B)
    helpful_B = (-slope_B).clamp_min(0)
    return helpful_B / (helpful_B.sum() if helpful_B.sum() > 0 else 1)


@settings(max_examples=10, deadline=None)
@given(size=st.integers(1, 12), clean_size=st.integers(1, 12), seed=st.integers(0, 100), window=st.integers(1, 2))
def test_a_fit_is_algorithm_1_of_the_paper(size: int, clean_size: int, seed: int, window: int) -> None:
    torch.manual_seed(seed)
    ours, theirs = Net().double(), Net().double()
    theirs.load_state_dict(ours.state_dict())
    noisy, clean = digits(4 * size, 0.5, torch.float64), digits(4 * clean_size, dtype=torch.float64)
    data = list(zip(batches_of(noisy, size), batches_of(clean, clean_size), strict=True))
    result = fit(ours, data, accumulate_grad_batches=window, gradient_clip_val=0.5)
    optimizer = theirs.configure_optimizers()
    weight_B = torch.empty(0)
    for batch_idx, (batch, clean_batch) in enumerate(data):
        weight_B = by_the_paper(theirs, batch, clean_batch)
        if batch_idx % window == 0:
            optimizer.zero_grad()
        ((weight_B * theirs.training_losses(batch, 0)).sum() / window).backward()
        if batch_idx % window == window - 1:
            nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
            optimizer.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(result.last_output["weights"], weight_B, rtol=1e-5, atol=1e-7)
    assert result.optimizer_steps == 4 // window


def test_wrong_labels_count_less_than_they_are() -> None:
    class Wide(Net):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))

        def configure_optimizers(self) -> Any:
            return SGD(self.parameters(), lr=0.1)

    torch.manual_seed(0)
    shares: list[tuple[float, float]] = []
    data = pairs(12, 100, wrong=0.4, clean_size=60)
    result = fit(Wide(), data, max_epochs=20, callbacks=[Counting(shares)])
    assert len(shares) == 240
    assert sum(weight for weight, _ in shares) < 0.75 * sum(share for _, share in shares)
    assert {"train_loss", "guiding_loss"} <= result.metrics.keys()
    assert result.last_output.keys() == {"loss", "guiding_loss", "weights"}


class Counting:
    """What wrong labels have of the weights, and how many there are, for each batch."""

    def __init__(self, shares: list[tuple[float, float]]) -> None:
        self.shares = shares

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        wrong_B = batch[0][2]
        self.shares.append((float(outputs["weights"][wrong_B].sum()), float(wrong_B.float().mean())))


@pytest.mark.parametrize("leaf", [GuidedLoop, Unfused])
def test_weights_are_a_distribution(leaf: type[GuidedLoop]) -> None:
    weight_B = fit(Stateful(), pairs(), leaf=leaf).last_output["weights"]
    assert weight_B.shape == (20,)
    assert float(weight_B.min()) >= 0
    assert float(weight_B.sum()) == pytest.approx(1)


def test_where_no_example_helps_none_counts() -> None:
    class Opposed(Net):
        def guiding_loss(self, batch: Batch, batch_idx: int) -> Tensor:
            return -self.training_losses(batch, batch_idx).mean()

        def configure_optimizers(self) -> Any:
            return SGD(self.parameters(), lr=0.1)

    model = Opposed()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    (image_BP, digit_B, _) = digits(1).tensors
    result = fit(model, [((image_BP, digit_B), (image_BP, digit_B))])
    assert result.last_output["weights"].tolist() == [0.0]
    assert float(result.last_output["loss"]) == 0.0
    assert all(map(torch.equal, before.values(), model.state_dict().values()))


def test_running_statistics_see_the_step_alone() -> None:
    model = Stateful()
    fit(model, pairs(4), max_epochs=2)
    assert int(model.state_dict()["net.1.num_batches_tracked"]) == 8


def test_what_is_frozen_is_not_looked_at() -> None:
    model = Net()
    model.net[0].requires_grad_(False)
    before = model.state_dict()["net.0.weight"].clone()
    fit(model, pairs())
    assert torch.equal(before, model.state_dict()["net.0.weight"])


OPTIONS: dict[str, dict[str, Any]] = {
    "bf16-mixed": {"precision": "bf16-mixed"},
    "16-mixed": {"precision": "16-mixed"},
    "64-true": {"precision": "64-true"},
    "watched": {"detect_nonfinite": "modules"},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_the_settings_of_a_run_hold_for_it(name: str) -> None:
    torch.manual_seed(0)
    first = fit(Net(), pairs()).metrics["guiding_loss"]
    torch.manual_seed(0)
    assert fit(Net(), pairs(), **OPTIONS[name]).metrics["guiding_loss"] == pytest.approx(first, rel=0.05)


def test_hooks_are_those_of_a_step() -> None:
    heard: list[str] = []

    class Listening(Net):
        def on_before_zero_grad(self, optimizer: Optimizer) -> None:
            heard.append("zero_grad")

        def on_before_backward(self, loss: Tensor) -> None:
            heard.append("backward")

        def on_after_backward(self) -> None:
            heard.append("after")

        def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
            heard.append("step")

    fit(Listening(), pairs(2))
    assert heard == ["zero_grad", "backward", "after", "step"] * 2


@pytest.mark.parametrize("window", [1, 2])
@pytest.mark.parametrize("killed_after", [1, 3, 4, 7])
def test_it_goes_on_with_the_same_bits(killed_after: int, window: int, tmp_path: Path) -> None:
    def make_trainer(callbacks: Any = ()) -> Any:
        return Trainer(max_epochs=2, fit_loop=guided(), accumulate_grad_batches=window, callbacks=callbacks)

    def run(trainer: Any) -> Any:
        model = Stateful()
        result = trainer.fit(model, pairs())
        return model.state_dict(), result.metrics, result.optimizer_steps

    torch.manual_seed(0)
    whole = run(make_trainer())
    resumed = killed_and_resumed(make_trainer, run, tmp_path / "saved", killed_after)
    assert all(map(torch.equal, whole[0].values(), resumed[0].values()))
    assert whole[1:] == resumed[1:]


def test_it_runs_without_a_trainer() -> None:
    assert guided(max_epochs=2).run(Net(), pairs()).optimizer_steps == 8


def test_it_keeps_the_contract() -> None:
    batch = digits(4).tensors[:2]
    check_loop_contract(lambda: guided(max_epochs=1), Net(), [(batch, batch)])


def with_optimizers(configure: Callable[[Net], Any]) -> Net:
    class Case(Net):
        def configure_optimizers(self) -> Any:
            return configure(self)

    return Case()


class Shapeless(Net):
    def training_losses(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.guiding_loss(batch, batch_idx)


class NoModule:
    def __init__(self) -> None:
        self.net = Net()
        self.training_losses = self.net.training_losses
        self.guiding_loss = self.net.guiding_loss
        self.configure_optimizers = self.net.configure_optimizers


def by_itself() -> Net:
    model = Net()
    model.automatic_optimization = False  # type: ignore[assignment]
    return model


def in_pieces() -> Net:
    model = Net()
    model.truncated_bptt_steps = 2  # type: ignore[assignment]
    return model


ONE = "Return one optimizer, other than LBFGS."
ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "several optimizers": (
        lambda: with_optimizers(lambda model: [SGD(model.net[0].parameters()), Adam(model.net[2].parameters())]),
        OptimizerError,
        (
            f"Case.configure_optimizers: its optimizers are SGD, Adam, and GuidedLoop weights the loss of a batch for "
            f"one step of one. {ONE}"
        ),
    ),
    "LBFGS": (
        lambda: with_optimizers(lambda model: LBFGS(model.parameters())),
        OptimizerError,
        (
            f"Case.configure_optimizers: its optimizers are LBFGS, and GuidedLoop weights the loss of a batch for "
            f"one step of one. {ONE}"
        ),
    ),
    "a parameter of its own": (
        lambda: with_optimizers(lambda model: SGD([*model.parameters(), torch.zeros(1, requires_grad=True)])),
        OptimizerError,
        (
            "SGD: it has a parameter that is none of Case, and GuidedLoop looks ahead of its step. "
            "Register it in the module."
        ),
    ),
    "no torch module": (
        NoModule,
        ModuleError,
        (
            "NoModule: it is no torch.nn.Module, and GuidedLoop calls it with other parameters than its own. "
            "Derive it from torch.nn.Module."
        ),
    ),
    "a mean": (
        Shapeless,
        StepOutputError,
        (
            "Shapeless.training_losses: its losses have shape (). "
            "Return one for each example, of shape (examples,): reduction='none'."
        ),
    ),
    "manual optimization": (
        by_itself,
        ModuleError,
        (
            "Net.automatic_optimization: it is False, and GuidedLoop steps the optimizers. "
            "Leave it out, or connect ManualOptimization."
        ),
    ),
    "pieces along time": (
        in_pieces,
        ConfigurationError,
        "truncated_bptt_steps: GuidedLoop weights whole examples. Leave truncated_bptt_steps out.",
    ),
    "a plain module": (
        nn.Module,
        ModuleError,
        (
            "Module.configure_optimizers: there is no such method, and FitLoopOf needs a ConfiguresOptimizers. "
            "Define `def configure_optimizers(self)`."
        ),
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_be_guided(name: str) -> None:
    make, kind, message = ERRORS[name]
    with pytest.raises(kind) as caught:
        fit(make(), pairs())
    assert str(caught.value) == message


def test_a_module_without_a_guiding_loss_is_refused_before_anything_runs() -> None:
    class Unguided(nn.Linear):
        training_losses = Net.training_losses

        def configure_optimizers(self) -> Any:
            raise AssertionError("nothing runs before it is looked at")

    with pytest.raises(ModuleError, match=r"^Unguided\.guiding_loss: there is no such method, and GuidedLoop needs"):
        fit(Unguided(1, 1), pairs())


def test_a_batch_that_is_no_pair() -> None:
    with pytest.raises(LoaderError) as caught:
        fit(Net(), [torch.zeros(3, 64)])
    assert str(caught.value) == (
        "train dataloader: its batch 0 is a Tensor, and no pair of a training batch and a clean one. "
        'Give CombinedLoader((train, clean), "max_size_cycle").'
    )
