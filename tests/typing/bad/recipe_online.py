# pyright: reportUnknownMemberType=false
"""Online learning: environments, policies and loops that do not go together."""

from __future__ import annotations

from torch import Tensor, nn

from tests.typing.good.models import Classifier
from tests.typing.good.recipe_online import Walk, Walker, collect, learn, online, trainer
from typedloops import OptimizerLoop
from typedloops.recipes.online import (
    CollectLoop,
    MinibatchLoop,
    OnlineLoop,
    PolicyGradientLoop,
    PolicySamples,
    Rollout,
    Transitions,
    episode_returns,
)

CollectLoop[Walker](3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
CollectLoop[Walker]([nn.Identity()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
CollectLoop[Walker](Walk(), steps="many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
CollectLoop[Classifier](Walk())  # type: ignore[type-var]  # pyright: ignore[reportInvalidTypeArguments]
no_critic: PolicyGradientLoop[Classifier, Tensor]  # type: ignore[type-var]  # pyright: ignore[reportInvalidTypeArguments]
PolicyGradientLoop[Walker, Tensor](OptimizerLoop[Transitions, Tensor]())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
PolicyGradientLoop[Walker, Tensor](CollectLoop[Walker](Walk()))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
OnlineLoop[Walker, int, Rollout, Tensor](learn, collect)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
online.connect(collect=collect)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
online.connect(learn_loop=OptimizerLoop[PolicySamples, Tensor]())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.fit(Classifier(), range(2))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.fit(Walker(), 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
episode_returns(Walker().training_step, Walk())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
returns: float = episode_returns(Walker().act, Walk())  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


class WrongSamples(MinibatchLoop[Walker, Rollout, Transitions, Tensor]):
    def samples(self, model: Walker, data: Rollout) -> PolicySamples:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        raise NotImplementedError
