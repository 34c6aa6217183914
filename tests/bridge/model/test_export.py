"""What is exported computes what the network does, and comes back as it was."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch

import bridge
from bridge.common.errors import Failed, InputError
from bridge.model import export
from bridge.model.config import PAPER
from bridge.model.export import CONFIG_KEY, exported
from bridge.model.method import RetrievalModel
from bridge.model.network import Bridge

SMALL = {"backbone": "tf_efficientnet_lite0", "image_size": (30, 40), "descriptor_dim": 8}
OURS = {"norm": "folded", "cls_dim": 8, "aux_dim": 6, "aux_hidden": 4}


def network(method: str) -> RetrievalModel:
    torch.manual_seed(3)
    options = {"bridge": OURS, "token": {"width": 16}, "dolg": {"local_dim": 12}}
    model = bridge.create_model(method, num_classes=3, **SMALL, **options.get(method, {}))
    return model.eval()


def pictures(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 30, 40)


@pytest.mark.parametrize("method", ["bridge", "delg", "dolg", "token"])
def test_onnx_gives_the_same_descriptors_of_any_number_of_images(method: str) -> None:
    model = network(method)
    session = onnxruntime.InferenceSession(exported(model, "onnx"))
    (taken,) = session.get_inputs()
    assert taken.name == "images" and list(taken.shape[1:]) == [3, 30, 40]
    names = [output.name for output in session.get_outputs()]
    for count in (1, 5):
        images = pictures(count)
        found = dict(zip(names, session.run(None, {"images": images.numpy()}), strict=True))
        said = model.describe(images)
        np.testing.assert_allclose(found["descriptor"], said.descriptor, atol=1e-4)
        if method == "bridge":
            np.testing.assert_allclose(found["visibility"], said.visibility, atol=1e-4)
            np.testing.assert_allclose(found["box"], said.box, atol=1e-4)
        else:
            assert names == ["descriptor"]


@pytest.mark.parametrize("method", ["bridge", "token"])
def test_torchscript_needs_torch_alone(method: str) -> None:
    model = network(method)
    again = torch.jit.load(io.BytesIO(exported(model, "torchscript")))
    for count in (1, 4):
        images = pictures(count)
        torch.testing.assert_close(again(images)[0], model.embed(images), rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["bridge", "dolg"])
def test_one_safetensors_file_is_the_model_to_the_last_bit(method: str, tmp_path: Path) -> None:
    model = network(method)
    file = tmp_path / "model.safetensors"
    file.write_bytes(exported(model, "safetensors"))
    loaded = bridge.load(file)
    assert loaded.config == model.config and type(loaded) is type(model)
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())
    assert exported(loaded, "safetensors") == file.read_bytes()


def test_the_authors_checkpoint_has_their_names_and_comes_back_equal(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Bridge(PAPER).eval()
    file = tmp_path / "best.pkl"
    file.write_bytes(exported(model, "authors"))
    state = torch.load(file, weights_only=True)["model_state"]
    # As many as in the published one.
    assert len(state) == 74 and next(iter(state)) == "blur_encoder.net.0.0.weight"
    loaded = bridge.load(file)
    assert isinstance(loaded, Bridge)
    ours = model.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in loaded.state_dict().items())
    assert exported(loaded, "authors") == file.read_bytes()


def test_only_the_published_network_has_the_authors_form() -> None:
    with pytest.raises(InputError, match="own architecture"):
        exported(network("bridge"), "authors")
    with pytest.raises(InputError, match="holds BRIDGE, not delg"):
        exported(network("delg"), "authors")


def test_what_computes_something_else_is_not_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    for kind in ("onnx", "torchscript"):
        with pytest.raises(Failed, match="something else"):
            exported(network("bridge"), kind)  # type: ignore[arg-type]


def test_without_onnx_a_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"bridge-retrieval\[onnx\]"):
        exported(network("bridge"), "onnx")


@pytest.mark.parametrize(
    "described",
    ["[]", "{}", "not json", '{"method": 1, "model": {}}', '{"method": "x", "model": {}}'],
)
def test_a_file_that_describes_no_network_is_refused(described: str, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(safetensors.torch.save({"a": torch.zeros(2)}, {CONFIG_KEY: described}))
    with pytest.raises(InputError, match="model.safetensors"):
        bridge.load(file)


def test_a_model_is_saved_and_loaded_by_its_class(tmp_path: Path) -> None:
    model = network("bridge")
    model.save_pretrained(tmp_path / "model")
    loaded = Bridge.from_pretrained(tmp_path / "model")
    images = pictures(2)
    assert torch.equal(loaded.embed(images), model.embed(images))
    assert type(RetrievalModel.from_pretrained(tmp_path / "model")) is Bridge
    with pytest.raises(InputError, match="holds the method bridge"):
        type(network("delg")).from_pretrained(tmp_path / "model")
