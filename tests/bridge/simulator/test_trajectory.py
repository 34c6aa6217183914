from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.simulator.trajectory import (
    MAX_ACCELERATION,
    NUM_FRAMES,
    Trajectory,
    curve,
    euler_matrix,
    initial_rotation,
    sample_locations,
    sample_trajectory,
)

SIZES = st.sampled_from([(240, 320), (120, 160), (320, 240), (128, 128), (90, 160)])


@pytest.fixture(scope="module")
def pairs() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.array([sample_locations(rng, (240, 320)) for _ in range(3000)])


@pytest.mark.parametrize(
    ("quantity", "quantiles"),
    [
        ("start z", (-5.98, -5.84, -5.57)),
        ("end z", (-6.93, -6.73, -6.46)),
        ("sideways", (1.85, 1.97, 2.12)),
        ("upwards", (0.34, 0.79, 1.06)),
        ("away", (-1.00, -0.94, -0.72)),
    ],
)
def test_distribution_is_that_of_rejection_sampling(
    pairs: np.ndarray, quantity: str, quantiles: tuple[float, ...]
) -> None:
    start, end = pairs[:, 0], pairs[:, 1]
    values = {
        "start z": start[:, 2],
        "end z": end[:, 2],
        "sideways": np.abs(end - start)[:, 0],
        "upwards": np.abs(end - start)[:, 1],
        "away": (end - start)[:, 2],
    }[quantity]
    # The published figures come from 4000 start points, of which 4 % had an end.
    assert np.quantile(values, [0.05, 0.5, 0.95]) == pytest.approx(quantiles, abs=0.05)


def test_directions_are_balanced(pairs: np.ndarray) -> None:
    step = pairs[:, 1] - pairs[:, 0]
    assert np.mean(step[:, 0] > 0) == pytest.approx(0.5, abs=0.05)
    assert np.mean(step[:, 1] > 0) == pytest.approx(0.5, abs=0.05)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), SIZES)
def test_every_pair_keeps_the_published_bounds(seed: int, size: tuple[int, int]) -> None:
    start, end = sample_locations(np.random.default_rng(seed), size)
    step = end - start
    assert 2.1 <= np.hypot(*step[:2]) <= 2.5
    assert abs(step[2]) <= 1
    assert -6 <= start[2] <= -3
    inset = 1 / 0.342 * np.sqrt(1 + 0.342**2)
    for x, y, z in (start, end):
        assert abs(x) <= abs(0.342 * (z * size[1] / max(size) + inset)) + 1e-9
        assert abs(y) <= abs(0.342 * (z * size[0] / max(size) + inset)) + 1e-9


def test_pose_is_linear_from_the_first_to_the_last_frame() -> None:
    trajectory = Trajectory(
        np.array([[0, 0, -6], [2.3, 0, -7]]), np.array([[0, 0, 0], [0, 0, 0.46]])
    )
    rotation, place = trajectory.pose(0)
    assert rotation == pytest.approx(np.eye(3))
    assert place == pytest.approx([0, 0, -6])
    rotation, place = trajectory.pose(11.5)
    assert rotation == pytest.approx(euler_matrix(np.array([0, 0, 0.23])))
    assert place == pytest.approx([1.15, 0, -6.5])
    assert trajectory.pose(23)[1] == pytest.approx([2.3, 0, -7])


@given(st.tuples(*[st.floats(-7, 7)] * 3))
def test_euler_angles_turn_about_x_then_y_then_z(angles: tuple[float, float, float]) -> None:
    x, y, z = (euler_matrix(np.eye(3)[i] * angles[i]) for i in range(3))
    assert euler_matrix(np.array(angles)) == pytest.approx(z @ y @ x, abs=1e-12)
    quarter = np.pi / 2
    assert euler_matrix(np.array([quarter, 0, 0])) @ [0, 1, 0] == pytest.approx([0, 0, 1])
    assert euler_matrix(np.array([0, 0, quarter])) @ [1, 0, 0] == pytest.approx([0, 1, 0])


