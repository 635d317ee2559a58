"""What both cores say of batches and limits that cannot be."""

from __future__ import annotations

from typedloops.errors import ConfigurationError, LoaderError


def none_batch(source: str, index: int) -> LoaderError:
    return LoaderError(
        source,
        f"batch {index} is None",
        "Yield batches only: drop the item in the dataset or in `collate_fn` instead of giving None.",
    )


def check_counts(source: str, *, length: int | None, limit: int | None, max_steps: int | None) -> None:
    """Raise `ConfigurationError` for a number of batches or steps below 0."""
    for name, count in (("length", length), ("limit", limit), ("max_steps", max_steps)):
        if count is not None and count < 0:
            raise ConfigurationError(f"{source}: {name}", f"{count} is negative", "Give a count, or None for no limit.")
