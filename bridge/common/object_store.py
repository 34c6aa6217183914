"""Clients of object stores, one for each bucket and process, and what their errors mean."""

from __future__ import annotations

import os
import re
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import pyarrow.fs as pafs

from bridge.common.errors import StoreError
from bridge.common.uris import Place, place_of

ATTEMPTS = 6
"""At a request that fails in a way that may pass, with growing pauses of 15 seconds in all."""
CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 20.0
"""Without a byte of an answer."""
_GS_SECONDS = 60

_REQUEST = re.compile(r"AWS Error (\w+)(?: \(HTTP status (\d+)\))? during (\w+) operation")
_BUCKET = re.compile(r"[Bb]ucket '([^']+)'")
_KEY = re.compile(r"key '([^']+)'")
_CREDENTIALS = re.compile("SIGNATURE|ACCESS_KEY|TOKEN|UNRECOGNIZED_CLIENT|AUTHENTICATION")


def client_of(uri: str) -> tuple[pafs.FileSystem, str]:
    """The Arrow filesystem of the bucket that a URI names, and the path inside it.

    Raises:
        StoreError: there is no such bucket, or nobody can be asked.
        InputError: it is no such URI.
    """
    place = place_of(uri)
    return _client(place.scheme, place.bucket, place.options, _environment(), os.getpid()), (
        place.inner
    )


def _environment() -> tuple[tuple[str, str], ...]:
    """What of the environment decides how a bucket is reached."""
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))


# Of a process each: connections cannot be shared with one that was forked.
@cache
def _client(scheme: str, bucket: str, options: Any, environment: Any, process: int) -> Any:
    place = Place(scheme, bucket, "", options)
    try:
        client = _S3(place) if scheme == "s3" else _gs(place)
        missing = client.get_file_info(bucket).type == pafs.FileType.NotFound
    except OSError as error:
        # Who may use a part of a bucket may not ask about the bucket.
        if "ACCESS_DENIED" in str(error):
            return client
        raise (store_error(error, f"{scheme}://{bucket}") or error) from error
    if missing:
        # Some stores would make one that is written to.
        raise _no_bucket(place)
    return client


def _no_bucket(place: Place) -> StoreError:
    at = _endpoint(place)
    where = f"{place.bucket} at {at}" if at and place.scheme == "s3" else place.bucket
    return StoreError(f"There is no bucket {where}: make it first, or name another.")


class _S3(pafs.S3FileSystem):  # type: ignore[misc]
    """A client that another process opens anew, with its own environment, where it is sent to.

    Arrow would send the secrets, and forget how often to try.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        super().__init__(
            **_address(place),
            connect_timeout=CONNECT_SECONDS,
            request_timeout=REQUEST_SECONDS,
            retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
            # A small object is one request, not the three of an upload in parts.
            allow_delayed_open=True,
            tls_ca_file_path=os.environ.get("AWS_CA_BUNDLE") or None,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._place,)


def _again(place: Place) -> pafs.FileSystem:
    return _client(place.scheme, place.bucket, place.options, _environment(), os.getpid())


def _endpoint(place: Place) -> str | None:
    """Where the store is; None for that of AWS."""
    return (
        dict(place.options).get("endpoint_override")
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
    )


def _address(place: Place) -> dict[str, Any]:
    """Where the bucket is, and who asks: what its options and the environment say."""
    options, known, endpoint = dict(place.options), os.environ, _endpoint(place)
    region = options.get("region") or known.get("AWS_REGION") or known.get("AWS_DEFAULT_REGION")
    found: dict[str, Any] = {}
    if endpoint:
        where = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
        found = {
            "endpoint_override": where.netloc,
            "scheme": options.get("scheme") or where.scheme or "https",
        }
    found["region"] = region or ("us-east-1" if endpoint else pafs.resolve_s3_region(place.bucket))
    return found | {"anonymous": options.get("anonymous") == "true"}


def _gs(place: Place) -> pafs.FileSystem:
    known = [(name, value) for name, value in place.options if name != "anonymous"]
    options = [*known, ("retry_limit_seconds", str(_GS_SECONDS))]
    who = "anonymous@" if ("anonymous", "true") in place.options else ""
    text = "&".join(f"{name}={value}" for name, value in options)
    return pafs.FileSystem.from_uri(f"gs://{who}{place.bucket}?{text}")[0]


def store_error(error: OSError, path: str = "") -> StoreError | None:
    """What an error of Arrow's means, in a sentence; None where it is of something else.

    Args:
        error: of any filesystem.
        path: of the file or folder, where it is known.
    """
    told = str(getattr(error, "cause", error))
    request, bucket, key = _REQUEST.search(told), _BUCKET.search(told), _KEY.search(told)
    if request is None and not (bucket and "not found" in told):
        return None
    if not path:
        path = f"s3://{bucket[1] if bucket else 'unknown'}/{key[1] if key else ''}".rstrip("/")
    place = place_of(path)
    name = request[1] if request else "NO_SUCH_BUCKET"
    where = _endpoint(place) or "AWS"
    if name == "ACCESS_DENIED" and "No response body" in told:
        # Of a request for the head of an object alone the store does not say why.
        name = _why_denied(path) or name
    if name == "NO_SUCH_BUCKET":
        return _no_bucket(place)
    if _CREDENTIALS.search(name):
        return StoreError(
            f"{path}: the object store refuses the credentials ({name}): see AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN or AWS_PROFILE."
        )
    if name == "ACCESS_DENIED":
        doing = request[3] if request else "a request"
        return StoreError(f"{path}: permission is denied by the object store ({doing}).")
    if name in ("NETWORK_CONNECTION", "REQUEST_TIMEOUT") or "curlCode" in told:
        why = told.partition("curlCode: ")[2].partition(", ")[2].partition(";")[0] or name
        return StoreError(f"{path}: the object store at {where} is out of reach ({why}).")
    status = f", HTTP status {request[2]}" if request and request[2] else ""
    return StoreError(f"{path}: the object store at {where} answers {name}{status}.")


def _why_denied(path: str) -> str | None:
    client, _ = client_of(path)
    nothing = pafs.FileSelector(f"{place_of(path).bucket}/.nothing/", allow_not_found=True)
    try:
        client.get_file_info(nothing)
    except OSError as error:
        found = _REQUEST.search(str(error))
        return found[1] if found else None
    return None
