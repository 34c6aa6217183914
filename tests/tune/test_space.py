from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.common.errors import InputError
from tune.options import SearchConfig, Space
from tune.space import (
    Range,
    Values,
    base_training,
    dimensions,
    fixed,
    grid,
    num_trials,
    trial_config,
)


def test_the_usual_space_is_around_the_published_weights() -> None:
    space = dimensions(SearchConfig())
    assert space == {
        "contrastive_range": Values(tuple(range(10))),
        "classification": Range(0.01, 1),
        "blur": Range(0.1, 10),
        "localisation": Range(1, 100),
    }
    assert all(dimension.log for dimension in space.values() if isinstance(dimension, Range))


def test_it_is_fixed_narrowed_and_opened() -> None:
    config = SearchConfig(
        space=Space(contrastive_range=(1, 3), margin=(0.5, 0.9), num_negatives=(1, 5)),
        fix=("learning-rate=1e-4", "pairs=tuple", "blur=2"),
        open=("batch-size=8:16", "schedule=constant,cosine", "localisation=5,10"),
    )
    assert dimensions(config) == {
        "contrastive_range": Values((1, 3)),
        "classification": Range(0.01, 1),
        "margin": Range(0.5, 0.9),
        "num_negatives": Values((1, 5)),
        "batch_size": Range(8, 16, whole=True),
        "schedule": Values(("constant", "cosine")),
        "localisation": Values((5, 10)),
    }
    assert fixed(config) == {"learning_rate": 1e-4, "pairs": "tuple", "blur": 2}
    base = base_training(config, "out")
    assert (base.recipe.learning_rate, base.recipe.loss.pairs) == (1e-4, "tuple")
    assert (base.recipe.loss.blur, base.recipe.epochs) == (2.0, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fix": ("learning-rate",)}, "must be as in --fix learning-rate=1e-4"),
        ({"fix": ("nosuch=1",)}, "has no option 'nosuch'"),
        ({"fix": ("epochs=3",)}, "epochs cannot be varied"),
        ({"fix": ("margin=1", "margin=2")}, "margin is given twice"),
        ({"fix": ("margin=1",), "space": Space(margin=(0.1, 0.2))}, "margin is given twice"),
        ({"open": ("schedule=constant,linear",)}, "schedule linear"),
        ({"open": ("margin=0.5:a",)}, "must be numbers"),
        ({"open": ("margin=0.9:0.5",)}, "from the lower to the higher"),
        ({"open": ("flip=0:2",)}, "must be at most 1"),
        ({"space": Space(contrastive_range=(1, 1))}, "must differ"),
        ({"preset": "range", "space": Space(blur=(0.5, 2.0))}, "--preset range tries every value"),
    ],
)
def test_mistakes(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dimensions(replace(SearchConfig(), **options))  # type: ignore[arg-type]


def test_the_preset_range_is_the_papers_sweep_over_seeds() -> None:
    config = SearchConfig(preset="range", training="paper")
    space = dimensions(config)
    found = list(grid(space))
    assert len(found) == num_trials(config, space) == 15
    assert [trial["contrastive_range"] for trial in found[:5]] == [0, 1, 3, 5, 9]
    assert {trial["seed"] for trial in found[:5]} == {0}
    base = base_training(config, "out")
    assert base.recipe.epochs == 30
    # Seeds are compared on the same validation images.
    trained = trial_config(base, found[-1])
    assert (trained.recipe.seed, trained.validation_seed) == (2, 0)
    assert trained.recipe.bliss.contrastive_range == 9


def test_trials_see_as_many_images() -> None:
    base = base_training(SearchConfig(preset="paper", epochs=9), "out")
    assert trial_config(base, {"contrastive_range": 1}).recipe.epochs == 9
    larger = trial_config(base, {"num_negatives": 19}).recipe
    assert larger.epochs * larger.tuple_size == 9 * base.recipe.tuple_size
