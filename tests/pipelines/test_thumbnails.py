"""An index with small pictures beside its descriptors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bridge.common.errors import InputError
from bridge.common.images import decode
from bridge.index.folder import open_index_manifest, read_descriptors
from bridge.index.rows import RowReader
from pipelines import build_index
from pipelines.build_index import BuildIndexConfig
from pipelines.stages import evaluation
from tests.ranking import ROUNDING
from tests.searchable import without_actors


@without_actors()
def test_thumbnails_are_beside_the_descriptors_and_change_no_search(
    searchable: Path, tmp_path: Path
) -> None:
    def config(out: Path, thumbnails: bool) -> BuildIndexConfig:
        folders = {name: str(searchable / name) for name in ("model", "data", "distractors")}
        return BuildIndexConfig(out=str(out), thumbnails=thumbnails, num_cpus=2, **folders)

    out, index = tmp_path / "pictures", searchable / "index"
    manifest = build_index.run(config(out, True))
    for part in manifest.parts:
        small = pq.read_table(out / part.path)["thumbnail"].to_pylist()
        assert {decode(row["bytes"]).shape for row in small} == {(24, 32, 3)}
    rows, plain = (read_descriptors(str(f), open_index_manifest(str(f))) for f in (out, index))
    np.testing.assert_allclose(rows.descriptors, plain.descriptors, atol=ROUNDING)
    assert rows.image_ids.equals(plain.image_ids)
    assert "thumbnail" not in RowReader(str(out), manifest).rows([0])[0]
    assert {"mixed", "per_level"} <= evaluation.evaluate(rows, "pictures").keys()
    # An index that has none does not get them silently, nor loses them.
    for folder, thumbnails in ((index, True), (out, False)):
        with pytest.raises(InputError, match="thumbnails"):
            build_index.run(config(folder, thumbnails))
