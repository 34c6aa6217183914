"""The command that exports a MODEL."""

from __future__ import annotations

from pathlib import Path

import pytest

import bridge
from bridge.common.errors import InputError
from pipelines import export
from pipelines.export import ExportConfig
from tests.bridge.model.test_export import network


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "mine" / "model"
    network("bridge").save_pretrained(folder)
    return folder


def test_a_file_is_named_after_the_run_and_loads_again(
    model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    export.run(ExportConfig(model=str(model), format="safetensors"))
    assert "mine.safetensors: bridge, safetensors, images of 30x40" in capsys.readouterr().out
    assert bridge.load("mine.safetensors").config == bridge.load(model).config
    # A file of it is a model too, and is not written over.
    with pytest.raises(InputError, match="would be overwritten"):
        export.run(ExportConfig(model="mine.safetensors", format="safetensors"))


def test_what_cannot_be_exported_leaves_no_file(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "file.pkl"
    for options in ({"model": str(model), "format": "authors"}, {"model": str(tmp_path / "none")}):
        with pytest.raises(InputError):
            export.run(ExportConfig(out=str(out), **options))  # type: ignore[arg-type]
    assert not out.exists()
