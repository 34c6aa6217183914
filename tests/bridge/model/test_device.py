from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bridge.common.errors import InputError
from bridge.model.checkpoint import load
from bridge.model.device import usable

# No machine has so many.
ABSENT = ("nonsense", "", "meta", "cuda:99", "mps:7")


@pytest.mark.parametrize("device", ABSENT)
def test_what_cannot_compute_is_refused_before_a_network_is_loaded(
    device: str, tmp_path: Path
) -> None:
    # The name of the option stands for the parameter where a command prints it.
    with pytest.raises(InputError, match=f"^`device` is '{device}', .* choose one of cpu[^\n]*$"):
        load(tmp_path / "missing", device)


def test_what_can_compute_is_taken() -> None:
    assert usable("cpu") == usable(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="choose one of cpu"):
        usable("cuda")
