"""Rounds of labelling and fitting: what is asked for, what is fitted, and going on anywhere."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import Tensor, nn

import typedloops
from tests.recipes.kills import Killed, seed_all
from typedloops import (
    Callback,
    FitLoop,
    FitLoopOf,
    Loop,
    ModelCheckpoint,
    Slot,
    StepLoop,
    TrainerView,
    TrainingBatchLoop,
    TrainingEpochLoop,
)
from typedloops.errors import CheckpointError, ConfigurationError, ModuleError
from typedloops.recipes.active_learning import (
    ActiveLearningLoop,
    ActiveLearningResult,
    KnownLabels,
    TensorPool,
    entropy_sampling,
    least_confidence_sampling,
    margin_sampling,
    random_sampling,
)
from typedloops.testing import check_loop_contract

# Callbacks of all kinds are given here, and entry loops that take what the default one does not.
Trainer: Any = typedloops.Trainer

Batch = tuple[Tensor, Tensor]
ITEMS = 60


@cache
def digits() -> tuple[Tensor, list[int], list[Batch]]:
    """Items, their labels, and batches to validate on."""
    data = load_digits()
    input_NF, label_N = torch.as_tensor(data.data, dtype=torch.float32) / 16, torch.as_tensor(data.target)
    return input_NF[:ITEMS], label_N[:ITEMS].tolist(), [(input_NF[100:140], label_N[100:140])]


class Digits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 10))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"accuracy": (self.net(batch[0]).argmax(1) == batch[1]).float().mean()}

    def predict_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        logits: Tensor = self.net(batch)
        return logits + 0.1 * torch.rand(1)  # a prediction that goes on must go on with its random numbers, too

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


class Asked(KnownLabels[int]):
    """An oracle that answers one after the other, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(digits()[1])
        self.answered: list[int] = []

    def __call__(self, indices: Sequence[int]) -> Any:
        for index in indices:
            self.answered.append(index)
            yield self.labels[index]


def pool() -> TensorPool:
    return TensorPool(digits()[0], batch_size=4, predict_batch_size=16)


def learning(**settings: Any) -> ActiveLearningLoop[Tensor]:
    """10 labels, and then 8 more in each of two rounds: 3, 5 and 7 batches an epoch."""
    return ActiveLearningLoop(
        **{
            "acquisition": margin_sampling,
            "initial": 10,
            "query": 8,
            "budget": 26,
            "fit_loop": FitLoop(max_epochs=2),
            **settings,
        }
    )


def run(trainer: Any, oracle: Any = None) -> tuple[Any, list[Tensor]]:
    """The result, and the weights that are left."""
    model = Digits()
    result = trainer.fit(model, pool(), oracle or Asked(), digits()[2])
    return result, [weight.clone() for weight in model.parameters()]


def same(a: tuple[Any, list[Tensor]], b: tuple[Any, list[Tensor]]) -> bool:
    return a[0] == b[0] and all(map(torch.equal, a[1], b[1]))


# What is asked for, what is fitted


