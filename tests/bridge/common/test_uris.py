from __future__ import annotations

import pytest

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.uris import canonical, place_of

ENDPOINT = "http://localhost:8333"


@pytest.mark.parametrize("written", ["s3://bucket/a b/ü?.jpg", "gs://bucket/a", "/disk/a?b=c"])
def test_names_without_options_stay(written: str) -> None:
    assert canonical(written) == written


def test_names_of_files_can_be_added_to_one_with_options() -> None:
    root = storage.absolute(f"s3://bucket/runs?region=eu-west-1&endpoint_override={ENDPOINT}")
    path = f"{root}/data/a.parquet"
    assert storage.join(root, "data", "a.parquet") == path
    assert path.rpartition("/")[2] == "a.parquet" and storage.absolute(path) == path
    place = place_of(path)
    assert place.inner == "bucket/runs/data/a.parquet"
    assert dict(place.options) == {"region": "eu-west-1", "endpoint_override": ENDPOINT}


@pytest.mark.parametrize(
    "written",
    ["s3://KEYNAME:SeCrEt@bucket/a", "s3://KEYNAME@bucket/a", "s3://bucket/a?secret_key=SeCrEt"],
)
def test_credentials_in_a_name_are_refused_and_not_shown(written: str) -> None:
    with pytest.raises(InputError, match="environment variables") as refusal:
        place_of(written)
    assert "SeCrEt" not in str(refusal.value) and "KEYNAME" not in str(refusal.value)


def test_a_bucket_is_needed() -> None:
    with pytest.raises(InputError, match="names no bucket"):
        place_of("s3:///a")
