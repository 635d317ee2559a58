"""Reinforcement learning and other online data: collecting and learning as sibling loops."""

from typedloops.recipes.online.collecting import CollectLoop as CollectLoop
from typedloops.recipes.online.collecting import Policy as Policy
from typedloops.recipes.online.environments import Environment as Environment
from typedloops.recipes.online.environments import VectorEnvironment as VectorEnvironment
from typedloops.recipes.online.episodes import episode_returns as episode_returns
from typedloops.recipes.online.minibatches import MinibatchLoop as MinibatchLoop
from typedloops.recipes.online.online_loop import OnlineLoop as OnlineLoop
from typedloops.recipes.online.policy_gradient import ActorCritic as ActorCritic
from typedloops.recipes.online.policy_gradient import PolicyGradientLoop as PolicyGradientLoop
from typedloops.recipes.online.policy_gradient import PolicySamples as PolicySamples
from typedloops.recipes.online.policy_gradient import clipped_surrogate as clipped_surrogate
from typedloops.recipes.online.policy_gradient import generalized_advantages as generalized_advantages
from typedloops.recipes.online.rollout import Rollout as Rollout
from typedloops.recipes.online.rollout import Transitions as Transitions