def test_rounds_until_the_budget_is_spent() -> None:
    seed_all(1)
    oracle, told = Asked(), list[object]()

    class Tells(Callback[Digits]):
        def on_label(self, trainer: TrainerView, module: Digits, index: int, label: int) -> None:
            told.append((index, label))

        def on_learning_round_end(self, trainer: TrainerView, module: Digits, round_: Any) -> None:
            told.append(round_)

        def on_fit_start(self, trainer: TrainerView, module: Digits) -> None:
            told.append("fit")

    result, _ = run(Trainer(fit_loop=learning(), callbacks=[Tells()]), oracle)
    assert [each.labels for each in result.rounds] == [10, 18, 26]
    assert all(set(each.metrics) == {"train_loss", "accuracy"} for each in result.rounds)
    assert list(result.indices) == oracle.answered
    assert len(set(result.indices)) == 26
    assert list(result.labels) == [digits()[1][index] for index in result.indices]
    labels = list(zip(result.indices, result.labels, strict=True))
    first, second, third = result.rounds
    assert told == [*labels[:10], "fit", first, *labels[10:18], "fit", second, *labels[18:], "fit", third]


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        ({"budget": None, "max_rounds": 2}, [10, 18]),
        ({"budget": 20}, [10, 18, 20]),
        ({"budget": 10}, [10]),
        ({"budget": 1000, "query": 30}, [10, 40, 60]),
        ({"budget": None, "max_rounds": 9, "query": 1000}, [10, 60]),
        ({"initial": 60, "budget": 60}, [60]),
        ({"budget": 100, "max_rounds": 1}, [10]),
    ],
)
def test_when_it_ends(settings: dict[str, Any], labels: list[int]) -> None:
    loop = learning(**{"fit_loop": FitLoop(max_epochs=1), **settings})
    result = loop.run(Digits(), pool(), KnownLabels(digits()[1]))
    assert [each.labels for each in result.rounds] == labels
    assert loop.completed_iterations == loop.total_iterations == len(labels)


def test_the_highest_scores_are_labelled_and_ties_in_the_order_of_the_items() -> None:
    scored: list[int] = []

    def acquisition(predictions: Sequence[Tensor]) -> Tensor:
        scored.append(sum(map(len, predictions)))
        return torch.tensor([float(item % 5) for item in range(scored[-1])])

    loop = learning(acquisition=acquisition, initial=[3, 0, 1], budget=19)
    result = loop.run(Digits(), pool(), KnownLabels(digits()[1]))
    unlabelled = [index for index in range(ITEMS) if index not in (0, 1, 3)]
    assert scored == [57, 49]
    assert result.indices[:3] == (3, 0, 1)
    assert list(result.indices[3:11]) == unlabelled[4:40:5]


def test_each_round_is_a_plain_fit_from_the_initial_weights() -> None:
    states: list[Tensor] = []

    class Remembers(Callback[Digits]):
        def on_fit_start(self, trainer: TrainerView, module: Digits) -> None:
            states.append(torch.get_rng_state())

    seed_all(1)
    result, weights = run(Trainer(fit_loop=learning(), callbacks=[Remembers()]))
    seed_all(1)
    plain = Digits()
    torch.set_rng_state(states[-1])
    fit = FitLoop(max_epochs=2).run(plain, pool().labelled(result.indices, result.labels), digits()[2])
    assert all(map(torch.equal, plain.parameters(), weights))
    assert fit.metrics == result.rounds[-1].metrics


@pytest.mark.parametrize("settings", [{"limit_predict_batches": 2}, {"fast_dev_run": 2}])
def test_with_a_limit_the_first_items_are_scored(settings: dict[str, Any]) -> None:
    result, _ = run(Trainer(fit_loop=learning(initial=[59, 58]), **settings))
    assert [each.labels for each in result.rounds] == [2, 10, 18, 26]
    assert max(result.indices[2:10]) < 32


def test_loggers_get_the_rounds_apart() -> None:
    class Keeps:
        def __init__(self) -> None:
            self.logged: dict[str, float] = {}

        def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
            self.logged |= metrics

        def finalize(self, status: str) -> None:
            pass

    logger = Keeps()
    result, _ = run(Trainer(fit_loop=learning(), loggers=[logger]))
    expected = {
        f"round_{number}/{name}": value
        for number, each in enumerate(result.rounds)
        for name, value in {"labels": each.labels, **each.metrics}.items()
    }
    assert logger.logged == expected


