"""Successive halving: many trainings begin, the weak are stopped early, the best goes to the end."""

from __future__ import annotations

from typedloops.recipes.successive_halving.default_loop import SuccessiveHalvingLoop as SuccessiveHalvingLoop
from typedloops.recipes.successive_halving.loop import SuccessiveHalvingLoopOf as SuccessiveHalvingLoopOf
from typedloops.recipes.successive_halving.result import Candidate as Candidate
from typedloops.recipes.successive_halving.result import Rung as Rung
from typedloops.recipes.successive_halving.result import SuccessiveHalvingResult as SuccessiveHalvingResult
from typedloops.recipes.successive_halving.result import rungs as rungs
