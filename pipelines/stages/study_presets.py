"""The studies that have names: the paper's comparison at two sizes, and the parts of a recipe."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import Any

from bridge.common.cli import options_of
from bridge.training.presets import LOSSES, PRESETS, PresetName, loss_subsets
from bridge.training.recipe import Recipe
from pipelines.stages.study_grid import SET_BY_THE_STUDY, Configuration, Grid
from pipelines.stages.study_options import StudyPreset

PAPERS_LOSSES = {"contrastive": "con", "classification": "cls", "blur": "be", "localisation": "loc"}
"""How Table 5 names the losses."""
OURS, PAPERS = "BRIDGE strong", "BRIDGE"
QUICK_PASSES = 22_440
PAPER_PASSES = 20_160_000
"""Of the paper's recipe: about 95,000 training images in tuples of 7, for 30 epochs."""


def grid_of(preset: StudyPreset) -> Grid:
    """The study of a name."""
    return {"quick": quick, "paper": paper, "recipes": recipes}[preset]()


def quick() -> Grid:
    """All methods and ablations with small networks, for two cores."""
    recipe = _papers_recipe()
    # As the paper treats norms, with which a small network hardly learns, and more gently.
    norms = {"norm": "none", "imagenet_norm": False}
    bridges = (
        Configuration(PAPERS, options=recipe | norms),
        Configuration(f"{PAPERS}, folded norms", options=recipe | {"learning_rate": 1e-3}),
    )
    return Grid(
        title="Methods of retrieval under motion blur, small networks",
        passes=QUICK_PASSES,
        seeds=(0, 1),
        reference=OURS,
        configurations=(*bridges, *_comparison("quick")),
    )


def paper() -> Grid:
    """The same at the paper's size, for GPUs."""
    norms = {"norm": "folded", "imagenet_norm": True}
    bridges = (
        Configuration(PAPERS, preset="paper"),
        Configuration(f"{PAPERS}, folded norms", preset="paper", options=norms),
    )
    return Grid(
        title="Methods of retrieval under motion blur",
        passes=PAPER_PASSES,
        seeds=(0, 1, 2),
        reference=OURS,
        configurations=(*bridges, *_comparison("strong")),
    )


def recipes() -> Grid:
    """What each part of the strong recipe is worth, by leaving it out."""
    recipe = _papers_recipe()
    folded = {**recipe, "learning_rate": 1e-3}

    def but(name: str, share: float = 1.0, **options: Any) -> Configuration:
        return Configuration(name, options=options, share=share)

    return Grid(
        title="What the strong recipe is worth",
        passes=QUICK_PASSES,
        seeds=(0, 1, 2),
        reference="strong",
        configurations=(
            but("paper", **recipe, norm="none", imagenet_norm=False),
            but("paper, folded norms, Adam 1e-3", **folded),
            but("paper, folded norms, Adam 1e-3, five times the passes", 5.0, **folded),
            but("strong"),
            but("strong, a fifth of the passes", 0.2),
            but("without folding: norms dropped", norm="none"),
            but("without folding: norms frozen", norm="frozen"),
            but("without heads on all images", supervise="query"),
            but(
                "without in-batch pairs",
                pairs="tuple",
                num_positives=1,
                num_negatives=5,
                batch_size=10,
            ),
            but(
                "with two images of an object instead of three",
                num_positives=1,
                num_negatives=0,
                batch_size=33,
            ),
            but("with the paper's weight of classification", classification=0.1),
            but("without averaged weights", ema_decay=0.0),
            but("without cosine and warm-up", schedule="constant", warmup_steps=0),
            but("without augmentation", flip=0.0),
        ),
    )


def _papers_recipe() -> dict[str, Any]:
    """The paper's recipe as options, for whatever network."""
    recipe = PRESETS["bridge"]["paper"].recipe
    paths = {
        path.rpartition(".")[2]: path for path in options_of(Recipe, recipe, flat=True).values()
    }
    return {
        name: attrgetter(path)(recipe)
        for name, path in paths.items()
        if name not in SET_BY_THE_STUDY
    }


def _comparison(preset: PresetName) -> tuple[Configuration, ...]:
    """Everything but the paper's own recipe: the strong one, the rivals, floors and ablations."""
    rows = {"2": OURS, "5": _losses(LOSSES), "6": "range 5"}
    strong = Configuration(OURS, preset=preset, rows=rows)  # type: ignore[arg-type]
    return (
        strong,
        Configuration("Ours-sharp", preset=preset, options={"sharp_only": True}),
        Configuration("DELG", "delg", preset),
        Configuration("DELG, deblurred first", "delg", preset, options={"deblur": True}),
        Configuration("DOLG", "dolg", preset),
        Configuration("Token", "token", preset),
        Configuration("frozen features", "pretrained", preset),
        Configuration("colour histogram", "histogram", preset, weights="none"),
        *_loss_subsets(strong),
        *(_ablation(strong, f"range {r}", "6", f"range {r}", contrastive_range=r) for r in (1, 3)),
        _ablation(strong, "mean opacity", "6", "range 5 (alpha)", blur_target="opacity"),
    )


def _loss_subsets(strong: Configuration) -> list[Configuration]:
    """Table 5: every subset of the losses that acts on the descriptor, but for all of them."""
    found = []
    for subset in loss_subsets(PRESETS["bridge"][strong.preset].recipe):
        kept = tuple(subset.split("+"))
        if kept != LOSSES and {"contrastive", "classification"} & {*kept}:
            without = {name: 0.0 for name in LOSSES if name not in kept}
            name = _losses(kept)
            found.append(_ablation(strong, f"only {name}", "5", name, **without))
    return found


def _losses(kept: tuple[str, ...]) -> str:
    return " + ".join(PAPERS_LOSSES[name] for name in kept)


def _ablation(
    strong: Configuration, name: str, table: str, row: str, **options: Any
) -> Configuration:
    return replace(strong, name=name, options=options, rows={table: row})  # type: ignore[dict-item]
