"""Telling when Ray's object store was too small for what a stage has in flight."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager

from ray._private import internal_api
from ray._private.state import state

SECONDS_TO_ANSWER = 5.0


@contextmanager
def spilling() -> Iterator[None]:
    """Say at the end of the block how much the object stores wrote to disk meanwhile."""
    before = spilled_bytes()
    try:
        yield
    finally:
        # Nodes that are gone take their counts with them.
        if (written := spilled_bytes() - before) > 0:
            print(
                f"warning: Ray's object store was full and wrote {written / 1e6:,.0f} MB to disk, "
                "which is slow: give it more memory (object_store_memory of the nodes).",
                flush=True,
            )


def spilled_bytes() -> int:
    """What all nodes that run have written since they started; 0 where none answers."""
    with contextlib.suppress(Exception):
        # Ray tells nobody else but its own command `ray memory`, which takes seconds.
        reply = internal_api.get_memory_info_reply(state, timeout_seconds=SECONDS_TO_ANSWER)
        return int(reply.store_stats.spilled_bytes_total)
    return 0
