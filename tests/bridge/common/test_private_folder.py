from __future__ import annotations

import os
from pathlib import Path

import pytest

from bridge.common.errors import InputError
from bridge.common.private_folder import private_folder


def test_it_is_made_for_this_user_alone(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "a" / "b", "Choose.")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert private_folder(folder, "Choose.") == folder


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_one_that_others_can_write_in_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(InputError, match="Others can write in .* Choose."):
        private_folder(tmp_path, "Choose.")


def test_links_and_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="somebody else"):
        private_folder(tmp_path / "link", "Choose.")
    with pytest.raises(InputError, match="cannot be used"):
        private_folder(tmp_path / "file", "Choose.")


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_one_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(InputError, match="somebody else"):
        private_folder(folder, "Choose.")
