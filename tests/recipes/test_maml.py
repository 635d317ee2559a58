"""Meta-learning: gradients against those by hand, the hooks of the outer loop, evaluation, going on, messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import Dataset, TensorDataset

from tests.recipes.kills import Killed, killed_and_resumed
from typedloops import (
    BatchLoader,
    Callback,
    FitLoopOf,
    Loop,
    Trainer,
    TrainerView,
    TrainingBatchLoop,
    TrainingEpochLoop,
)
from typedloops.errors import ConfigurationError, LoaderError, ModuleError, OptimizerError, StepOutputError
from typedloops.recipes.maml import (
    AdaptationLoop,
    AdaptationTestLoop,
    AdaptationValidationLoop,
    MetaOptimization,
    MetaSGDLoop,
    Tasks,
    TaskSteps,
    Weights,
    learning_rates,
)
from typedloops.testing import check_loop_contract

Batch = tuple[Tensor, Tensor]


class Regressor(nn.Module):
    def __init__(self, *middle: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), *middle)
        self.head = nn.Linear(5, 1)

    @property
    def first(self) -> nn.Linear:
        layer = self.body[0]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        prediction: Tensor = self.head(self.body(x))
        return prediction

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return nn.functional.mse_loss(self(batch[0]), batch[1])

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor | float]:
        return {"val_loss": self.training_step(batch, batch_idx), "targets": len(batch[1])}

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.training_step(batch, batch_idx)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def task_batch(tasks: int = 4, shots: int = 6, seed: int = 0) -> Tasks[Batch]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, tasks, shots, 2, generator=generator)
    slope = torch.randn(tasks, 2, 1, generator=generator)
    y = torch.sin(x @ slope)
    return Tasks((x[0], y[0]), (x[1], y[1]))


def batches(count: int = 4, **kwargs: int) -> list[Tasks[Batch]]:
    return [task_batch(seed=seed, **kwargs) for seed in range(count)]


def tree(outer: MetaOptimization[Batch], inner: AdaptationLoop[Batch] | None = None, **kwargs: Any) -> Any:
    validation = AdaptationValidationLoop(inner or AdaptationLoop[Batch](0.1), **kwargs)
    return FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(outer), validation))


def maml(lr: float = 0.1, steps: int = 1, *, second_order: bool = True, vectorized: bool = True) -> Any:
    return MetaOptimization(AdaptationLoop[Batch](lr, second_order=second_order), steps=steps, vectorized=vectorized)


class Gradients(Callback[nn.Module]):
    """Keeps those of each step."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Tensor]] = []

    def on_before_optimizer_step(self, trainer: TrainerView, module: nn.Module, optimizer: object) -> None:
        named = module.named_parameters()
        self.seen.append({name: weight.grad.clone() for name, weight in named if weight.grad is not None})


# The gradients


def one_task(model: Regressor, weights: Mapping[str, Tensor], batch: Batch) -> Tensor:
    prediction: Tensor = functional_call(model, dict(weights), (batch[0],))
    return nn.functional.mse_loss(prediction, batch[1])


def gradients_by_hand(model: Regressor, tasks: Tasks[Batch], lr: float, steps: int, *, second_order: bool) -> Weights:
    """One task after the other: of the second order by the whole graph, of the first at the adapted weights."""
    begin = dict(model.named_parameters())
    total = {name: torch.zeros_like(weight) for name, weight in begin.items()}
    count = len(tasks.query[0])
    for index in range(count):
        support = (tasks.support[0][index], tasks.support[1][index])
        query = (tasks.query[0][index], tasks.query[1][index])
        weights: dict[str, Tensor] = dict(begin)
        for _ in range(steps):
            loss = one_task(model, weights, support)
            gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=second_order)
            weights = {name: weight - lr * g for (name, weight), g in zip(weights.items(), gradients, strict=True)}
            if not second_order:
                weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        at = list((begin if second_order else weights).values())
        for name, gradient in zip(begin, torch.autograd.grad(one_task(model, weights, query), at), strict=True):
            total[name] += gradient / count
    return total