@pytest.mark.parametrize("anew", [True, False])
def test_from_the_initial_weights_or_from_those_there_are(anew: bool) -> None:
    weights: list[Tensor] = []

    class Remembers(Callback[Digits]):
        def on_train_start(self, trainer: TrainerView, module: Digits) -> None:
            weights.append(next(module.parameters()).detach().clone())

        on_train_end = on_train_start

    Trainer(fit_loop=learning(from_initial_weights=anew), callbacks=[Remembers()]).fit(Digits(), pool(), Asked())
    starts, ends = weights[::2], weights[1::2]
    assert all(torch.equal(start, starts[0]) for start in starts) is anew
    assert all(map(torch.equal, starts[1:], ends)) is not anew


def test_alone_as_under_a_trainer() -> None:
    seed_all(1)
    expected = run(Trainer(fit_loop=learning()))
    seed_all(1)
    model = Digits()
    result = learning().run(model, pool(), Asked(), digits()[2])
    assert same(expected, (result, list(model.parameters())))


def test_another_tree() -> None:
    class SignDescent(StepLoop[Digits, Batch, Tensor]):
        def advance(self, model: Digits, batch: Batch, batch_idx: int) -> None:
            self.output = model.training_step(batch, batch_idx)
            for parameter, gradient in zip(
                model.parameters(), torch.autograd.grad(self.output, list(model.parameters())), strict=True
            ):
                parameter.data.sub_(0.01 * gradient.sign())

    tree = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(SignDescent())), max_epochs=1)
    loop = learning()
    loop.connect(fit_loop=tree)
    assert str(loop.tree()).splitlines()[:3] == [
        "ActiveLearningLoop",
        "├─ fit_loop: FitLoopOf",
        "│  └─ epoch_loop: TrainingEpochLoop",
    ]
    assert len(loop.run(Digits(), pool(), Asked()).rounds) == 3


def test_it_keeps_the_contract() -> None:
    # Initial weights are in checkpoints, which hold tensors, and not in JSON.
    make = partial(learning, from_initial_weights=False, fit_loop=None, max_rounds=2)

    def short() -> ActiveLearningLoop[Tensor]:
        loop = make()
        loop.fit_loop = FitLoop(max_epochs=1)
        return loop

    check_loop_contract(short, Digits(), pool(), KnownLabels(digits()[1]))


# Killed and gone on with


class Kill(Callback[Digits]):
    """Saves at the n-th call of a hook, and ends the run there."""

    def __init__(self, hook: str, at: int, path: Path) -> None:
        self.calls = 0
        self.at = at
        self.path = path
        setattr(self, hook, self.heard)

    def heard(self, trainer: TrainerView, *_: object) -> None:
        self.calls += 1
        if self.calls == self.at:
            trainer.save_checkpoint(self.path, when_written=self.kill)

    def kill(self, path: Path) -> None:
        raise Killed


PLACES = [
    *(("on_label", at) for at in (1, 10, 11, 18, 26)),
    *(("on_train_batch_end", at) for at in (1, 6, 7, 16, 17, 30)),
    *(("on_predict_batch_end", at) for at in (1, 4, 5, 7)),
    *((hook, at) for hook in ("on_predict_end", "on_predict_start", "on_validation_end") for at in (1, 2)),
    *((hook, at) for hook in ("on_fit_start", "on_train_epoch_end", "on_fit_end") for at in (1, 2, 3)),
    *(("on_learning_round_end", at) for at in (1, 2, 3)),
]


@pytest.fixture(scope="module", params=[True, False], ids=["anew", "going on"])
def whole(request: pytest.FixtureRequest) -> tuple[bool, Any]:
    """Whether each round begins with the initial weights, and what an uninterrupted run comes to."""
    seed_all(5)
    return request.param, run(Trainer(fit_loop=learning(from_initial_weights=request.param)))


