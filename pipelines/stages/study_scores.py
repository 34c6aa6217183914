"""The scores of a finished run as a file: average precisions by protocol and query."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.reading import reading
from bridge.metrics.repeats import Repeats

SCORES_FILE = "scores.npz"
_ARRAYS = ("average_precision", "query_labels", "query_blur_levels", "database_blur_levels")
_WHOLE = -1
"""Stands for no cut-off."""


def write_scores(out: str, scores: Mapping[str, Repeats]) -> str:
    """Write them by protocol into a run's folder; the SHA-256 of the file."""
    arrays: dict[str, np.ndarray] = {}
    for protocol, repeats in scores.items():
        values = {name: np.asarray(getattr(repeats, name)) for name in _ARRAYS}
        values["sizes"] = np.array([repeats.num_database, repeats.k or _WHOLE])
        arrays |= {f"{protocol}.{name}": value for name, value in values.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    storage.write_bytes(storage.join(out, SCORES_FILE), buffer.getvalue())
    return storage.sha256(buffer.getvalue())


def read_scores(out: str, sha256: str) -> dict[str, Repeats] | None:
    """The same again; None where the file is gone or is another one."""
    path = storage.join(out, SCORES_FILE)
    try:
        data = storage.read_bytes(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    if storage.sha256(data) != sha256:
        return None
    with reading(path, "delete it and run study.py again"):
        arrays = dict(np.load(io.BytesIO(data), allow_pickle=False))
        names = dict.fromkeys(key.partition(".")[0] for key in arrays)
        return {name: _repeats(arrays, name) for name in names}


def _repeats(arrays: Mapping[str, np.ndarray], protocol: str) -> Repeats:
    values = {name: arrays[f"{protocol}.{name}"] for name in _ARRAYS}
    num_database, k = arrays[f"{protocol}.sizes"].tolist()
    return Repeats(
        average_precision=values["average_precision"],
        query_labels=values["query_labels"],
        query_blur_levels=values["query_blur_levels"],
        database_blur_levels=tuple(values["database_blur_levels"].astype(int).tolist()),
        num_database=num_database,
        k=None if k == _WHOLE else k,
    )