def assert_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-11, atol=1e-13)


def double(tasks: Tasks[Batch]) -> Tasks[Batch]:
    (a, b), (c, d) = tasks
    return Tasks((a.double(), b.double()), (c.double(), d.double()))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    tasks=st.integers(1, 4),
    shots=st.integers(1, 5),
    steps=st.integers(1, 3),
    lr=st.sampled_from([0.01, 0.3]),
    second_order=st.booleans(),
    vectorized=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_gradient_is_that_by_hand(
    tasks: int, shots: int, steps: int, lr: float, second_order: bool, vectorized: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    model, batch = Regressor().double(), double(task_batch(tasks, shots, seed))
    expected = gradients_by_hand(model, batch, lr, steps, second_order=second_order)
    gradients = Gradients()
    fit_loop = tree(maml(lr, steps, second_order=second_order, vectorized=vectorized))
    Trainer(max_epochs=1, fit_loop=fit_loop, callbacks=[gradients]).fit(model, [batch])
    assert_same(gradients.seen[0], expected)


def test_the_two_orders_differ() -> None:
    model, batch = Regressor().double(), double(task_batch())
    first, second = (gradients_by_hand(model, batch, 0.1, 2, second_order=order) for order in (False, True))
    assert not torch.allclose(first["head.weight"], second["head.weight"], rtol=1e-3)


def test_the_output_is_the_loss_on_the_query_sets_after_adaptation() -> None:
    model, batch = Regressor(), task_batch()
    expected = Trainer(validate_loop=AdaptationValidationLoop(AdaptationLoop[Batch](0.1), (2,))).validate(
        model, [batch]
    )
    result = Trainer(max_epochs=1, fit_loop=tree(maml(steps=2))).fit(model, [batch])
    assert result.metrics["train_loss"] == pytest.approx(expected.metrics["val_loss/steps_2"])
    assert result.last_output is not None
    assert result.last_output.keys() == {"loss"}


# The outer loop is that of automatic optimization


class Hooks(Callback[nn.Module]):
    """Keeps which hooks around a step were called."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def on_before_zero_grad(self, trainer: TrainerView, module: nn.Module, optimizer: object) -> None:
        self.called.append("zero_grad")

    def on_before_backward(self, trainer: TrainerView, module: nn.Module, loss: Tensor) -> None:
        self.called.append("before backward" if loss.requires_grad else "no graph")

    def on_after_backward(self, trainer: TrainerView, module: nn.Module) -> None:
        self.called.append("after backward")

    def on_before_optimizer_step(self, trainer: TrainerView, module: nn.Module, optimizer: object) -> None:
        self.called.append("step")

    def on_train_batch_end(self, *_: object) -> None:
        self.called.append("end")


def test_the_hooks_are_those_of_automatic_optimization() -> None:
    meta, plain = Hooks(), Hooks()
    Trainer(max_epochs=1, fit_loop=tree(maml()), callbacks=[meta], accumulate_grad_batches=2).fit(
        Regressor(), batches(3)
    )
    sets: list[Batch] = [(batch.support[0][0], batch.support[1][0]) for batch in batches(3)]
    Trainer(max_epochs=1, callbacks=[plain], accumulate_grad_batches=2).fit(Regressor(), sets)
    assert meta.called == plain.called
    assert meta.called.count("step") == 2


def test_accumulated_batches_are_one_batch_of_all_their_tasks() -> None:
    model, whole = Regressor().double(), double(task_batch(tasks=6))
    parts = [Tasks(*((x[i : i + 3], y[i : i + 3]) for x, y in whole)) for i in (0, 3)]
    expected = gradients_by_hand(model, whole, 0.1, 1, second_order=True)
    gradients = Gradients()
    Trainer(max_epochs=1, fit_loop=tree(maml()), callbacks=[gradients], accumulate_grad_batches=2).fit(model, parts)
    assert_same(gradients.seen[0], expected)


def test_gradients_are_clipped() -> None:
    trainer = Trainer(max_epochs=1, fit_loop=tree(maml()), gradient_clip_val=1e-3)
    model = Regressor()
    trainer.fit(model, batches(1))
    grads = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
    assert float(grads.norm()) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_precision(precision: Any) -> None:
    seen = []

    class Watching(Regressor):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(nn.functional.linear(x, self.first.weight).dtype)
            return super().forward(x)

    fit_loop = tree(maml(steps=2), steps=(1,))
    result = Trainer(max_epochs=1, fit_loop=fit_loop, precision=precision).fit(Watching(), batches(2), batches(1))
    assert set(seen) == {torch.float64 if precision == "64-true" else torch.bfloat16}
    assert result.metrics["val_loss/steps_1"] < 3


class ByLBFGS(Regressor):
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(self.parameters(), max_iter=3)


def test_an_optimizer_that_needs_a_closure() -> None:
    model, data = ByLBFGS(), batches(1)
    fit = Trainer(max_epochs=4, fit_loop=tree(maml(), steps=(1,))).fit
    before = Trainer(validate_loop=AdaptationValidationLoop(AdaptationLoop[Batch](0.1), (1,))).validate(model, data)
    assert fit(model, data, data).metrics["val_loss/steps_1"] < 0.9 * before.metrics["val_loss/steps_1"]


def test_alone_without_a_trainer() -> None:
    def of(run: Callable[..., Any]) -> list[Tensor]:
        torch.manual_seed(3)
        model = Regressor()
        run(model, batches(), batches(1))
        return list(model.parameters())

    loop = tree(maml())
    loop.max_epochs = 2
    alone, hosted = of(loop.run), of(Trainer(max_epochs=2, fit_loop=tree(maml())).fit)
    assert all(map(torch.equal, alone, hosted))


def test_nothing_of_a_batch_is_kept() -> None:
    inner = AdaptationLoop[Batch](0.1)
    Trainer(max_epochs=1, fit_loop=tree(MetaOptimization(inner))).fit(Regressor(), batches(1))
    assert inner._weights is None


def test_frozen_parameters_neither_adapt_nor_learn() -> None:
    model = Regressor()
    model.body.requires_grad_(False)
    before = model.first.weight.clone()
    gradients = Gradients()
    Trainer(max_epochs=1, fit_loop=tree(maml()), callbacks=[gradients]).fit(model, batches(1))
    assert gradients.seen[0].keys() == {"head.weight", "head.bias"}
    assert torch.equal(model.first.weight, before)


# Inner loops


def begin(model: nn.Module, tasks: int = 4) -> Weights:
    return {name: weight.detach().expand(tasks, *weight.shape) for name, weight in model.named_parameters()}


def test_the_loop_keeps_the_contract() -> None:
    model, batch = Regressor(), task_batch()
    steps = TaskSteps(model, model.training_step, 0)
    check_loop_contract(lambda: AdaptationLoop[Batch](0.1), steps, begin(model), batch.support, 2)


def test_anil_adapts_the_head_and_learns_all() -> None:
    model, batch = Regressor(), task_batch()
    inner = AdaptationLoop[Batch](0.1, only=("head",))
    start = begin(model)
    adapted = inner.run(TaskSteps(model, model.training_step, 0), start, batch.support, 3)
    changed = {name for name, weight in adapted.items() if not torch.equal(weight, start[name])}
    assert changed == {"head.weight", "head.bias"}
    gradients = Gradients()
    Trainer(max_epochs=1, fit_loop=tree(MetaOptimization(inner)), callbacks=[gradients]).fit(model, [batch])
    assert all(float(gradient.norm()) > 0 for gradient in gradients.seen[0].values())


class Momentum(Loop[[TaskSteps[Batch], Weights, Batch, int], Weights]):
    """An inner loop of one's own, with no base class of the recipe."""

    def __init__(self) -> None:
        self.taken = 0
        self.wanted = 0
        self.weights: Weights = {}
        self.velocity: Weights = {}

    @property
    def done(self) -> bool:
        return self.taken == self.wanted

    def on_run_start(self, tasks: TaskSteps[Batch], weights: Weights, support: Batch, steps: int) -> None:
        self.taken, self.wanted, self.weights, self.velocity = 0, steps, weights, {}

    def advance(self, tasks: TaskSteps[Batch], weights: Weights, support: Batch, steps: int) -> None:
        gradients = tasks.gradients(self.weights, support, self.weights.keys())
        self.velocity = {name: 0.9 * self.velocity.get(name, 0 * g) + g for name, g in gradients.items()}
        self.weights = {name: weight - 0.05 * self.velocity[name] for name, weight in self.weights.items()}
        self.taken += 1

    def on_run_end(self) -> Weights:
        return self.weights


def test_an_inner_loop_of_ones_own() -> None:
    fit_loop = tree(maml(steps=3), steps=(3,))
    fit_loop.epoch_loop.batch_loop.optimizer_loop.connect(inner_loop=Momentum())
    fit_loop.epoch_loop.val_loop.epoch_loop.connect(inner_loop=Momentum())
    result = Trainer(max_epochs=15, fit_loop=fit_loop).fit(Regressor(), batches(8), batches(8))
    assert result.metrics["val_loss/steps_3"] < 0.35
    assert "inner_loop: Momentum" in str(fit_loop.tree())


class LearntRates(Regressor):
    def __init__(self) -> None:
        super().__init__()
        self.rates = learning_rates(self, 0.1)


def test_learnt_rates_begin_as_one_and_are_learnt() -> None:
    torch.manual_seed(5)
    plain = Regressor().double()
    model = LearntRates().double()
    for rate in model.rates.values():
        nn.init.constant_(rate, 0.1)  # not as near to it as 32 bits are
    model.load_state_dict(plain.state_dict(), strict=False)
    batch = double(task_batch())
    gradients = Gradients()
    Trainer(max_epochs=1, fit_loop=tree(MetaOptimization(MetaSGDLoop[Batch]())), callbacks=[gradients]).fit(
        model, [batch]
    )
    expected = gradients_by_hand(plain, batch, 0.1, 1, second_order=True)
    (found,) = gradients.seen
    assert_same({name: found[name] for name in expected}, expected)
    # The weights move by -rate * gradient, so that the loss changes by this with the rate.
    begin_weights = dict(plain.named_parameters())
    total = torch.zeros_like(begin_weights["head.bias"])
    for index in range(4):
        support = (batch.support[0][index], batch.support[1][index])
        query = (batch.query[0][index], batch.query[1][index])
        inner = torch.autograd.grad(one_task(plain, begin_weights, support), list(begin_weights.values()))
        adapted = {
            name: (weight - 0.1 * g).detach().requires_grad_()
            for (name, weight), g in zip(begin_weights.items(), inner, strict=True)
        }
        outer = torch.autograd.grad(one_task(plain, adapted, query), adapted["head.bias"])[0]
        total -= outer * inner[-1] / 4
    torch.testing.assert_close(found["rates.head-bias"], total, rtol=1e-11, atol=1e-13)


# Evaluation


def adapted_by_hand(model: Regressor, batch: Tasks[Batch], steps: int) -> float:
    losses = []
    for index in range(len(batch.query[0])):
        weights: Mapping[str, Tensor] = dict(model.named_parameters())
        for _ in range(steps):
            loss = one_task(model, weights, (batch.support[0][index], batch.support[1][index]))
            gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            weights = {name: weights[name] - 0.1 * g for name, g in zip(weights, gradients, strict=True)}
        losses.append(one_task(model, weights, (batch.query[0][index], batch.query[1][index])).item())
    return sum(losses) / len(losses)


def from_tensors(data: list[Tasks[Batch]]) -> BatchLoader[Any]:
    """A loader that stacks single tasks: in inference mode its batches cannot be differentiated as they are."""
    tensors = [torch.cat([(batch.support + batch.query)[i] for batch in data]) for i in range(4)]

    def collate(items: list[tuple[Tensor, ...]]) -> Tasks[Batch]:
        a, b, c, d = (torch.stack(parts) for parts in zip(*items, strict=True))
        return Tasks((a, b), (c, d))

    return BatchLoader(TensorDataset(*tensors), collate_fn=collate, batch_size=3)


@pytest.mark.parametrize("inference_mode", [True, False])
@pytest.mark.parametrize("vectorized", [True, False])
def test_an_evaluation_adapts(inference_mode: bool, vectorized: bool) -> None:
    model, data = Regressor(), batches(2)
    before = [weight.clone() for weight in model.parameters()]
    loop = AdaptationValidationLoop(AdaptationLoop[Batch](0.1), (0, 1, 5), vectorized=vectorized)
    result = Trainer(validate_loop=loop, inference_mode=inference_mode).validate(model, from_tensors(data))
    assert result.batches == 3
    for steps in (0, 1, 5):
        expected = sum(adapted_by_hand(model, batch, steps) for batch in data) / len(data)
        assert result.metrics[f"val_loss/steps_{steps}"] == pytest.approx(expected, rel=1e-5)
    assert result.metrics["targets/steps_0"] == 6
    assert all(map(torch.equal, model.parameters(), before))
    assert all(weight.grad is None for weight in model.parameters())
    assert model.training


def test_a_test_adapts() -> None:
    loop = AdaptationTestLoop(AdaptationLoop[Batch](0.1), (0, 3))
    model, data = Regressor(), batches(1)
    result = Trainer(test_loop=loop).test(model, data)
    assert result.metrics["test_loss/steps_0"] == pytest.approx(adapted_by_hand(model, data[0], 0), rel=1e-5)
    assert result.metrics["test_loss/steps_3"] == pytest.approx(adapted_by_hand(model, data[0], 3), rel=1e-5)


class Digits(Dataset[Tasks[Batch]]):
    """Batches of tasks: to tell three digits apart, whose labels are new in each."""

    def __init__(self, digits: range, batches: int, seed: int) -> None:
        data = load_digits()
        images, labels = data.data, data.target
        of = {digit: images[labels == digit] / 16 for digit in digits}
        self.images = {digit: torch.tensor(pixels, dtype=torch.float32) for digit, pixels in of.items()}
        self.batches, self.seed = batches, seed

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> Tasks[Batch]:
        generator = torch.Generator().manual_seed(self.seed + index)
        sets = [self.task(generator) for _ in range(8)]
        support, query = (torch.stack([task[part] for task in sets]) for part in (0, 1))
        labels = torch.arange(3).repeat_interleave(5).expand(8, -1)
        return Tasks((support, labels), (query, labels))

    def task(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        digits = list(self.images)
        chosen = [digits[i] for i in torch.randperm(len(digits), generator=generator)[:3]]
        samples = [self.images[digit][torch.randperm(170, generator=generator)[:10]] for digit in chosen]
        return torch.cat([images[:5] for images in samples]), torch.cat([images[5:] for images in samples])


class DigitLearner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        logits = self.net(batch[0])
        accuracy = (logits.argmax(1) == batch[1]).float().mean()
        return {"loss": nn.functional.cross_entropy(logits, batch[1]), "accuracy": accuracy}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"val_accuracy": self.training_step(batch, batch_idx)["accuracy"]}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def digit_tree() -> Any:
    inner: Callable[[], AdaptationLoop[Batch]] = lambda: AdaptationLoop(0.4)  # noqa: E731
    return tree(MetaOptimization(inner(), steps=2), inner(), steps=(0, 2, 5))


def test_digits_that_were_never_seen_are_told_apart() -> None:
    train: BatchLoader[Tasks[Batch]] = BatchLoader(Digits(range(6), 100, 0), batch_size=None, shuffle=True)
    val: BatchLoader[Tasks[Batch]] = BatchLoader(Digits(range(6, 10), 10, 5000), batch_size=None)
    result = Trainer(max_epochs=1, fit_loop=digit_tree()).fit(DigitLearner(), train, val)
    accuracy = {steps: result.metrics[f"val_accuracy/steps_{steps}"] for steps in (0, 2, 5)}
    assert accuracy[0] < 0.5, "labels are arbitrary, so that nothing can be known before adaptation"
    assert accuracy[2] > 0.75
    assert accuracy[5] > 0.8
    assert result.metrics["accuracy"] > 0.8


# Going on


@pytest.mark.parametrize(("after", "window"), [(1, 1), (3, 2), (6, 1), (7, 2), (12, 1)])
def test_a_run_that_was_killed_goes_on(tmp_path: Path, after: int, window: int) -> None:
    def make_trainer(callbacks: list[Callback[nn.Module]]) -> Any:
        return Trainer(max_epochs=2, fit_loop=digit_tree(), callbacks=callbacks, accumulate_grad_batches=window)

    def run(trainer: Any) -> tuple[list[Tensor], dict[str, float]]:
        model = DigitLearner()
        train: BatchLoader[Tasks[Batch]] = BatchLoader(Digits(range(6), 6, 0), batch_size=None, shuffle=True)
        result = trainer.fit(model, train, [Digits(range(6, 10), 1, 5000)[0]])
        return list(model.parameters()), result.metrics

    torch.manual_seed(0)
    weights, metrics = run(make_trainer([]))
    resumed, resumed_metrics = killed_and_resumed(make_trainer, run, tmp_path / "c", after)
    assert all(map(torch.equal, weights, resumed))
    assert metrics == resumed_metrics


class KillInValidation(Callback[nn.Module]):
    """Saves within a validation and ends the run there."""

    def __init__(self, path: Path, batches: int) -> None:
        self.path, self.left = path, batches

    def on_validation_batch_end(self, trainer: TrainerView, *_: object) -> None:
        self.left -= 1
        if not self.left:
            trainer.save_checkpoint(self.path, when_written=self.kill)

    def kill(self, path: Path) -> None:
        raise Killed


@pytest.mark.parametrize("after", [1, 3])
def test_a_validation_that_was_killed_goes_on(tmp_path: Path, after: int) -> None:
    def run(callbacks: list[Callback[nn.Module]], *, resume: bool = False) -> tuple[list[Tensor], dict[str, float]]:
        model, tasks = DigitLearner(), Digits(range(10), 3, 0)
        trainer = Trainer(max_epochs=2, fit_loop=digit_tree(), callbacks=callbacks)
        data = [tasks[0], tasks[1], tasks[2]]
        result = trainer.fit(model, data, data[:2], ckpt_path=tmp_path / "c" if resume else None)
        return list(model.parameters()), result.metrics

    torch.manual_seed(0)
    weights, metrics = run([])
    torch.manual_seed(0)
    with pytest.raises(Killed):
        run([KillInValidation(tmp_path / "c", after)])
    torch.manual_seed(1)
    resumed, resumed_metrics = run([], resume=True)
    assert all(map(torch.equal, weights, resumed))
    assert metrics == resumed_metrics


# What torch.func can and cannot do


def fit_one(model: nn.Module, outer: MetaOptimization[Batch] | None = None) -> Any:
    return Trainer(max_epochs=1, fit_loop=tree(outer or maml())).fit(model, batches(1))


def test_dropout_is_drawn_for_each_task() -> None:
    x, y = torch.ones(3, 1, 2), torch.ones(3, 1, 1)
    model = Regressor(nn.Dropout(0.5))
    losses = TaskSteps(model, model.training_step, 0).losses(begin(model, 3), (x, y))["loss"]
    assert len(set(losses.tolist())) == 3


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm1d(5, track_running_stats=False),
        nn.LayerNorm(5),
        nn.GroupNorm(5, 5),
        nn.Sequential(nn.Unflatten(1, (1, 5)), nn.InstanceNorm1d(1, affine=True), nn.Flatten()),
    ],
    ids=lambda norm: type(norm).__name__,
)
@pytest.mark.parametrize("vectorized", [True, False])
def test_normalizations_with_weights_are_differentiated_twice(norm: nn.Module, vectorized: bool) -> None:
    model, batch = Regressor(norm).double(), double(task_batch())
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    expected = gradients_by_hand(model, batch, 0.1, 2, second_order=True)
    gradients = Gradients()
    Trainer(max_epochs=1, fit_loop=tree(maml(steps=2, vectorized=vectorized)), callbacks=[gradients]).fit(
        model, [batch]
    )
    assert_same(gradients.seen[0], expected)


