"""The weights of a module from whatever they were saved in."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tests.checkpoint.contents import FORMATS, same
from typedloops.checkpoint import load_weights
from typedloops.errors import CheckpointError


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.state_dict())


SAVED: dict[str, Callable[[nn.Module, Path], object]] = {
    "folder": lambda model, path: FORMATS["folder"].save(path, {"loops": 1, "module": model.state_dict()}),
    "distributed": lambda model, path: FORMATS["distributed"].save(path, {"loops": 1, "module": model.state_dict()}),
    "safetensors": lambda model, path: save_file(model.state_dict(), path),
    "torch": lambda model, path: torch.save(model.state_dict(), path),
    "torch, with more": lambda model, path: torch.save({"state_dict": model.state_dict(), "epoch": 3}, path),
    "torch, as it was": lambda model, path: torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False),
}


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt", "weights", "weights.ckpt"])
@pytest.mark.parametrize("saved", SAVED)
def test_what_it_is_is_seen_from_the_content(model: nn.Module, tmp_path: Path, saved: str, name: str) -> None:
    SAVED[saved](model, tmp_path / name)
    weights = load_weights(tmp_path / name)
    assert same(dict(sorted(weights.items())), dict(sorted(weights_of(model).items())))
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    other.load_state_dict(load_weights(str(tmp_path / name)))
    assert same(weights_of(other), weights_of(model))
    (tmp_path / "last").symlink_to(tmp_path / name)
    assert same(load_weights(tmp_path / "last"), weights)


class Extra(nn.Linear):
    """Adds something to its weights."""

    def __init__(self, extra: object) -> None:
        super().__init__(2, 2)
        self.extra = extra

    def get_extra_state(self) -> object:
        return self.extra

    def set_extra_state(self, state: object) -> None:
        self.extra = state


@pytest.mark.parametrize("saved", ["folder", "distributed", "torch"])
def test_what_is_added_to_weights_and_is_no_tensor_is_left_out(tmp_path: Path, saved: str) -> None:
    model = nn.Sequential(Extra({"calls": 3}), Extra(torch.ones(2)))
    SAVED[saved](model, tmp_path / "a")
    weights = load_weights(tmp_path / "a")
    assert set(weights) == {"0.weight", "0.bias", "1.weight", "1.bias", "1._extra_state"}
    other = nn.Sequential(Extra(None), Extra(None))
    other.load_state_dict(weights, strict=False)
    assert torch.equal(model.get_parameter("0.weight"), other.get_parameter("0.weight"))
    assert isinstance(other[1].extra, Tensor)


def lightning_checkpoint(folder: Path) -> tuple[nn.Module, Path]:
    """What Lightning makes: a module with hyperparameters, trained for two steps with a ModelCheckpoint."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightning.pytorch as pl
        from lightning.pytorch.callbacks import ModelCheckpoint

        class Classifier(pl.LightningModule):
            def __init__(self, width: int = 4, name: str = "small", rates: tuple[float, ...] = (0.1, 0.2)) -> None:
                super().__init__()
                self.save_hyperparameters()
                self.net = nn.Linear(3, width)

            def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
                loss: Tensor = self.net(batch[0]).square().mean()
                self.log("loss", loss)
                return loss

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return torch.optim.Adam(self.parameters())

        model = Classifier()
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[ModelCheckpoint(folder, monitor="loss")],
        )
        trainer.fit(model, DataLoader(TensorDataset(torch.randn(4, 3)), batch_size=2))
    (file,) = folder.glob("*.ckpt")
    return model, file


def test_a_checkpoint_of_lightning(tmp_path: Path) -> None:
    model, file = lightning_checkpoint(tmp_path)
    assert same(load_weights(file), weights_of(model))


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as told:
        load_weights(path)
    return str(told.value)


class Configuration:
    """Something that somebody saved along with the weights."""

    ran = False

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return run, ()


def run() -> None:
    Configuration.ran = True


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_file_is_run(model: nn.Module, tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "a.ckpt"
    torch.save(
        {"state_dict": model.state_dict(), "hyper_parameters": Configuration()},
        path,
        _use_new_zipfile_serialization=zipped,
    )
    name = f"{run.__module__}.run"
    assert refused(path) == (
        f"{path}: a {name} is in it, which is made by running what the file says, so it is not read. "
        f"If you trust the file, call torch.serialization.add_safe_globals([{name}]) before; "
        "or load it with torch.load(..., weights_only=False) and save its state_dict() alone."
    )
    assert not Configuration.ran


def test_a_whole_module(model: nn.Module, tmp_path: Path) -> None:
    torch.save(model, tmp_path / "model.pt")
    assert "a torch.nn.modules.container.Sequential is in it" in refused(tmp_path / "model.pt")


def test_an_old_torch_is_not_trusted(model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(model.state_dict(), tmp_path / "a.pt")
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    assert refused(tmp_path / "a.pt") == (
        f"{tmp_path / 'a.pt'}: with torch 2.5.1+cpu a file made by torch.save may run code when it is read. "
        "Install torch 2.6 or later, or save the weights with safetensors."
    )


def test_not_only_weights(model: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"model": model.state_dict(), "epoch": 3}, path)
    assert refused(path) == (
        f"{path}: not only weights are in it, 'model' is a OrderedDict. "
        "Load it with torch.load(..., weights_only=True) and take what you need of: 'model', 'epoch'."
    )
    torch.save({str(i): 1 for i in range(100)}, path)
    assert refused(path) == f"{path}: not only weights are in it, '0' is a int. Save a state_dict() of tensors alone."
    torch.save(torch.ones(2), path)
    assert refused(path) == f"{path}: a Tensor is in it, not the weights of a module. Save a state_dict()."


def test_where_there_is_nothing(tmp_path: Path) -> None:
    assert (
        refused(tmp_path / "a.pt") == f"{tmp_path / 'a.pt'}: there is nothing. Give a checkpoint or a file of weights."
    )
    (tmp_path / "folder").mkdir()
    assert "there is no checkpoint: it has no manifest.json" in refused(tmp_path / "folder")


def test_a_checkpoint_without_a_module(tmp_path: Path) -> None:
    FORMATS["folder"].save(tmp_path / "a", {"loops": 1})
    assert "it has no part 'module'. Ask for one of these: loops." in refused(tmp_path / "a")
    FORMATS["folder"].save(tmp_path / "a", {"module": [1]})
    assert "a list is in it, not the weights of a module" in refused(tmp_path / "a")


@pytest.mark.parametrize("content", [b"", b"text", b"12345678{", b"\x80", b"PK\x03\x04", b"\x80\x02}q\x00."])
def test_files_of_something_else(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    refused(tmp_path / "a.pt")


@pytest.mark.parametrize("saved", [name for name in SAVED if name not in FORMATS])
def test_files_cut_short(model: nn.Module, tmp_path: Path, saved: str) -> None:
    path = tmp_path / "a.pt"
    SAVED[saved](model, path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        assert refused(path).startswith(f"{path}: ")
