"""What `on_save_checkpoint` adds to a checkpoint."""

from __future__ import annotations


class Custom(dict[str, object]):
    """What listeners have put in, and nothing else: where weights are looked for, it says where those are."""

    def __missing__(self, key: str) -> object:
        """Say why it is not there.

        Raises:
            KeyError: Always.
        """
        raise KeyError(
            f"{key!r} is not in it: here is only what `on_save_checkpoint` puts in. Weights, optimizers, schedulers, "
            "loops and the states of callbacks are saved by themselves"
        )