def test_running_statistics_are_refused() -> None:
    with pytest.raises(ModuleError) as told:
        fit_one(Regressor(nn.BatchNorm1d(5)))
    assert str(told.value) == (
        "Regressor.body.2: this BatchNorm1d keeps running statistics, which would mix those of all tasks. Give it "
        "`track_running_stats=False`, so that each set is normalized by its own; call "
        "`torch.func.replace_all_batch_norm_modules_`; or freeze it, `body.2.eval()`."
    )


def test_running_statistics_that_are_frozen_are_used() -> None:
    model = Regressor(nn.BatchNorm1d(5))
    model.body[2].eval()
    fit_one(model)


class Recurrent(Regressor):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(2, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        prediction: Tensor = self.head(self.cell(x[:, None])[0][:, -1])
        return prediction


class Branching(Regressor):
    def forward(self, x: Tensor) -> Tensor:
        prediction = super().forward(x)
        return prediction if prediction.sum() > 0 else 2 * prediction


@pytest.mark.parametrize("kind", [Recurrent, Branching])
def test_what_cannot_be_vectorized(kind: type[Regressor]) -> None:
    with pytest.raises(ModuleError) as told:
        fit_one(kind())
    assert str(told.value).startswith(f"{kind.__name__}.training_step: it cannot be computed for all tasks at once (")
    assert str(told.value).endswith("Take one task after the other, `vectorized=False`, or let it do without.")
    fit_one(kind(), maml(vectorized=False))


class Counting(Regressor):
    """Counts in a buffer, in place or not."""

    total: Tensor

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place
        self.register_buffer("total", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        if self.in_place:
            self.total += x.detach().sum()
        else:
            self.total = self.total + x.detach().sum()
        return super().forward(x)


@pytest.mark.parametrize(("in_place", "vectorized"), [(False, True), (False, False), (True, False)])
def test_what_is_left_in_buffers_is_forgotten_with_the_task(in_place: bool, vectorized: bool) -> None:
    model = Counting(in_place=in_place)
    fit_one(model, maml(vectorized=vectorized))
    assert torch.equal(model.total, torch.zeros(1))


def test_a_buffer_cannot_be_changed_in_place_for_all_tasks_at_once() -> None:
    with pytest.raises(RuntimeError) as told:
        fit_one(Counting(in_place=True))
    note = "Counting.training_step ran for all tasks at once, under torch.func.vmap; try `vectorized=False`."
    assert note in told.value.__notes__


# Messages


def test_settings_that_can_never_work() -> None:
    for wrong, told in (
        (lambda: AdaptationLoop[Batch](0), "AdaptationLoop.lr: 0 leads nowhere. Give more than 0."),
        (lambda: maml(steps=0), "MetaOptimization.steps: 0 is no number of steps. Give 1 or more."),
        (
            lambda: AdaptationValidationLoop(AdaptationLoop[Batch](), (0, -1)),
            "AdaptationEpochLoop.steps: -1 is no number of steps. Give 0 or more.",
        ),
    ):
        with pytest.raises(ConfigurationError) as error:
            wrong()
        assert str(error.value) == told


def test_parts_that_are_not_there() -> None:
    with pytest.raises(ConfigurationError) as told:
        fit_one(Regressor(), MetaOptimization(AdaptationLoop[Batch](only=("tail",))))
    assert str(told.value) == (
        "AdaptationLoop.only: no parameter that requires a gradient is in tail. Name some of body.0.weight, "
        "body.0.bias, head.weight, head.bias, or the parts that they are in."
    )


def test_rates_that_are_not_there() -> None:
    with pytest.raises(ConfigurationError) as told:
        fit_one(Regressor(), MetaOptimization(MetaSGDLoop[Batch]()))
    assert str(told.value) == (
        "MetaSGDLoop.rates: the module has no learning rates under 'rates'. "
        "Write `self.rates = learning_rates(self, 0.01)` at the end of its `__init__`."
    )


class Two(Regressor):
    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(part.parameters(), lr=0.1) for part in (self.body, self.head)]


def test_several_optimizers() -> None:
    with pytest.raises(OptimizerError) as told:
        fit_one(Two())
    assert str(told.value) == (
        "MetaOptimization: there are 2 optimizers, and adaptation has one loss for all weights. "
        "Return one optimizer, with parameter groups where weights are to be optimized in different ways."
    )


class NoModule:
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return batch[0].sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)


