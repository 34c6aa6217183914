"""Reading named tensors: nothing runs code, and every wrong file is refused in a sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bridge.common.errors import InputError
from bridge.model.weights import load_exactly, pair_in_order, parse_tensors, read_tensors


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


def test_both_formats(tmp_path: Path) -> None:
    tensors = {"a": torch.rand(2, 3), "b": torch.arange(4)}
    torch.save(tensors, tmp_path / "bare.pth")
    torch.save({"epoch": 1, "model_state": tensors}, tmp_path / "checkpoint.pkl")
    safetensors.torch.save_file(tensors, tmp_path / "x.safetensors")
    for name in ("bare.pth", "checkpoint.pkl", "x.safetensors"):
        read = read_tensors(tmp_path / name)
        assert read.keys() == tensors.keys()
        assert all(torch.equal(read[k], v) for k, v in tensors.items())


def test_code_in_a_file_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model_state": Malicious()}, "bad.pkl")
    with pytest.raises(InputError, match="not a file of weights"):
        read_tensors("bad.pkl")
    assert not Path("executed").exists()


@pytest.mark.parametrize("content", [{}, [1, 2], {"a": 1}, {1: torch.zeros(1)}, torch.zeros(2)])
def test_files_without_named_tensors(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(InputError, match="holds"):
        read_tensors(tmp_path / "x.pth")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing"):
        read_tensors(tmp_path / "none.pth")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["x.pth", "x.safetensors"]))
def test_any_bytes_give_tensors_or_one_sentence(data: bytes, name: str) -> None:
    try:
        tensors = parse_tensors(data, name)
    except InputError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
    else:
        assert all(isinstance(value, torch.Tensor) for value in tensors.values())


def test_a_module_is_unchanged_by_a_refused_file() -> None:
    layer = nn.Linear(2, 3)
    before = layer.weight.clone()
    with pytest.raises(InputError, match="1 missing.*bias.*1 unexpected.*other"):
        load_exactly(layer, {"weight": torch.zeros(3, 2), "other": torch.zeros(1)}, "x.pth")
    assert torch.equal(layer.weight, before)


def test_counters_of_batch_norm_may_be_missing() -> None:
    layer = nn.BatchNorm2d(3)
    tensors = {k: v + 2 for k, v in layer.state_dict().items() if k != "num_batches_tracked"}
    load_exactly(layer, tensors, "x.pth")
    assert (layer.running_mean == 2).all()


def test_pairing_by_position() -> None:
    tensors = {"x.weight": torch.zeros(1), "x.bias": torch.ones(1)}
    assert list(pair_in_order(tensors, ["y.weight", "y.bias"], "x.pth")) == ["y.weight", "y.bias"]
    for names in (["y.bias", "y.weight"], ["y.weight"]):
        with pytest.raises(InputError, match="in its order"):
            pair_in_order(tensors, names, "x.pth")