@pytest.mark.parametrize(("hook", "at"), PLACES)
def test_it_goes_on_bit_for_bit_and_asks_for_nothing_twice(
    tmp_path: Path, whole: tuple[bool, Any], hook: str, at: int
) -> None:
    anew, expected = whole
    before, after = Asked(), Asked()
    seed_all(5)
    with pytest.raises(Killed):
        run(
            Trainer(fit_loop=learning(from_initial_weights=anew), callbacks=[Kill(hook, at, tmp_path / "checkpoint")]),
            before,
        )
    seed_all(99)
    trainer = Trainer(fit_loop=learning(from_initial_weights=anew))
    trainer.load_checkpoint(tmp_path / "checkpoint", exact=True)
    assert same(run(trainer, after), expected)
    assert before.answered + after.answered == list(expected[0].indices)
    seed_all(5)
    assert same(run(trainer), expected), "the next run begins anew"


def test_it_goes_on_from_the_last_checkpoint_of_a_callback(tmp_path: Path, whole: tuple[bool, Any]) -> None:
    anew, expected = whole

    class Dies(Callback[Digits]):
        def on_train_epoch_start(self, trainer: TrainerView, module: Digits) -> None:
            epochs.append(trainer.current_epoch)
            if len(epochs) == 4:
                raise Killed

    def trainer(*callbacks: object) -> Any:
        saves = ModelCheckpoint(tmp_path, save_last=True, save_top_k=-1)
        return Trainer(fit_loop=learning(from_initial_weights=anew), callbacks=[saves, *callbacks])

    epochs: list[int] = []
    seed_all(5)
    with pytest.raises(Killed):
        run(trainer(Dies()))
    seed_all(99)
    model = Digits()
    result = trainer().fit(model, pool(), Asked(), digits()[2], ckpt_path="last", exact=True)
    assert same((result, list(model.parameters())), expected)


class Seeds(Loop[[], list[Any]]):
    """Learns with a module of its own for each seed."""

    learning: Slot[ActiveLearningLoop[Tensor]] = Slot()
    state_fields = ("seed",)

    def __init__(self, anew: bool) -> None:
        self.learning = learning(from_initial_weights=anew, budget=18)
        self.seed = 0
        self.results: list[Any] = []

    @property
    def done(self) -> bool:
        return self.seed == 2

    def advance(self) -> None:
        torch.manual_seed(self.seed)
        model = Digits()
        result = self.learning.run(model, pool(), Asked(), digits()[2])
        self.results.append((result, list(model.parameters())))
        self.seed += 1

    def on_run_end(self) -> list[Any]:
        return self.results


@pytest.mark.parametrize(
    ("hook", "at"),
    [("on_train_batch_end", 3), ("on_train_batch_end", 20), ("on_predict_batch_end", 5), ("on_label", 30)],
)
@pytest.mark.parametrize("anew", [True, False])
def test_it_goes_on_within_another_loop(tmp_path: Path, hook: str, at: int, anew: bool) -> None:
    expected = Trainer(fit_loop=Seeds(anew)).fit()
    with pytest.raises(Killed):
        Trainer(fit_loop=Seeds(anew), callbacks=[Kill(hook, at, tmp_path / "c")]).fit()
    trainer = Trainer(fit_loop=Seeds(anew))
    trainer.load_checkpoint(tmp_path / "c", exact=True)
    resumed = trainer.fit()  # the seeds from there on
    assert resumed
    assert all(map(same, expected[-len(resumed) :], resumed))


def test_a_signal_while_it_scores(tmp_path: Path) -> None:
    class Sends(Callback[Digits]):
        def on_predict_batch_end(
            self, t: TrainerView, m: Digits, o: object, b: object, batch_idx: int, dataloader_idx: int = 0
        ) -> None:
            if batch_idx == 1 and not list(tmp_path.iterdir()):
                signal.raise_signal(signal.SIGUSR1)

    saves = ModelCheckpoint(tmp_path, save_on_signals=["SIGUSR1"], save_top_k=0)
    seed_all(5)
    before = signal.getsignal(signal.SIGUSR1)
    expected = run(Trainer(fit_loop=learning(), callbacks=[saves, Sends()]))
    assert signal.getsignal(signal.SIGUSR1) is before
    (saved,) = tmp_path.iterdir()
    trainer = Trainer(fit_loop=learning(), callbacks=[saves])
    trainer.load_checkpoint(saved, exact=True)
    oracle = Asked()
    assert same(run(trainer, oracle), expected)
    assert len(oracle.answered) == 16


