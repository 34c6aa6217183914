"""The search command: files and folders in, tables, JSON or a page out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridge.common.errors import InputError
from bridge.common.images import encode
from bridge.index.catalogue import Catalogue
from bridge.index.config import AlphaQE, SuperGlobal
from bridge.index.folder import open_index_manifest
from pipelines import search
from pipelines.search import SearchConfig, picture_paths
from tests.children import command
from tests.searchable import make_model


@pytest.fixture(scope="module")
def index(searchable: Path) -> Path:
    return searchable / "index"


@pytest.fixture
def pictures(index: Path, tmp_path: Path) -> Path:
    """`a2.jpg`, `a10.JPG` and `deep/b.png` in a folder: images 0, 50 and 100 of the index."""
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    entries = Catalogue(str(index), open_index_manifest(str(index))).entries([0, 50, 100])
    for name, entry in zip(("a2.jpg", "a10.JPG", "deep/b.png"), entries, strict=True):
        (folder / name).write_bytes(entry.picture())
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_folders_are_searched_in_natural_order(
    index: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = search.run(SearchConfig(images=(pictures,), index=str(index), top=3))
    names = [Path(entry["image"]).name for entry in found]
    assert names == ["a2.jpg", "a10.JPG", "b.png"]
    assert [entry["results"][0]["row"] for entry in found] == [0, 50, 100]
    assert all(entry["results"][0]["similarity"] > 0.999 for entry in found)
    printed = capsys.readouterr().out
    for entry in found:
        level, severity = entry["blur_level"], entry["blur_severity"]
        assert f"predicted blur level {level}, severity {severity:.2f}" in printed
        assert f"{entry['bbox'][0]:.3f} {entry['bbox'][1]:.3f}" in printed
        assert all(result["image_id"] in printed for result in entry["results"])


def test_json_is_all_that_is_printed(
    index: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = search.run(SearchConfig(images=(pictures,), index=str(index), top=2, json=True))
    entries = json.loads(capsys.readouterr().out)
    assert entries == json.loads(json.dumps(found)) and len(entries) == 3
    result = entries[0]["results"][0]
    assert {"rank", "similarity", "object_id", "image_id", "blur_level", "bbox"} <= set(result)
    assert {"shard", "shard_row"} <= set(result) and len(result["bbox"]) == 4


def test_filters_reach_the_search(
    index: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = SearchConfig(images=(pictures,), index=str(index), blur_levels=(2, 3))
    found = search.run(config)
    levels = {result["blur_level"] for entry in found for result in entry["results"]}
    assert levels == {2, 3}
    found = search.run(SearchConfig(images=(pictures,), index=str(index), objects=("shape2/101",)))
    assert {r["object_id"] for entry in found for r in entry["results"]} == {"shape2/101"}
    search.run(SearchConfig(images=(pictures,), index=str(index), blur_levels=(10,)))
    assert capsys.readouterr().out.count("No image of the index fits the filters.") == 3
    with pytest.raises(InputError, match="no object 'shape9/999'"):
        search.run(SearchConfig(images=(pictures,), index=str(index), objects=("shape9/999",)))


def test_results_are_reranked_where_asked_for(
    index: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(**options: Any) -> list[list[int]]:
        config = SearchConfig(images=(pictures,), index=str(index), top=60, **options)
        return [[hit["row"] for hit in entry["results"]] for entry in search.run(config)]

    plain = rows()
    superglobal = SuperGlobal(candidates=40, nearest=5, beta=1)
    for reranked in (rows(rerank="aqe"), rows(rerank="superglobal", superglobal=superglobal)):
        assert reranked != plain
    # Those behind the candidates stay; without neighbours nothing happens.
    assert [found[40:] for found in reranked] == [found[40:] for found in plain]
    assert rows(rerank="aqe", aqe=AlphaQE(neighbours=0)) == plain
    capsys.readouterr()


def test_the_command_has_the_options_of_reranking(index: Path, tmp_path: Path) -> None:
    given = ["--index", str(index), "--images", str(tmp_path), "--superglobal.beta", "-1"]
    ended = command("pipelines.search", given, tmp_path)
    assert (ended.code, ended.errors) == (
        2,
        "error: --superglobal.beta must be at least 0, not -1.0.\n",
    )


def test_the_page_has_every_picture_inside(index: Path, pictures: Path, tmp_path: Path) -> None:
    page = tmp_path / "out" / "found.html"
    (pictures / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    search.run(SearchConfig(images=(pictures,), index=str(index), top=4, html=str(page)))
    text = page.read_text()
    assert text.count('src="data:image/jpeg;base64,') == 3 * (1 + 4)
    assert text.count('class="box') == 3 * (1 + 4) and text.count("box guessed") == 3
    assert "torn.png" in text and "Not readable: UnidentifiedImageError" in text
    assert "http" not in text and "<script" not in text


def test_one_unreadable_picture_is_reported_and_the_rest_goes_on(
    index: Path, pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "BATCH", 2)
    torn = pictures / "a3.jpg"
    torn.write_bytes(b"\xff\xd8\xff torn")
    found = search.run(SearchConfig(images=(pictures,), index=str(index), top=1))
    assert [bool(entry["error"]) for entry in found] == [False, True, False, False]
    assert [e["results"][0]["row"] for e in found if not e["error"]] == [0, 50, 100]
    captured = capsys.readouterr()
    assert f"not readable: {torn}" in captured.err
    assert "1 of 4 pictures could not be read." in captured.err


def test_what_cannot_be_searched_is_refused(index: Path, tmp_path: Path) -> None:
    def refused(match: str, *images: Path, **options: str) -> None:
        with pytest.raises(InputError, match=match):
            search.run(SearchConfig(images=images, **({"index": str(index)} | options)))  # type: ignore[arg-type]

    good, torn = tmp_path / "good.jpg", tmp_path / "torn.jpg"
    entry = Catalogue(str(index), open_index_manifest(str(index))).entries([0])[0]
    good.write_bytes(entry.picture())
    torn.write_bytes(b"\xff\xd8\xff torn")
    (tmp_path / "empty").mkdir()
    refused("missing.jpg does not exist", good, tmp_path / "missing.jpg")
    refused("torn.jpg is not a readable picture", torn)
    refused("nor are the other 1", torn, torn)
    refused("hold no pictures", tmp_path / "empty")
    refused("not an index", good, index=str(tmp_path))
    make_model(tmp_path / "other", seed=2)
    refused("not the model that built the index", good, model=str(tmp_path / "other"))


def test_a_page_that_cannot_be_written_is_refused_before_the_search(
    pictures: Path, tmp_path: Path
) -> None:
    config = SearchConfig((pictures,), index="there is none", html=str(tmp_path))
    with pytest.raises(InputError, match="is a folder, not a file to write"):
        search.run(config)


def test_the_command_exits_with_2_for_a_path_that_is_not_there(index: Path) -> None:
    command = [sys.executable, "pipelines/search.py", "--index", str(index), "--images", "no.jpg"]
    root = Path(search.__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: no.jpg does not exist.\n")


def test_named_files_are_taken_whatever_their_suffix(tmp_path: Path) -> None:
    odd = tmp_path / "picture.dat"
    odd.write_bytes(encode(np.zeros((8, 8, 3), np.uint8)))
    assert picture_paths([odd]) == ([odd], [])
    assert picture_paths([tmp_path]) == ([], [f"1 of other types (.dat) in {tmp_path}"])


def test_what_is_no_picture_is_passed_over_and_told(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a10.jpg", "a2.png", "._a2.png", "notes.txt"):
        (folder / name).touch()
    (folder / "loop").symlink_to(".")
    odd = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.jpg"))
    odd.touch()
    paths, passed_over = picture_paths([odd, folder])
    assert paths == [folder / "a2.png", folder / "a10.jpg"]
    assert passed_over == [
        f"{tmp_path}/caf\\xe9.jpg, whose name cannot be printed",
        f"1 hidden, 1 linked folders that are there already, 1 of other types (.txt) in {folder}",
    ]
    with pytest.raises(InputError, match=r"no pictures \(\.jpg, .*; passed over: .*xe9\.jpg"):
        search.run(SearchConfig(images=(odd,)))


def test_a_search_starts_no_cluster(index: Path, pictures: Path, tmp_path: Path) -> None:
    ended = command(
        "pipelines.search", ["--index", str(index), "--images", str(pictures)], tmp_path
    )
    assert ended.code == 0 and "a10.JPG" in ended.output, ended.errors
    assert ended.has("torch", "faiss") == {"torch", "faiss"}
    assert ended.has("ray", "numba", "matplotlib", "fastapi", "timm", "jinja2") == set()
