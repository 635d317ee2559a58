# mypy: disable-error-code=explicit-any
"""The one place that says `Any`, for what is related anew at each call and has no type in between."""

from __future__ import annotations

from typing import Any, TypeAlias

Anything: TypeAlias = Any
