"""The tree of each recipe, as its page shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from typedloops import Loop

RECIPE_TREES: Mapping[str, Callable[[], Loop[..., object]]] = {}
"""By the name of the page, what makes the loop."""
