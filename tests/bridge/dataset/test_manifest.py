from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.common import cli
from bridge.common.errors import InputError
from bridge.dataset.manifest import (
    Adjustment,
    Manifest,
    Rejection,
    ShardResult,
    load_manifest,
    open_manifest,
)
from bridge.dataset.shards import ShardRecord


def result(number: int, split: str = "train", rejections: tuple = ()) -> ShardResult:
    record = ShardRecord(f"data/{split}-{number}.parquet", split, 22, 1000, f"{number:064x}")
    return ShardResult(record, ("a/x", f"a/{number}"), 2, {"1": 20, "10": 2}, rejections)


Place = tuple[str | int, ...]
"""Keys and numbers that lead to a value within JSON."""


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Where everything within a JSON value is."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in inside:
        yield (*place, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*place, key))


def holder_of(value: Any, place: Place) -> Any:
    """The table or list that holds what is at a place."""
    for key in place[:-1]:
        value = value[key]
    return value


def is_free(place: Place) -> bool:
    """Whether a file may hold any number of such entries."""
    return isinstance(place[-1], int) or place[-2] == "by_blur_level"


def refusal_of(data: bytes, key: str | int = "") -> str | None:
    """What a command says of a manifest and ends with; None where it uses the manifest."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.json"
        path.write_bytes(data)

        def command() -> None:
            manifest = load_manifest(folder)
            manifest.save(folder)
            _ = manifest.counts(), manifest.content_hash, manifest.objects

        with contextlib.redirect_stderr(io.StringIO()) as told, pytest.raises(SystemExit) as end:
            cli.guarded(command)
        if end.value.code == 0:
            return None
        message = told.getvalue()
        assert end.value.code == 2 and message.count("\n") == 1
        assert message.startswith(f"error: {path}: {key}")
        return message


def test_round_trip(tmp_path: Path) -> None:
    bad = Rejection("no_texture", "a/bad", "why")
    manifest = Manifest("dataset", {"seed": 3}, rejections=(bad,)).with_shards([result(0)])
    manifest.save(str(tmp_path))
    assert load_manifest(str(tmp_path)) == manifest


def test_adjustments_are_kept_and_counted(tmp_path: Path) -> None:
    remarks = (
        Adjustment("simplified", "a/x", "412,000 to 200,000 triangles"),
        Adjustment("missing_texture", "a/x", "wood.jpg"),
        Adjustment("missing_texture", "a/y", "wood.jpg"),
    )
    manifest = Manifest("dataset", {}, adjustments=remarks)
    assert manifest.to_json()["adjusted"] == {"missing_texture": 2, "simplified": 1}
    assert manifest.to_json()["rejected"] == {}
    manifest.save(str(tmp_path))
    assert load_manifest(str(tmp_path)) == manifest


def test_manifests_from_before_adjustments_load(tmp_path: Path) -> None:
    manifest = Manifest("dataset", {"seed": 3}).with_shards([result(0)])
    value = manifest.to_json()
    del value["adjusted"], value["adjusted_items"]
    (tmp_path / "manifest.json").write_text(json.dumps(value))
    assert load_manifest(str(tmp_path)) == manifest


def test_the_file_holds_what_to_json_says_and_a_line_per_shard(tmp_path: Path) -> None:
    for count in (0, 1, 3):
        manifest = Manifest("dataset", {"a": [1]}).with_shards(result(i) for i in range(count))
        manifest.save(str(tmp_path))
        text = (tmp_path / "manifest.json").read_text()
        assert json.loads(text) == manifest.to_json()
        assert sum("sha256" in line for line in text.splitlines()) == count


def test_numbers_that_json_does_not_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        Manifest("dataset", {"share": float("nan")}).save(str(tmp_path))
    assert not (tmp_path / "manifest.json").exists()


def test_counts_sum_shards_and_count_objects_once() -> None:
    manifest = Manifest("dataset", {}).with_shards([result(0), result(1), result(0, "test")])
    counts = manifest.counts()
    assert counts["train"] == {
        "rows": 44,
        "objects": 3,
        "trajectories": 4,
        "by_blur_level": {"1": 40, "10": 4},
    }
    assert counts["test"]["rows"] == 22


def test_a_shard_or_rejection_named_twice_counts_once() -> None:
    photo = (Rejection("background", "photo.jpg"),)
    manifest = Manifest("dataset", {}).with_shards([result(0, rejections=photo)])
    manifest = manifest.with_shards([result(0, rejections=photo), result(1, rejections=photo)])
    assert manifest.counts()["train"]["rows"] == 44
    assert manifest.to_json()["rejected"] == {"background": 1}


def test_content_hash_follows_the_rows_and_not_the_order() -> None:
    empty = Manifest("dataset", {})
    one = empty.with_shards([result(0), result(1)])
    other = empty.with_shards([result(1), result(0)]).finished()
    assert one.content_hash == other.content_hash
    assert one.content_hash != empty.with_shards([result(0)]).content_hash


def test_incomplete_datasets_are_refused(tmp_path: Path) -> None:
    Manifest("dataset", {}).save(str(tmp_path))
    with pytest.raises(InputError, match="not complete"):
        open_manifest(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "{folder} is not a dataset: it has no manifest.json."),
        ("[]", "{path}: must be an object, not []."),
        ("null", "{path}: must be an object, not None."),
        ("{", "{path}: is not valid JSON."),
        ("", "{path}: is not valid JSON."),
        ('{"schema_version": 2}', "{path}: schema_version: must be 1, not 2."),
        ('{"schema_version": 1}', "{path}: kind: is missing."),
    ],
)
def test_folders_without_a_manifest_are_refused(
    tmp_path: Path, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError) as error:
        load_manifest(str(tmp_path))
    path = tmp_path / "manifest.json"
    assert str(error.value) == message.format(folder=tmp_path, path=path)


WHOLE = (
    Manifest("dataset", {"seed": 3, "size": [1, 2]}, {}, (Rejection("no_texture", "a/bad", "why"),))
    .with_shards([result(0), result(1, "test", (Rejection("background", "photo.jpg"),))])
    .finished()
)
DERIVED = ("counts", "rejected", "adjusted", "adjusted_items")
"""Keys that are summed up from others, or younger than the format."""


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("complete",), 1, "complete: must be a valid boolean, not 1"),
        (("config",), ["image_size"], "config: must be an object, not ['image_size']"),
        (("shards",), {}, "shards: must be a valid array, not {}"),
        (("shards", 1, "rows"), "22", "shards.1.rows: must be a valid integer, not '22'"),
        (("shards", 0, "bytes"), -1, "shards.0.bytes: must be at least 0, not -1"),
        (
            ("shards", 0, "by_blur_level", "x"),
            1,
            "shards.0.by_blur_level.x.[key]: must match pattern '^[0-9]+$', not 'x'",
        ),
        (("rejected_items", 0), {"reason": "x"}, "rejected_items.0.item: is missing"),
    ],
)
def test_damage_is_named(tmp_path: Path, place: Place, value: Any, message: str) -> None:
    damaged = WHOLE.to_json()
    holder_of(damaged, place)[place[-1]] = value
    (tmp_path / "manifest.json").write_text(json.dumps(damaged))
    with pytest.raises(InputError) as error:
        load_manifest(str(tmp_path))
    assert str(error.value) == f"{tmp_path}/manifest.json: {message}."


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_is_damaged_is_refused_in_a_sentence_or_is_not_needed(data: st.DataObject) -> None:
    damaged = WHOLE.to_json()
    place = data.draw(st.sampled_from(list(places(damaged))))
    holder = holder_of(damaged, place)
    old = holder[place[-1]]
    strange = st.sampled_from([None, True, -1, 1.5, 10**30, "text", [], {}, [None], {"a": [1]}])
    deleted = data.draw(st.booleans(), "deleted")
    if deleted:
        del holder[place[-1]]
    else:
        # True is equal to 1, and may stand for it.
        other = strange.filter(lambda new: type(new) is not type(old) and new != old)
        holder[place[-1]] = data.draw(other)
    if refusal_of(json.dumps(damaged).encode(), place[0]) is None:
        optional = place[0] in (*DERIVED, "config") or place[-1] in ("detail", "adjusted_items")
        assert optional or (deleted and isinstance(place[-1], int | str) and is_free(place))


@given(st.integers(0, 10_000), st.binary(max_size=4))
@settings(max_examples=200, deadline=None)
def test_torn_files_are_refused_in_a_sentence(length: int, tail: bytes) -> None:
    text = json.dumps(WHOLE.to_json()).encode()
    refusal = refusal_of(text[: length % len(text)] + tail)
    assert refusal is not None


def test_what_was_adjusted_in_shards_is_counted(tmp_path: Path) -> None:
    first = replace(
        result(0), adjustments=(Adjustment("steppy", "a/0"), Adjustment("steppy", "b/0"))
    )
    manifest = replace(WHOLE.with_shards([first]), adjustments=(Adjustment("simplified", "a"),))
    manifest.save(str(tmp_path))
    assert load_manifest(str(tmp_path)) == manifest
    assert manifest.to_json()["adjusted"] == {"simplified": 1, "steppy": 2}
    assert [one.item for one in manifest.all_adjustments] == ["a", "a/0", "b/0"]


def test_written_json_is_the_contract(tmp_path: Path) -> None:
    Manifest("distractors", {"seed": 1}).with_shards([result(0)]).finished().save(str(tmp_path))
    value = json.loads((tmp_path / "manifest.json").read_text())
    required = {"schema_version", "kind", "config", "counts", "rejected", "shards", "complete"}
    assert required <= value.keys()
    assert {"path", "split", "rows", "bytes", "sha256"} <= value["shards"][0].keys()
    assert value["complete"] is True