def test_an_oracle_that_fails_has_its_answers_kept() -> None:
    class Fails(Asked):
        def __call__(self, indices: Sequence[int]) -> Any:
            for index in indices:
                if len(self.answered) == 14:
                    raise Killed
                self.answered.append(index)
                yield self.labels[index]

    first, failing = learning(), Fails()
    with pytest.raises(Killed):
        first.run(Digits(), pool(), failing)
    second, oracle = learning(), Asked()
    second.load_state_dict(first.state_dict())
    result = second.run(Digits(), pool(), oracle)
    assert list(result.indices) == failing.answered + oracle.answered
    assert len(oracle.answered) == 12
    assert [each.labels for each in result.rounds] == [10, 18, 26]


def test_ctrl_c_ends_all_of_it() -> None:
    class Presses(Callback[Digits]):
        def on_train_epoch_start(self, trainer: TrainerView, module: Digits) -> None:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        loop, oracle = learning(), Asked()
        with pytest.raises(KeyboardInterrupt):
            Trainer(fit_loop=loop, callbacks=[Presses()]).fit(Digits(), pool(), oracle)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (len(oracle.answered), loop.phase, loop.history) == (10, "labelled", [])


def test_labels_that_no_checkpoint_can_hold(tmp_path: Path) -> None:
    class Odd:
        pass

    class OddPool(TensorPool):
        def labelled(self, indices: Sequence[int], labels: Sequence[object]) -> Any:
            return super().labelled(indices, [1 for _ in labels])

    trainer = Trainer(fit_loop=learning(), callbacks=[Kill("on_train_batch_end", 1, tmp_path / "c")])
    odd = OddPool(digits()[0], batch_size=4)
    with pytest.raises(CheckpointError, match=r"custom/labels/0: an object of type .*Odd cannot be saved"):
        trainer.fit(Digits(), odd, lambda indices: [Odd() for _ in indices])


# Acquisition


@given(st.lists(st.lists(st.floats(-30, 30), min_size=4, max_size=4), min_size=1, max_size=6))
def test_scores_of_classes(logits: list[list[float]]) -> None:
    logits_NC = torch.tensor(logits, dtype=torch.float64)
    predictions = list(logits_NC.split(2))
    probability = np.exp(logits_NC.numpy()) / np.exp(logits_NC.numpy()).sum(1, keepdims=True)
    descending = -np.sort(-probability, axis=1)
    expected = {
        entropy_sampling: -(probability * np.log(probability)).sum(1),
        margin_sampling: descending[:, 1] - descending[:, 0],
        least_confidence_sampling: 1 - descending[:, 0],
    }
    for acquisition, scores in expected.items():
        np.testing.assert_allclose(acquisition(predictions).numpy(), scores, atol=1e-12)
        log_probabilities = [each.log_softmax(1) for each in predictions]
        np.testing.assert_allclose(acquisition(log_probabilities).numpy(), scores, atol=1e-12)


def test_a_certain_prediction_has_no_entropy() -> None:
    assert entropy_sampling([torch.tensor([[0.0, -torch.inf]])]).tolist() == [0.0]


def test_random_scores_come_from_the_generator_of_torch() -> None:
    scores = []
    for _ in range(2):
        torch.manual_seed(3)
        scores.append(random_sampling([torch.zeros(2, 5), [1, 2, 3]]).tolist())
    assert scores[0] == scores[1]
    assert len(set(scores[0])) == 5


