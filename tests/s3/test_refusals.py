"""What a store refuses is told in a sentence, with exit code 2."""

from __future__ import annotations

import socket
import time

import pyarrow.fs as pafs
import pytest

from bridge.common import cli, object_store, storage
from bridge.common.errors import StoreError
from tests.s3.server import ADMIN, BUCKET, READER, USER, Proxy, environment

pytestmark = pytest.mark.xdist_group("s3")


@pytest.fixture
def use(s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What changes the environment that names the store and its user."""
    return monkeypatch


def become(patch: pytest.MonkeyPatch, keys: tuple[str, str], endpoint: str | None = None) -> None:
    """Use the store as another user, or another store."""
    for name, value in environment(keys, endpoint or "").items():
        if value:
            patch.setenv(name, value)


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ((USER[0], "another-secret-0123456789"), "SIGNATURE_DOES_NOT_MATCH"),
        (("nobody-of-the-tests", USER[1]), "INVALID_ACCESS_KEY_ID"),
    ],
)
def test_wrong_credentials(
    use: pytest.MonkeyPatch, s3_folder: str, keys: tuple[str, str], name: str
) -> None:
    become(use, keys)
    told = rf"{s3_folder}.*: the object store refuses the credentials \({name}\)"
    for ask in (storage.exists, storage.read_json, storage.prepare_output, storage.list_files):
        with pytest.raises(StoreError, match=told):
            ask(s3_folder)


@pytest.mark.parametrize("keys", [ADMIN, USER])
def test_a_missing_bucket_is_told_and_not_made(
    use: pytest.MonkeyPatch, s3_server: str, keys: tuple[str, str]
) -> None:
    become(use, keys)
    # Who may not ask whether a bucket is there is told that.
    told = (
        "There is no bucket missing at http"
        if keys == ADMIN
        else "s3://missing/a.*permission is denied"
    )
    for ask in (storage.prepare_output, storage.exists, storage.list_files):
        with pytest.raises(StoreError, match=told):
            ask("s3://missing/a")
    with pytest.raises(StoreError, match=told):
        storage.write_bytes("s3://missing/a", b"")
    admin = pafs.S3FileSystem(
        access_key=ADMIN[0], secret_key=ADMIN[1], endpoint_override=s3_server, region="us-east-1"
    )
    assert admin.get_file_info("missing").type == pafs.FileType.NotFound


def test_no_permission(use: pytest.MonkeyPatch, s3_folder: str) -> None:
    storage.write_bytes(f"{s3_folder}/a", b"1")
    become(use, READER)
    assert storage.read_bytes(f"{s3_folder}/a") == b"1"
    for write in (storage.prepare_output, lambda path: storage.write_bytes(path, b"2")):
        with pytest.raises(StoreError, match=rf"{s3_folder}/a.*: permission is denied"):
            write(f"{s3_folder}/a")
    assert storage.read_bytes(f"{s3_folder}/a") == b"1"


@pytest.mark.parametrize("listens", [True, False])
def test_a_store_out_of_reach(
    use: pytest.MonkeyPatch, s3_folder: str, listens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "ATTEMPTS", 2)
    monkeypatch.setattr(object_store, "REQUEST_SECONDS", 1.0)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        if listens:
            # Takes connections, and never answers.
            nobody.listen()
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        become(use, USER, endpoint)
        started = time.monotonic()
        with pytest.raises(StoreError, match=rf"s3://{BUCKET}.* at {endpoint} is out of reach"):
            storage.exists(s3_folder)
        assert time.monotonic() - started < 60


def test_a_command_ends_with_code_2_whoever_asked(
    use: pytest.MonkeyPatch, s3_folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    become(use, READER)
    client, inner = storage.filesystem(s3_folder)

    def write() -> None:
        with client.open_output_stream(f"{inner}/a") as stream:
            stream.write(b"1")

    with pytest.raises(SystemExit) as end:
        cli.guarded(write)
    assert end.value.code == 2
    assert f"{s3_folder}/a: permission is denied" in capsys.readouterr().err
