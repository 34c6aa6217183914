"""Where Ray Train and Ray Tune keep what they write of a run."""

from __future__ import annotations

from typing import Any

from bridge.common import storage


def ray_storage(path: str) -> dict[str, Any]:
    """Of a `RunConfig`: a folder, on an object store with the client that all others use too.

    Ray would open one of its own, without limits of time.
    """
    if not storage.is_uri(path):
        return {"storage_path": path}
    filesystem, inner = storage.filesystem(path)
    return {"storage_path": inner, "storage_filesystem": filesystem}