def test_no_module() -> None:
    with pytest.raises(ModuleError) as told:
        Trainer(max_epochs=1, fit_loop=tree(maml())).fit(NoModule(), batches(1))
    assert str(told.value) == "NoModule: it is no nn.Module, and MetaOptimization adapts parameters. Make it one."


def returning(output: Callable[[Tensor], object]) -> nn.Module:
    class Odd(Regressor):
        def training_step(self, batch: Batch, batch_idx: int) -> Any:
            return output(self(batch[0]))

    return Odd()


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (lambda prediction: None, "it returned None for a task. Return a loss for each task."),
        (lambda prediction: prediction, "its loss has shape (6, 1). Reduce it: loss.mean()."),
        (lambda prediction: {"accuracy": prediction}, "it returned a mapping without the key 'loss'"),
        (lambda prediction: prediction.argmax(), "its loss is of torch.int64"),
    ],
)
def test_steps_without_a_loss(output: Callable[[Tensor], object], told: str) -> None:
    with pytest.raises(StepOutputError) as error:
        fit_one(returning(output))
    assert str(error.value).startswith("Odd.training_step: ")
    assert told in str(error.value)


def pairs() -> Iterator[tuple[object, str]]:
    x, y = task_batch().support
    yield Tasks((x, y), (x[:3], y[:3])), "its tensors have 3 and 4 tasks along their first axes"
    yield Tasks((x[:0], y[:0]), (x[:0], y[:0])), "its tensors have 0 tasks along their first axes"
    yield Tasks((x, "y"), (x, y)), "there is a str without tasks in it"
    yield Tasks((x, torch.tensor(1)), (x, y)), "there is a Tensor without tasks in it"
    yield (x, y, x, y), "it is a tuple"
    yield {"support": (x, y)}, "it is a dict"


@pytest.mark.parametrize(("batch", "told"), list(pairs()))
def test_batches_that_are_no_tasks(batch: Any, told: str) -> None:
    with pytest.raises(LoaderError) as error:
        Trainer(max_epochs=1, fit_loop=tree(maml())).fit(Regressor(), [batch])
    assert str(error.value).startswith(f"a batch of tasks: {told}")


def test_a_batch_may_have_lost_its_names() -> None:
    result = Trainer(max_epochs=1, fit_loop=tree(maml())).fit(Regressor(), [tuple(task_batch())])
    assert result.optimizer_steps == 1