@pytest.mark.parametrize(
    ("extents", "x_range", "y_range", "signed"),
    [
        ((0.5, 0.6, 0.6), (135, 150), (15, 60), (False, False)),
        ((0.05, 0.7, 0.7), (30, 150), (30, 150), (True, True)),
        ((0.7, 0.7, 0.05), (150, 180), (15, 60), (True, True)),
        ((0.7, 0.05, 0.7), (45, 135), (-45, 45), (False, False)),
    ],
)
def test_flat_objects_show_their_large_face(
    extents: tuple[float, float, float],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    signed: tuple[bool, bool],
) -> None:
    rng = np.random.default_rng(0)
    angles = np.rad2deg([initial_rotation(rng, extents) for _ in range(500)])
    for axis, bounds in ((0, x_range), (1, y_range)):
        values = np.abs(angles[:, axis]) if signed[axis] else angles[:, axis]
        width = bounds[1] - bounds[0]
        assert values.min() == pytest.approx(bounds[0], abs=0.05 * width)
        assert values.max() == pytest.approx(bounds[1], abs=0.05 * width)
        assert bounds[0] <= values.min()
        assert values.max() <= bounds[1]
        assert (np.mean(angles[:, axis] < 0) == pytest.approx(0.5, abs=0.1)) == (
            signed[axis] or bounds[0] < 0
        )
    assert np.abs(angles[:, 2]).max() == pytest.approx(180, abs=4)


def test_object_turns_by_up_to_thirty_degrees() -> None:
    rng = np.random.default_rng(0)
    turns = [
        np.diff(sample_trajectory(rng, (0.5, 0.6, 0.6), (240, 320)).rotation, axis=0)[0]
        for _ in range(300)
    ]
    assert np.abs(turns).max() <= np.deg2rad(30)
    assert np.abs(turns).mean() == pytest.approx(np.deg2rad(15), rel=0.1)


def path(trajectory: Trajectory, step: float = 1.0) -> np.ndarray:
    frames = np.arange(0, NUM_FRAMES - 1 + step / 2, step)
    return np.stack([trajectory.pose(frame)[1] for frame in frames])


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), SIZES)
def test_curves_keep_the_ends_and_the_region(seed: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    line = sample_trajectory(rng, (0.5, 0.6, 0.6), size)
    bent = curve(line, rng, size)
    for frame in (0, NUM_FRAMES - 1):
        for one, other in zip(line.pose(frame), bent.pose(frame), strict=True):
            assert one == pytest.approx(other, abs=1e-12)
    inset = 1 / 0.342 * np.sqrt(1 + 0.342**2)
    x, y, z = path(bent, 0.25).T
    # The region is tested at the frames of the straight motion only.
    assert (np.abs(x) <= np.abs(0.342 * (z * size[1] / max(size) + inset)) + 0.01).all()
    assert (np.abs(y) <= np.abs(0.342 * (z * size[0] / max(size) + inset)) + 0.01).all()
    assert z.min() >= -7 - 0.01


def test_curves_are_bent_turned_and_accelerated() -> None:
    rng = np.random.default_rng(0)
    lines = [sample_trajectory(rng, (0.5, 0.6, 0.6), (240, 320)) for _ in range(200)]
    bends, ratios, turns = [], [], []
    for line in lines:
        bent = curve(line, rng, (240, 320))
        points = path(bent)
        chord = points[-1] - points[0]
        length = float(np.linalg.norm(chord))
        away = np.linalg.norm(np.cross(points - points[0], chord), axis=1) / length
        bends.append(away.max() / length)
        along = np.diff((points - points[0]) @ chord / length**2)
        assert (along > 0).all()
        ratios.append(along[-1] / along[0])
        turns.append(np.abs(bent.pose(11.5)[0] - line.pose(11.5)[0]).max())
    assert 0.1 < np.median(bends) < 0.2
    assert max(bends) < 0.4
    highest = (1 + MAX_ACCELERATION) / (1 - MAX_ACCELERATION)
    assert 1 / highest - 0.01 < min(ratios) < 0.5
    assert 2 < max(ratios) < highest + 0.01
    assert 0.03 < np.median(turns) < 0.4


def test_acceleration_is_constant() -> None:
    line = np.array([[0, 0, -6], [2.3, 0, -6]])
    fast_first = path(Trajectory(line, np.zeros((2, 3)), acceleration=0.5))[:, 0]
    speeds = np.diff(fast_first)
    assert np.diff(speeds) == pytest.approx(np.full(22, speeds[1] - speeds[0]))
    assert speeds[0] / speeds.mean() == pytest.approx(1.5, abs=0.03)
    assert speeds[-1] / speeds.mean() == pytest.approx(0.5, abs=0.03)


def test_bends_are_shifts_of_bezier_control_points() -> None:
    ends = np.array([[0.0, 0, -6], [3, 0, -6]])
    bend = np.array([[0, 1.0, 0], [0, -1, 0.5]])
    bent = Trajectory(ends, np.zeros((2, 3)), location_bend=bend)
    inner = ends[0] + np.array([[1], [2]]) / 3 * (ends[1] - ends[0]) + bend
    t = 0.3
    weights = np.array([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    expected = weights @ np.stack([ends[0], *inner, ends[1]])
    assert bent.pose(23 * t)[1] == pytest.approx(expected)
