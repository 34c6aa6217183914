"""Keyed chance: every draw of the product follows from a seed and the names of what it is for."""

from __future__ import annotations

import hashlib

import numpy as np


def rng_for(seed: int, *keys: str | int) -> np.random.Generator:
    """A generator that depends on the seed and the keys only."""
    digest = hashlib.sha256(repr(keys).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], np.uint32).tolist()])
