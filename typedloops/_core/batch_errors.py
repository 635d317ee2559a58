"""What both cores say of a batch that is none."""

from __future__ import annotations

from typedloops.errors import LoaderError


def none_batch(source: str, index: int) -> LoaderError:
    return LoaderError(
        source,
        f"batch {index} is None",
        "Yield batches only: drop the item in the dataset or in `collate_fn` instead of giving None.",
    )
