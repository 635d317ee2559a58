"""Optional dependencies."""

from __future__ import annotations

from importlib.util import find_spec

from typedloops.errors import MissingExtraError


def require(package: str, extra: str, needed_by: str) -> None:
    """Raise `MissingExtraError`, which names the extra, unless `package` is installed."""
    if find_spec(package) is None:
        raise MissingExtraError(
            needed_by, f"it needs the package {package}", f"Install it: pip install 'typedloops[{extra}]'."
        )
