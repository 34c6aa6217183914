from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from bridge.common.cli import told_os_error
from pipelines.stages.train_worker import SPARE_BYTES, require_room


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder with a file of a byte."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "model").write_bytes(b"m")
    return folder


def test_a_checkpoint_that_fits_may_be_kept(checkpoint: Path, tmp_path: Path) -> None:
    require_room(checkpoint, str(tmp_path))


def test_a_checkpoint_is_not_begun_without_room(checkpoint: Path, tmp_path: Path) -> None:
    # More by half than is free, and none of it written.
    free = shutil.disk_usage(tmp_path).free
    os.truncate(checkpoint / "model", min(free * 3 // 2 + SPARE_BYTES, 2**43))
    with pytest.raises(OSError) as raised:
        require_room(checkpoint, str(tmp_path))
    assert raised.value.errno == errno.ENOSPC
    told = told_os_error(raised.value)
    assert told is not None
    assert told.startswith(f"{tmp_path}/checkpoints: there is no room left. What was finished is")
