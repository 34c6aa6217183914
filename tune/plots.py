"""The figures of a search's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter

from bridge.report.plots import COLOURS, MARKERS, TEXT, Plot, legend_above, new_figure
from bridge.report.tables import rows_csv
from tune.measured import Measured
from tune.ranges import AtRange
from tune.space import Dimension, Dimensions, Range, Value

SCORE = "validation mAP@500 [%]"
_COLUMNS = 3


def range_plot(found: Sequence[AtRange], dots: Sequence[tuple[int, float]]) -> Plot:
    """The paper's question: mAP in percent against r; `dots` are single trials."""
    figure, [axes] = new_figure(5.2, 3.4)
    x = [one.r for one in found]
    axes.plot(*zip(*dots, strict=True), ".", color=TEXT, alpha=0.35, label="trials")
    errors = [one.error or 0 for one in found]
    means = [one.mean for one in found]
    axes.errorbar(
        x, means, yerr=errors, color=COLOURS[0], marker="o", linewidth=2, capsize=4,
        label="mean, or best, of each r",
    )  # fmt: skip
    _range_axis(axes, found, SCORE)
    legend_above(axes, ["trials", "mean, or best, of each r"])
    rows = [(o.r, len(o.trials), f"{o.mean:.4f}", _text(o.error)) for o in found]
    table = rows_csv(["contrastive_range", "trials", "map", "error"], rows)
    return Plot("map_by_range", "mAP against the contrastive range", figure, table)


def level_plot(found: Sequence[AtRange]) -> Plot:
    """The same for the queries of each blur level."""
    figure, [axes] = new_figure(5.2, 3.4)
    levels = sorted({level for one in found for level in one.by_level})
    rows, labels = [], []
    for place, level in enumerate(levels):
        known = [(one.r, *one.by_level[level]) for one in found if level in one.by_level]
        x, y, spread = zip(*known, strict=True)
        labels.append(f"level {level}")
        axes.errorbar(
            x, y, yerr=[error or 0 for error in spread], capsize=3, label=labels[-1],
            color=COLOURS[place % len(COLOURS)], marker=MARKERS[place % len(MARKERS)],
        )  # fmt: skip
        rows += [(level, r, f"{mean:.4f}", _text(error)) for r, mean, error in known]
    _range_axis(axes, found, "validation mAP [%]")
    legend_above(axes, labels)
    table = rows_csv(["query_blur_level", "contrastive_range", "map", "error"], rows)
    return Plot("map_by_range_and_level", "The same by blur level of the query", figure, table)


def importance_plot(importances: Mapping[str, float]) -> Plot:
    """Share of each parameter in the differences between trials."""
    figure, [axes] = new_figure(5.2, 0.5 + 0.35 * len(importances))
    names = sorted(importances, key=lambda name: importances[name])
    bars = axes.barh(names, [importances[name] for name in names], color=COLOURS[0], height=0.6)
    axes.bar_label(bars, fmt="{:.2f}", color=TEXT, fontsize=10, padding=2)
    axes.set(xlabel="importance (PED-ANOVA, all together 1)", xlim=(0, 1.1))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(visible=False)
    table = rows_csv(["parameter", "importance"], [(n, f"{importances[n]:.4f}") for n in names])
    return Plot("importance", "What makes the difference", figure, table)


