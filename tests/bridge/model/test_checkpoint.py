"""MODEL folders: what is written is what is read, and nothing else is accepted."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import bridge
from bridge.common.errors import InputError
from bridge.model.checkpoint import load, save_model
from bridge.model.config import BridgeConfig
from bridge.model.folder import model_sha256, read_config
from bridge.model.network import Bridge

CONFIG = BridgeConfig(
    backbone="resnet18",
    image_size=(32, 48),
    norm="batch",
    heads=("cls", "loc"),
    cls_dim=8,
    aux_dim=6,
    aux_hidden=4,
    descriptor_dim=5,
    num_classes=3,
    classifier="arcface",
)


@pytest.fixture(scope="module")
def model() -> Bridge:
    torch.manual_seed(1)
    return Bridge(CONFIG).train()


@pytest.fixture
def folder(model: Bridge, tmp_path: Path) -> Path:
    save_model(model, tmp_path / "model", extra={"classes": ["a", "b", "c"], "step": 7})
    return tmp_path / "model"


def test_round_trip(model: Bridge, folder: Path) -> None:
    loaded = load(folder)
    assert loaded.config == CONFIG and not loaded.training and model.training
    state = model.state_dict()
    assert loaded.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())
    images = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    assert torch.equal(loaded.embed(images), model.embed(images))


def test_the_folder_describes_itself(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors",
        "config.json",
        "README.md",
    }
    config = read_config(folder)
    assert config["classes"] == ["a", "b", "c"] and config["step"] == 7
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert model_sha256(folder) == config["weights_sha256"] == digest
    card = (folder / "README.md").read_text()
    assert digest in card and "resnet18" in card and "32 x 48" in card and "cls, loc" in card


def test_the_hash_is_that_of_the_weights_alone(model: Bridge, folder: Path, tmp_path: Path) -> None:
    save_model(model, tmp_path / "again")
    assert model_sha256(tmp_path / "again") == model_sha256(folder)
    other = Bridge(CONFIG)
    save_model(other, tmp_path / "other")
    assert model_sha256(tmp_path / "other") != model_sha256(folder)


def test_saving_again_replaces(folder: Path) -> None:
    other = Bridge(CONFIG)
    save_model(other, folder)
    assert torch.equal(load(folder).fuse.weight, other.fuse.weight)
    assert "classes" not in read_config(folder)


def test_extra_cannot_replace_the_configuration(model: Bridge, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="weights_sha256"):
        save_model(model, tmp_path / "model", extra={"weights_sha256": "0"})
    assert not (tmp_path / "model").exists()


def flip_a_weight(folder: Path) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)


def change_config(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config["model"] |= changes
        (folder / "config.json").write_text(json.dumps(config))

    return change


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flip_a_weight, "not the file"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda f: (f / "config.json").unlink(), "config.json is missing"),
        (lambda f: (f / "config.json").write_text("{"), "not valid JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "must be an object"),
        (change_config(cls_dim=9), "do not fit the network"),
        (change_config(heads=["cls"]), "do not fit the network"),
        (change_config(color="red"), "has no options 'color'"),
        (change_config(cls_dim="9"), "cls_dim: must be a valid integer"),
    ],
)
def test_damaged_folders(folder: Path, damage: Callable[[Path], None], reason: str) -> None:
    damage(folder)
    with pytest.raises(InputError, match=reason) as error:
        load(folder)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_another_schema_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"schema_version": 99}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="another version"):
        load(folder)


def test_paths_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model at"):
        load(tmp_path / "none")
    with pytest.raises(InputError, match="holds no model"):
        load(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"not a model")
    with pytest.raises(InputError, match="not a file of weights"):
        load(tmp_path / "photo.jpg")


def test_public_names() -> None:
    assert bridge.load is load
    assert bridge.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="nonsense"):
        _ = bridge.nonsense


def test_importing_the_package_is_light() -> None:
    """Commands must be able to refuse bad arguments before the libraries load."""
    code = "import bridge, sys; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_checkpoint_file_is_named_by_its_own_hash(tmp_path: Path) -> None:
    file = tmp_path / "best.pkl"
    file.write_bytes(b"any bytes")
    assert model_sha256(file) == hashlib.sha256(b"any bytes").hexdigest()
    with pytest.raises(InputError):
        model_sha256(tmp_path / "missing.pkl")
