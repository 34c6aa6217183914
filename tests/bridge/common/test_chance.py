"""Tests of bridge/common/chance.py."""

from __future__ import annotations

from bridge.common.chance import rng_for


def test_draws_follow_from_seed_and_keys_alone() -> None:
    first = rng_for(7, "split", "chair").random(4)
    assert (rng_for(7, "split", "chair").random(4) == first).all()
    for seed, keys in ((8, ("split", "chair")), (7, ("split", "table")), (7, ("splitchair",))):
        assert (rng_for(seed, *keys).random(4) != first).all()


def test_draws_are_those_of_earlier_versions() -> None:
    # Datasets that exist depend on them.
    assert rng_for(0, "a", 1).integers(0, 1000, 4).tolist() == [769, 504, 881, 340]
