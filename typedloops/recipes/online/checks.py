"""What the loops here ask of their settings."""

from __future__ import annotations

from typedloops.errors import ConfigurationError


def check_positive(where: str, value: object) -> None:
    """Raise `ConfigurationError` unless `value` is a whole number above 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(where, f"{value!r} is no number of them", "Give 1 or more.")
