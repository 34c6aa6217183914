"""What Arrow's errors mean; a real server gives the most usual ones in `tests/s3`."""

from __future__ import annotations

import errno

import pytest

from bridge.common.errors import InputError
from bridge.common.object_store import store_error
from bridge.common.reading import reading

AT = "When reading information for key 'data/a' in bucket 'mine': AWS Error "


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            f"{AT}NETWORK_CONNECTION during HeadObject operation: curlCode: 28, Timeout was "
            "reached; Details: ...",
            "s3://mine/data/a: the object store at AWS is out of reach (Timeout was reached).",
        ),
        (
            f"{AT}UNKNOWN (HTTP status 301) during HeadObject operation: No response body.",
            "s3://mine/data/a: the object store at AWS answers UNKNOWN, HTTP status 301.",
        ),
        (
            f"{AT}EXPIRED_TOKEN during GetObject operation: The token has expired.",
            "s3://mine/data/a: the object store refuses the credentials (EXPIRED_TOKEN): see",
        ),
        (
            f"{AT}ACCESS_DENIED during GetObject operation: Access Denied.",
            "s3://mine/data/a: permission is denied by the object store (GetObject).",
        ),
        ("Bucket 'mine' not found", "There is no bucket mine: make it first"),
    ],
)
def test_errors_of_stores(message: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    assert str(store_error(OSError(message))).startswith(told)
    # What is read is not called damaged.
    with pytest.raises(InputError, match="^(?!.*damaged)"), reading("s3://mine/data/a"):
        raise OSError(message)


def test_other_errors_are_none_of_a_store() -> None:
    assert store_error(OSError(errno.ENOSPC, "No space left on device", "a")) is None
    with pytest.raises(InputError, match="a is damaged"), reading("a"):
        raise OSError("something else")
