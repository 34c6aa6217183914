"""Names of places on object stores: `s3://bucket/key`, with options for the bucket's client.

Options are given at the end, `s3://bucket/key?region=eu-west-1`. In the canonical form they stand
before the bucket, `s3://region=eu-west-1@bucket/key`, so that names of files can be added.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from bridge.common.errors import InputError

OPTIONS = ("region", "endpoint_override", "scheme", "anonymous")
STORES = ("s3", "gs", "gcs")
_AT_END = re.compile(r"\?(\w+=[^?&]*(?:&\w+=[^?&]*)*)$")


@dataclass(frozen=True)
class Place:
    """Somewhere on an object store; `options` are those of the bucket's client."""

    scheme: str
    bucket: str
    key: str
    options: tuple[tuple[str, str], ...] = ()

    @property
    def inner(self) -> str:
        """How Arrow names it within its filesystem."""
        return f"{self.bucket}/{self.key}".rstrip("/")


def canonical(uri: str) -> str:
    """The name with its options before the bucket; others than `s3://` and `gs://` stay."""
    scheme, _, rest = uri.partition("://")
    found = _AT_END.search(rest)
    if scheme not in STORES or found is None:
        return uri
    return f"{scheme}://{quote(found[1], safe='=&:%')}@{rest[: found.start()]}"


def place_of(uri: str) -> Place:
    """What a name of either form says.

    Raises:
        InputError: it has no bucket, an unknown option, or credentials, which would be recorded.
    """
    scheme, _, rest = canonical(uri).partition("://")
    authority, _, key = rest.partition("/")
    before, at, bucket = authority.rpartition("@")
    options = tuple(parse_qsl(before, keep_blank_values=True))
    if at and (not options or any(name not in OPTIONS for name, _ in options)):
        raise InputError(
            f"{scheme}://...@{bucket}/{key}: before the bucket or after a ? only the options "
            f"{', '.join(OPTIONS)} may stand; give credentials as environment variables "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or as a profile."
        )
    if not bucket:
        raise InputError(f"{uri} names no bucket: write {scheme}://BUCKET/FOLDER.")
    return Place(scheme, bucket, key, options)