# What is refused


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(ConfigurationError) as error:
        act()
    return str(error.value)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"query": 0}, "ActiveLearningLoop.query: it is 0. Give a positive number."),
        ({"initial": 0}, "ActiveLearningLoop.initial: it is 0. Give a positive number."),
        ({"initial": []}, "ActiveLearningLoop.initial: it is 0. Give a positive number."),
        ({"max_rounds": -1}, "ActiveLearningLoop.max_rounds: it is -1. Give a positive number."),
        (
            {"budget": None},
            "ActiveLearningLoop: nothing says when it ends. Give a `budget` of labels, or `max_rounds`.",
        ),
        ({"budget": 9}, "ActiveLearningLoop.budget: it is 9, and 10 items are labelled first. Raise it."),
        (
            {"initial": [1, 2, 1]},
            "ActiveLearningLoop.initial: [1, 2, 1] are no indices of different items. Give each index once.",
        ),
        (
            {"initial": [1, -2]},
            "ActiveLearningLoop.initial: [1, -2] are no indices of different items. Give each index once.",
        ),
    ],
)
def test_settings_that_can_never_work(settings: dict[str, Any], told: str) -> None:
    assert refused(lambda: learning(**settings)) == told


@pytest.mark.parametrize(
    ("initial", "told"),
    [
        (61, "it is 61, and the pool has 60 items. Give fewer."),
        ([2, 60], "there is no item 60. The items of the pool are 0 to 59."),
    ],
)
def test_a_pool_that_is_too_small(initial: Any, told: str) -> None:
    said = refused(lambda: learning(initial=initial, budget=70).run(Digits(), pool(), Asked()))
    assert said == f"ActiveLearningLoop.initial: {told}"


def test_batch_sizes() -> None:
    assert refused(lambda: TensorPool(digits()[0], batch_size=4, predict_batch_size=0)) == (
        "TensorPool.predict_batch_size: it is 0. Give a positive number of items."
    )


@pytest.mark.parametrize(("count", "lazy"), [(9, False), (11, False), (9, True)])
def test_an_oracle_that_gives_another_number_of_labels(count: int, lazy: bool) -> None:
    def oracle(indices: Sequence[int]) -> Any:
        return iter([0] * count) if lazy else [0] * count

    assert refused(lambda: learning().run(Digits(), pool(), oracle)) == (
        "test_an_oracle_that_gives_another_number_of_labels.<locals>.oracle: it was asked for 10 labels and gave "
        f"{count}. Give one for each index, in their order."
    )


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        (torch.zeros(3), "it gave scores of shape (3,) for 50 items. Return one number for each item"),
        (torch.full((50,), torch.nan), "a score is not a number. Look at the predictions that it is given."),
    ],
)
def test_scores_that_are_none(scores: Tensor, told: str) -> None:
    def acquisition(predictions: Sequence[Tensor]) -> Tensor:
        return scores

    loop = learning(acquisition=acquisition)
    assert f"acquisition: {told}" in refused(lambda: loop.run(Digits(), pool(), Asked()))


def test_a_limit_that_leaves_nothing_to_score() -> None:
    assert refused(lambda: run(Trainer(fit_loop=learning(), limit_predict_batches=0))) == (
        "ActiveLearningLoop.predict_loop: it predicts for no batch. Raise `limit_predict_batches`."
    )


def test_predictions_without_classes() -> None:
    assert refused(lambda: entropy_sampling([torch.zeros(4)])) == (
        "predict_step: a score of classes needs logits (batch, classes), got torch.float32 (4,). Let it return the "
        "logits, or score its predictions with a function of your own."
    )


def test_a_module_that_cannot_predict_is_told_before_the_first_fit() -> None:
    model: Any = Digits()
    model.predict_step = None
    oracle = Asked()
    with pytest.raises(ModuleError, match=r"Digits\.predict_step: there is no such method"):
        learning().run(model, pool(), oracle)
    assert not oracle.answered


def test_the_result_is_of_the_oracle() -> None:
    result: ActiveLearningResult[int] = learning(budget=10).run(Digits(), pool(), Asked())
    assert result.labels == tuple(digits()[1][index] for index in result.indices)
