"""One command at a time works in a folder of a store."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bridge.common import storage
from bridge.common.errors import InputError
from pipelines.stages.claim import claimed
from pipelines.stages.lease import leased
from tests.kills import ROOT
from tests.s3.server import Proxy

pytestmark = pytest.mark.xdist_group("s3")

DRIVERS = 4
HOLD = """
import signal, sys
from pipelines.stages.claim import claimed
with claimed(sys.argv[1]):
    print("claimed", flush=True)
    signal.pause()
"""


def test_of_drivers_that_come_at_once_one_goes_on(s3_proxy: Proxy, s3_folder: str) -> None:
    s3_proxy.share = 0.02
    ended = threading.Barrier(DRIVERS, timeout=120)

    def drive(_: int) -> bool:
        try:
            with leased(s3_folder):
                ended.wait()
            return True
        except InputError:
            ended.wait()
            return False

    with ThreadPoolExecutor(DRIVERS) as pool:
        for _ in range(3):
            assert sum(pool.map(drive, range(DRIVERS))) == 1
    assert storage.list_files(s3_folder) == []


def test_the_second_is_told_who_works_there_until_that_one_ends(s3_folder: str) -> None:
    command = [sys.executable, "-c", HOLD, s3_folder]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None and other.stdout.readline() == "claimed\n"
            told = f"{s3_folder} is in use by .*process {other.pid} on "
            with pytest.raises(InputError, match=told), claimed(s3_folder):
                pass
        finally:
            other.kill()
    with claimed(s3_folder) as folder:
        assert folder == s3_folder and len(storage.list_files(folder)) == 1
    assert storage.list_files(s3_folder) == []
