"""Photos in, whatever their names, formats and damage; what comes out trains no made-up labels."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bridge.common.errors import InputError
from bridge.dataset import photos as photo_shards
from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import load_manifest, open_manifest
from bridge.dataset.selections import open_selections
from bridge.index.folder import open_index_manifest
from pipelines import build_index, evaluate, import_photos
from pipelines.build_index import BuildIndexConfig
from pipelines.import_photos import ImportPhotosConfig
from pipelines.stages import verification
from pipelines.stages.evaluation_options import EvaluateConfig
from tests.factories import write_photos
from tests.searchable import make_model, without_actors

pytestmark = pytest.mark.usefixtures("ray_cluster")


def config(folder: Path, **options: object) -> ImportPhotosConfig:
    plain = ImportPhotosConfig(photos=str(folder / "photos"), out=str(folder / "out"))
    return replace(plain, **options)  # type: ignore[arg-type]


def test_bad_files_among_good_ones_are_counted_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "photos"
    write_photos(root, "-a b.jpg", "é.png", ".hidden.jpg", "notes.txt", "x.gif")
    (root / "copy.jpg").write_bytes((root / "-a b.jpg").read_bytes())
    (root / "cut.png").write_bytes((root / "é.png").read_bytes()[:60])
    (root / "empty.jpg").touch()
    manifest = import_photos.run(config(tmp_path))
    assert manifest.kind == "photos" and manifest.complete
    assert manifest.to_json()["rejected"] == {"duplicate": 1, "unreadable": 2}
    named = {rejection.item for rejection in manifest.all_rejections}
    assert named == {"copy.jpg", "cut.png", "empty.jpg"}
    assert manifest.config["passed_over"] == {"hidden": 1, "of other types": 1}
    assert manifest.counts()["real"]["rows"] == 3
    told = capsys.readouterr().out
    assert "passed over: 1 hidden, 1 of other types" in told and "2 unreadable" in told
    assert (tmp_path / "out" / "README.md").exists()
    assert verification.verify(str(tmp_path / "out"), 2)


def test_the_same_command_again_does_nothing_and_changes_are_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos(tmp_path / "photos", "a.jpg", "b.jpg")
    first = import_photos.run(config(tmp_path))
    capsys.readouterr()
    assert import_photos.run(config(tmp_path)) == first
    assert "is complete" in capsys.readouterr().out
    with pytest.raises(InputError, match="max_side None instead of 64"):
        import_photos.run(config(tmp_path, max_side=64))
    write_photos(tmp_path / "photos", "c.jpg")
    with pytest.raises(InputError, match="The photos have changed since"):
        import_photos.run(config(tmp_path))


def test_an_interrupted_import_continues_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_shards, "_SHARD_PHOTOS", 2)
    write_photos(tmp_path / "photos", *(f"{number}.jpg" for number in range(6)))
    whole = import_photos.run(config(tmp_path))
    out = tmp_path / "out"
    begun = replace(whole, complete=False, shards=dict(list(whole.shards.items())[:1]))
    begun.save(str(out))
    kept, *lost = sorted(whole.shards)
    for path in lost:
        (out / path).unlink()
    (out / "README.md").unlink()
    before = (out / kept).stat().st_mtime_ns
    assert import_photos.run(config(tmp_path)) == whole
    assert (out / kept).stat().st_mtime_ns == before and (out / "README.md").exists()


@pytest.mark.parametrize(
    ("bad", "good", "said"),
    [
        (3, 0, "Not one photo of .* can be read"),
        (3, 1, "At least . of 4 photos came to nothing.*--max-rejected 0.5 .* e.g. bad./jpg"),
    ],
)
def test_folders_of_damaged_photos_are_refused(
    bad: int, good: int, said: str, tmp_path: Path
) -> None:
    write_photos(tmp_path / "photos", "good.jpg", *(f"good{n}.jpg" for n in range(1, good)))
    if not good:
        (tmp_path / "photos" / "good.jpg").unlink()
    for number in range(bad):
        (tmp_path / "photos" / f"bad{number}.jpg").write_bytes(b"no picture" * (number + 1))
    asked = config(tmp_path, max_rejected=0.5 if good else 1.0)
    with pytest.raises(InputError, match=said.replace("./jpg", r".\.jpg")):
        import_photos.run(asked)
    assert not load_manifest(str(tmp_path / "out")).complete


@without_actors()
def test_labelled_photos_are_evaluated_through_the_same_commands(tmp_path: Path) -> None:
    names = [f"{thing}/{number}.png" for thing in ("cup", "mug", "box") for number in range(10)]
    write_photos(tmp_path / "photos", *names)
    out = str(tmp_path / "out")
    import_photos.run(config(tmp_path, queries=0.2))
    manifest = open_manifest(out)
    labels = read_labels(out, manifest, "real")
    sides = open_selections(out, manifest, 0).queries_and_database(labels, "real")
    assert (len(sides.queries), len(sides.database)) == (6, 24)
    assert np.bincount(labels.object[sides.queries]).tolist() == [2, 2, 2]
    make_model(tmp_path / "model")
    index = str(tmp_path / "index")
    build_index.run(BuildIndexConfig(model=str(tmp_path / "model"), data=out, out=index))
    assert open_index_manifest(index).counts == {"database": 24, "query": 6}
    report = EvaluateConfig(index=index, out=str(tmp_path / "report"))
    (results,) = evaluate.run(report).values()
    assert list(results) == ["real"] and results["real"].num_queries == 6
    assert "BL None" not in (tmp_path / "report" / "report.html").read_text()


def test_a_table_decides_for_splits_and_roles(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(8)]
    write_photos(tmp_path / "photos", *names)
    splits = ["train"] * 3 + ["validation"] * 2 + ["test"] * 2 + ["distractor"]
    rows = zip(names, splits, strict=True)
    lines = [f"{name},{split}-thing,3,{split}" for name, split in rows]
    (tmp_path / "t.csv").write_text("\n".join(["path,object_id,blur_level,split", *lines, "no,,,"]))
    table = str(tmp_path / "t.csv")
    manifest = import_photos.run(config(tmp_path, table=table, queries=0.5))
    assert {split: counts["rows"] for split, counts in manifest.counts().items()} == {
        "train": 3,
        "validation": 2,
        "test": 2,
        "distractor": 1,
    }
    assert manifest.to_json()["rejected"] == {"missing": 1}
    roles = pq.read_table(tmp_path / "out" / "selections.parquet")
    assert sorted(zip(*roles.to_pydict().values(), strict=True))[:5] == [
        ("0.jpg", "train"),
        ("1.jpg", "train"),
        ("2.jpg", "train"),
        ("3.jpg", "validation"),
        ("4.jpg", "validation"),
    ]
    assert sorted(roles["role"].to_pylist())[:2] == ["database", "query"]
    assert verification.verify(str(tmp_path / "out"), 2)


def test_a_model_estimates_what_is_not_given(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", "a.jpg", "b.jpg")
    (tmp_path / "t.csv").write_text("path,blur_level\na.jpg,2\nb.jpg,\n")
    make_model(tmp_path / "model")
    manifest = import_photos.run(
        config(tmp_path, table=str(tmp_path / "t.csv"), model=str(tmp_path / "model"))
    )
    (path,) = manifest.shards
    table = pq.read_table(tmp_path / "out" / path)
    assert table["blur_level"].to_pylist() == [2, None]
    known, estimated = table["estimated_blur_level"].to_pylist()
    assert known is None and 1 <= estimated <= 10
    assert table["blur_severity"].null_count == 2
    assert pa.types.is_int8(table.schema.field("estimated_blur_level").type)


def test_real_photos_come_with_all_their_faults(shared_photos: Path, tmp_path: Path) -> None:
    shutil.copytree(shared_photos, tmp_path / "photos", symlinks=True)
    manifest = import_photos.run(config(tmp_path, layout="flat", max_rejected=1.0))
    assert manifest.complete and verification.verify(str(tmp_path / "out"), 2)
