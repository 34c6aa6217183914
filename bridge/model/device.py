"""Where a network can run."""

from __future__ import annotations

import torch

from bridge.common.errors import InputError


def usable(device: str | torch.device) -> torch.device:
    """The device; InputError where PyTorch cannot compute on it here.

    What it says of that goes on over many lines, and names its other devices, most of which are
    not here either.
    """
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).item()
        torch.autocast(found.type, torch.bfloat16)
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        gpus = torch.cuda.device_count()
        known = ", ".join(["cpu", *(f"cuda:{number}" for number in range(gpus))])
        raise InputError(
            f"`device` is {str(device)!r}, which cannot be used here: choose one of {known}."
        ) from error
    return found
