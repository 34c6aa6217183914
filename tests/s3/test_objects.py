"""Single objects: what they cost, and what becomes of them where requests fail."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from bridge.common import storage
from bridge.dataset.manifest import Manifest
from tests.s3.server import Proxy

pytestmark = pytest.mark.xdist_group("s3")

LARGE = 11_000_000
"""Bytes of an object that Arrow uploads in parts."""


def test_a_small_object_is_one_request(s3_proxy: Proxy, s3_folder: str) -> None:
    storage.write_json(f"{s3_folder}/a.json", {"a": 1})
    assert s3_proxy.of("a.json") == ["PUT"]
    assert storage.read_json(f"{s3_folder}/a.json") == {"a": 1}
    assert s3_proxy.of("a.json") == ["PUT", "HEAD", "GET"]
    # The client asks once whether there is such a bucket.
    assert s3_proxy.requests[0] == ("HEAD", "/bridge")
    assert len(s3_proxy.requests) == 4


def test_a_large_object_is_uploaded_in_parts(s3_proxy: Proxy, s3_folder: str) -> None:
    data = np.random.default_rng(0).bytes(LARGE)
    storage.write_bytes(f"{s3_folder}/large", data)
    assert sorted(s3_proxy.of("large")) == ["POST", "POST", "PUT", "PUT"]
    assert storage.sha256_file(f"{s3_folder}/large") == storage.sha256(data)
    assert s3_proxy.of("large").count("GET") == 1
    assert storage.file_size(f"{s3_folder}/large") == LARGE


def test_an_interrupted_upload_leaves_the_old_object(s3_folder: str) -> None:
    path = f"{s3_folder}/index.faiss"
    storage.write_bytes(path, b"old")
    with pytest.raises(KeyboardInterrupt), storage.replaced(path) as temporary:
        Path(temporary).write_bytes(b"ha")
        raise KeyboardInterrupt
    assert storage.read_bytes(path) == b"old" and not Path(temporary).exists()
    with storage.replaced(path) as temporary:
        Path(temporary).write_bytes(b"new")
    assert storage.read_bytes(path) == b"new" and not Path(temporary).exists()


def test_nothing_is_lost_where_requests_fail(s3_proxy: Proxy, s3_folder: str) -> None:
    s3_proxy.share = 0.1
    rng = np.random.default_rng(0)
    written = {f"{number:03d}": rng.bytes(100 + number) for number in range(80)}
    written |= {f"large-{number}": rng.bytes(LARGE) for number in range(2)}

    def there_and_back(name: str) -> bool:
        storage.write_bytes(f"{s3_folder}/{name}", written[name])
        return storage.read_bytes(f"{s3_folder}/{name}") == written[name]

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(there_and_back, written))
    assert s3_proxy.spoilt.keys() == {"503", "reset", "lost", "late"}
    s3_proxy.share = 0.0
    assert storage.list_files(s3_folder) == [f"{s3_folder}/{name}" for name in sorted(written)]


def test_a_listing_goes_on_beyond_a_thousand(
    s3_server: str, s3_proxy: Proxy, s3_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number:04d}" for number in range(2000)]
    with monkeypatch.context() as patch, ThreadPoolExecutor(16) as pool:
        patch.setenv("AWS_ENDPOINT_URL", s3_server)
        list(pool.map(lambda name: storage.write_bytes(f"{s3_folder}/{name}", b""), names))
    assert storage.list_files(s3_folder) == [f"{s3_folder}/{name}" for name in names]
    assert len(s3_proxy.requests) <= 4
    storage.delete_folder(s3_folder)
    assert not storage.exists(f"{s3_folder}/0000") and storage.list_files(s3_folder) == []
    storage.delete_folder(s3_folder)


def test_names_are_what_they_are(s3_folder: str) -> None:
    for name in ("a b", "ü.json", "a%20b", "what?.jpg", "a+b", "a#b", "a=b&c"):
        storage.write_bytes(f"{s3_folder}/{name}", name.encode())
        assert storage.read_bytes(f"{s3_folder}/{name}") == name.encode()


def test_an_endpoint_may_be_part_of_a_name(
    s3_proxy: Proxy, s3_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    root = storage.absolute(f"{s3_folder}?endpoint_override={s3_proxy.endpoint}&region=us-east-1")
    Manifest("dataset", {}, {}).save(root)
    assert storage.exists(storage.join(root, "manifest.json"))
    assert [Path(path).name for path in storage.list_files(root)] == ["manifest.json"]


def _read(uri: str) -> bytes:
    return storage.read_bytes(uri)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_have_clients_of_their_own(s3_folder: str, method: str) -> None:
    storage.write_bytes(f"{s3_folder}/a", b"content")
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(_read, [f"{s3_folder}/a"] * 4) == [b"content"] * 4
    assert storage.read_bytes(f"{s3_folder}/a") == b"content"


def test_a_client_is_sent_without_secrets_and_opened_anew(s3_proxy: Proxy, s3_folder: str) -> None:
    client, inner = storage.filesystem(s3_folder)
    sent = pickle.dumps(client)
    assert b"secret" not in sent and b"user-of" not in sent
    # In one process it is the same one, which has its limits and attempts.
    assert pickle.loads(sent) is client and storage.filesystem(f"{s3_folder}/x")[0] is client
    with client.open_output_stream(f"{inner}/a") as stream:
        stream.write(b"1")
    assert s3_proxy.of("/a") == ["PUT"] and storage.read_bytes(f"{s3_folder}/a") == b"1"
