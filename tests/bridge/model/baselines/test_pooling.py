"""GeM between the mean and the maximum, with a power that stays."""

from __future__ import annotations

import pytest
import torch

from bridge.model.baselines.pooling import PowerMean
from bridge.model.network import GeM


def test_the_power_is_three_and_fixed() -> None:
    pool = PowerMean()
    assert pool.power == 3 and not list(pool.parameters()) and not pool.state_dict()
    features = torch.randn(2, 5, 3, 4)
    torch.testing.assert_close(pool(features), GeM()(features))


def test_a_learned_power_starts_there_and_stays_positive() -> None:
    pool = PowerMean(learned=True)
    features = torch.rand(2, 5, 3, 4)
    torch.testing.assert_close(pool(features), PowerMean()(features))
    assert pool.log_power is not None
    pool(features).sum().backward()
    assert pool.log_power.grad is not None and pool.log_power.grad != 0
    with torch.no_grad():
        pool.log_power.fill_(-20)
    assert pool.power > 0


@pytest.mark.parametrize(("power", "expected"), [(1.0, "mean"), (200.0, "maximum")])
def test_small_and_large_powers(power: float, expected: str) -> None:
    pool = PowerMean(learned=True)
    assert pool.log_power is not None
    with torch.no_grad():
        pool.log_power.copy_(torch.tensor(power).log())
    # Powers of what is far below 1 would vanish.
    features = 0.9 + 0.2 * torch.rand(2, 5, 3, 4)
    clamped = features.flatten(2)
    wanted = clamped.mean(2) if expected == "mean" else clamped.amax(2)
    torch.testing.assert_close(pool(features), wanted, rtol=0.02, atol=1e-4)
    negative = torch.tensor([-1.0, 2.0]).reshape(1, 1, 1, 2)
    torch.testing.assert_close(PowerMean()(negative), torch.tensor([[4 ** (1 / 3)]]))
