"""Values of a run that are kept as they are: odd numbers, odd batches, what modules and optimizers hold besides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR, MultiStepLR, SequentialLR

from tests.modules import Classifier, batches
from tests.saving.test_saved_runs import Trainer, same, save_at


def goes_on_exactly(
    path: Path,
    make: Callable[[], nn.Module],
    *,
    batch: int = 3,
    data: Callable[[], object] = batches,
    settings: Callable[[], dict[str, Any]] = dict,
    **fit: Any,
) -> tuple[Any, Any]:
    """Fit, and fit in two processes' stead; the module of each, once they are seen to be the same.

    Args:
        path: Where to save.
        make: Makes the module.
        batch: After which batch of all to save.
        data: Makes the loader.
        settings: Makes settings of the trainer.
        fit: Arguments of the fit that goes on.
    """
    torch.manual_seed(1)
    whole = make()
    expected = Trainer(**{"max_epochs": 2, **settings()}).fit(whole, data())
    torch.manual_seed(1)
    save_at(path, batch, lambda trainer: trainer.fit(make(), data()), **settings())
    torch.manual_seed(99)
    other = make()
    result = Trainer(**{"max_epochs": 2, **settings()}).fit(other, data(), ckpt_path=path, **fit)
    assert result == expected
    assert same(whole, other)
    return whole, other


# Numbers and counters


class Scheduled(Classifier):
    """Has a learning rate of NumPy, and schedulers one after the other."""

    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), lr=np.float64(0.1))
        steps = SequentialLR(optimizer, [ConstantLR(optimizer, 0.5, 2), MultiStepLR(optimizer, [1, 3])], [2])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": steps, "interval": "step"}}


def test_a_learning_rate_of_numpy_and_the_counter_of_a_scheduler(tmp_path: Path) -> None:
    goes_on_exactly(tmp_path / "c", Scheduled)
