from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.common.errors import InputError
from bridge.dataset.manifest import load_manifest
from bridge.index.folder import open_index_manifest
from bridge.index.searcher import Searcher
from pipelines import search, serve
from pipelines.search import SearchConfig
from pipelines.serve import ServeConfig
from pipelines.stages import photo_library
from pipelines.stages.photo_library import default_folder, up_to_date
from tests.factories import write_photos
from tests.searchable import make_model, without_actors
from tests.serving import Client, free_port


@pytest.fixture
def home(tmp_path: Path, ray_cluster: None) -> Iterator[Path]:
    """A folder with three `photos` and a `model`; embedding is done in this process."""
    write_photos(tmp_path / "photos", "a.jpg", "trip/b.png", "trip/c d.jpg")
    make_model(tmp_path / "model")
    with without_actors():
        yield tmp_path


def opened(home: Path, model: str = "model") -> str:
    return up_to_date(str(home / "photos"), str(home / model), str(home / "library"))


def names(index: str, picture: Path) -> list[str]:
    (found,) = Searcher(index).search([picture.read_bytes()], top=100)
    return [hit.entry.image_id for hit in found.results]


def test_a_folder_is_searched_in_one_call(home: Path) -> None:
    index = opened(home)
    found = names(index, home / "photos" / "trip" / "b.png")
    assert found[0] == "trip/b.png" and sorted(found) == ["a.jpg", "trip/b.png", "trip/c d.jpg"]
    assert open_index_manifest(index).counts == {"database": 3}


def test_nothing_is_done_again_where_nothing_changed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = opened(home)
    for name in ("_make", "_build"):
        monkeypatch.delattr(photo_library, name)
    assert opened(home) == index


def test_photos_that_were_added_are_added_to_the_index(home: Path) -> None:
    index = opened(home)
    before = open_index_manifest(index)
    write_photos(home / "photos", "new.jpg")
    (home / "photos" / "again.jpg").write_bytes((home / "photos" / "a.jpg").read_bytes())
    (home / "photos" / "bad.jpg").write_bytes(b"no picture")
    assert opened(home) == index
    after = open_index_manifest(index)
    assert after.counts == {"database": 4} and list(after.parts)[:1] == list(before.parts)
    assert names(index, home / "photos" / "new.jpg")[0] == "new.jpg"
    rejected = load_manifest(f"{home}/library/0/photos-00001").to_json()["rejected"]
    assert rejected == {"duplicate": 1, "unreadable": 1}
    # What was left out is not tried again.
    assert opened(home) == index and not (home / "library" / "0" / "photos-00002").exists()


def test_photos_of_which_none_can_be_read_do_no_harm(home: Path) -> None:
    index = opened(home)
    (home / "photos" / "bad.jpg").write_bytes(b"no picture")
    assert opened(home) == index and open_index_manifest(index).counts == {"database": 3}


@pytest.mark.parametrize("change", ["gone", "changed"])
def test_photos_that_are_gone_or_changed_are_not_found_any_more(change: str, home: Path) -> None:
    first = opened(home)
    write_photos(home / "photos", "later.jpg")
    opened(home)
    path = home / "photos" / "a.jpg"
    if change == "gone":
        path.unlink()
    else:
        write_photos(home / "photos", "other.jpg")
        (home / "photos" / "other.jpg").replace(path)
    index = opened(home)
    assert index != first and not Path(first).exists()
    expected = ["later.jpg", "trip/b.png", "trip/c d.jpg"]
    expected = expected if change == "gone" else ["a.jpg", *expected]
    assert sorted(names(index, home / "photos" / "trip" / "b.png")) == expected


def test_another_model_has_an_index_of_its_own(home: Path) -> None:
    index = opened(home)
    make_model(home / "other", seed=1)
    other = opened(home, "other")
    assert other != index and Path(index).exists()
    assert open_index_manifest(other).counts == {"database": 3}


def test_an_import_that_was_interrupted_is_finished(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("pipelines.stages.photos.finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            opened(home)
    write_photos(home / "photos", "new.jpg")
    index = opened(home)
    assert open_index_manifest(index).counts == {"database": 4}
    assert (home / "library" / "0" / "photos-00001").exists()


def test_what_is_missing_is_told(home: Path) -> None:
    with pytest.raises(InputError, match="`photos` needs `model`"):
        up_to_date(str(home / "photos"), None)
    with pytest.raises(InputError, match="gone does not exist"):
        up_to_date(str(home / "gone"), str(home / "model"), str(home / "library"))
    with pytest.raises(InputError, match="gone"):
        up_to_date(str(home / "photos"), str(home / "gone"), str(home / "library"))
    opened(home)
    write_photos(home / "others", "a.jpg")
    with pytest.raises(InputError, match="is the library of .*photos: choose another `library`"):
        up_to_date(str(home / "others"), str(home / "model"), str(home / "library"))


@pytest.mark.parametrize("name", ["library.json", "0/photos-00000/photos.parquet"])
def test_a_damaged_library_is_told_in_a_sentence(name: str, home: Path) -> None:
    opened(home)
    for damage in (b"", b"{}", b"PAR1 and no more"):
        (home / "library" / name).write_bytes(damage)
        with pytest.raises(InputError, match=Path(name).name):
            opened(home)


def test_the_library_is_in_the_users_cache_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = Path(default_folder("/photos/of mine"))
    assert found.parent == tmp_path / "bridge-retrieval" and found.name.startswith("of mine-")
    assert found.parent.stat().st_mode & 0o077 == 0
    assert default_folder("/other/of mine") != str(found)


def test_search_takes_a_folder(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = home / "photos" / "a.jpg"
    config = SearchConfig(
        images=(picture,),
        photos=str(home / "photos"),
        library=str(home / "library"),
        model=str(home / "model"),
        json=True,
    )
    (entry,) = search.run(config)
    assert entry["results"][0]["image_id"] == "a.jpg"
    # The results alone are on the output.
    assert capsys.readouterr().out.startswith("[\n {")


def test_the_page_shows_a_folder(home: Path) -> None:
    config = ServeConfig(
        photos=str(home / "photos"),
        library=str(home / "library"),
        model=str(home / "model"),
        port=free_port(),
        cpus_per_replica=0.5,
    )
    picture = (home / "photos" / "trip" / "b.png").read_bytes()
    with serve.service(config) as address:
        client = Client(address)
        index = client.get("/api/index").json
        assert (index["name"], index["images"], index["objects"]) == ("photos", 3, 0)
        assert [example["object_id"] for example in index["examples"]] == [None] * 3
        best = client.search(picture, "?top=2").json["queries"][0]["results"][0]
        assert best["image_id"] == "trip/b.png" and best["object_id"] is None
        assert best["is_estimated"] and best["blur_level"] in index["blur_levels"]
        assert client.get(f"/{best['image']}").body == picture
        # An address that is taken is told before anything is imported.
        taken = replace(config, photos=str(home / "gone"))
        with pytest.raises(InputError, match="Cannot listen"), serve.service(taken):
            pass