def slice_plot(measured: Sequence[Measured], space: Dimensions) -> Plot:
    """Score against each parameter on its own."""
    columns = min(_COLUMNS, len(space))
    rows_of_axes = -(-len(space) // columns)
    figure, all_axes = new_figure(2.6 * columns + 0.4, 2.5 * rows_of_axes, rows_of_axes, columns)
    for axes in all_axes[len(space) :]:
        axes.set_visible(False)
    rows: list[tuple[object, ...]] = []
    for axes, (name, dimension) in zip(all_axes, space.items(), strict=False):
        for outcome, marker in (("finished", "o"), ("stopped", "x")):
            chosen = [one for one in measured if one.trial.outcome == outcome]
            x = [_place(one.trial.config[name], dimension) for one in chosen]
            y = [100 * (one.trial.score or 0) for one in chosen]
            axes.scatter(x, y, marker=marker, s=22, color=COLOURS[outcome == "stopped"])
            rows += [
                (name, one.trial.config[name], f"{score:.4f}", outcome)
                for one, score in zip(chosen, y, strict=True)
            ]
        _ticks(axes, dimension)
        axes.set_title(name.replace("_", "-"))
    figure.supylabel(SCORE, color=TEXT, fontsize=11)
    table = rows_csv(["parameter", "value", "map", "outcome"], rows)
    title = "Each parameter alone (dots: trained to the end; crosses: stopped early)"
    return Plot("slices", title, figure, table, wide=True)


def parallel_plot(measured: Sequence[Measured], space: Dimensions) -> Plot:
    """A line for each trial through its values, coloured by its score."""
    figure, [axes] = new_figure(1.6 * len(space) + 2, 3.6)
    scores = [100 * (one.trial.score or 0) for one in measured]
    low, high = min(scores), max(scores)
    colours = colormaps["viridis"]
    for one, score in sorted(zip(measured, scores, strict=True), key=lambda pair: pair[1]):
        share = (score - low) / (high - low or 1)
        y = [_height(one.trial.config[name], dimension) for name, dimension in space.items()]
        axes.plot([*y, share], color=colours(0.9 * share), alpha=0.4 + 0.6 * share, linewidth=1.5)
    names = [*(name.replace("_", "-") for name in space), "mAP"]
    ends = [*(_ends(dimension) for dimension in space.values()), (f"{low:.2f}", f"{high:.2f}")]
    labels = [f"{name}\n{a} to {b}" for name, (a, b) in zip(names, ends, strict=True)]
    axes.set_xticks(range(len(names)), labels)
    axes.set_yticks([])
    axes.grid(axis="x", color=TEXT, alpha=0.3)
    rows = [
        (*(one.trial.config[name] for name in space), f"{score:.4f}")
        for one, score in zip(measured, scores, strict=True)
    ]
    table = rows_csv([*space, "map"], rows)
    return Plot("parallel_coordinates", "All parameters together", figure, table, wide=True)


def curves_plot(measured: Sequence[Measured]) -> Plot:
    """Validation mAP of each trial against the images that it has seen."""
    figure, [axes] = new_figure(5.2, 3.4)
    rows: list[tuple[object, ...]] = []
    labelled: list[str] = []
    for one in measured:
        outcome = one.trial.outcome
        colour = COLOURS[("finished", "stopped", "running", "failed", "diverged").index(outcome)]
        x = [images for images, _ in one.curve]
        y = [100 * score for _, score in one.curve]
        label = None if outcome in labelled else outcome
        labelled += [label] if label else []
        axes.plot(x, y, marker=".", color=colour, alpha=0.7, linewidth=1, label=label)
        rows += [(one.trial.number, *point, outcome) for point in zip(x, y, strict=True)]
    axes.set(xlabel="images seen", ylabel=SCORE)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    legend_above(axes, labelled)
    table = rows_csv(["trial", "images", "map", "outcome"], rows)
    return Plot("learning_curves", "Learning curves", figure, table)


def pareto_plot(
    measured: Sequence[tuple[float, float]], front: Sequence[tuple[float, float]], label: str
) -> Plot:
    """Both objectives of every trial; the front is joined."""
    figure, [axes] = new_figure(5.2, 3.4)
    axes.plot(*zip(*measured, strict=True), ".", color=TEXT, alpha=0.5)
    axes.plot(*zip(*sorted(front), strict=True), marker="o", color=COLOURS[0])
    axes.set(xlabel=SCORE, ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    rows = [(*point, point in front) for point in measured]
    return Plot("pareto", "Both objectives", figure, rows_csv(["map", label, "front"], rows))


def _range_axis(axes: Axes, found: Sequence[AtRange], label: str) -> None:
    axes.set_xticks([one.r for one in found], [one.name for one in found])
    axes.set(xlabel="contrastive range r", ylabel=label)


def _text(number: float | None) -> str | None:
    return None if number is None else f"{number:.4f}"


def _place(value: Value, dimension: Dimension) -> float:
    """On the axis of a parameter: its number, or its place among what is not all numbers."""
    if isinstance(dimension, Range) or _is_numbers(dimension.values):
        return float(value)
    return float(dimension.values.index(value))


def _is_numbers(values: Sequence[Value]) -> bool:
    return all(type(value) in (int, float) for value in values)


def _ticks(axes: Axes, dimension: Dimension) -> None:
    if isinstance(dimension, Range):
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=dimension.whole))
        if dimension.log:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(dimension.low, dimension.high)
    elif not _is_numbers(dimension.values):
        axes.set_xticks(range(len(dimension.values)), [str(v) for v in dimension.values])


def _height(value: Value, dimension: Dimension) -> float:
    """From 0 to 1 on its axis of parallel coordinates."""
    if isinstance(dimension, Range):
        ends = np.array([dimension.low, float(value), dimension.high])
        low, here, high = np.log(ends) if dimension.log else ends
        return float((here - low) / (high - low))
    return dimension.values.index(value) / (len(dimension.values) - 1)


def _ends(dimension: Dimension) -> tuple[str, str]:
    if isinstance(dimension, Range):
        return f"{dimension.low:g}", f"{dimension.high:g}"
    return str(dimension.values[0]), str(dimension.values[-1])
