"""Helpers of `ManualModule` used wrongly."""

from __future__ import annotations

from typedloops import ManualModule


def use(module: ManualModule) -> None:
    module.optimizer("first")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    module.optimizers()[0].step(lambda: 0.5)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]
    module.optimizers()[0].steps = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    module.lr_schedulers()[0].step_size = 2  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue]
    module.manual_backward(0.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    module.toggled(0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    module.clip_gradients(module.optimizer(), 1.0, "l1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
