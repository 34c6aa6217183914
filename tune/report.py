"""The report of a search: one self-contained page, and its figures and tables as files."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from bridge.common import storage
from bridge.common.progress import duration
from bridge.common.record import to_json
from bridge.report.html import section_files
from bridge.report.paper import paper_scores
from bridge.report.sections import Section
from bridge.report.tables import MISSING, Cell, Row, Table
from bridge.report.templates import render
from tune import plots
from tune.measured import Measured, pareto
from tune.options import SearchConfig
from tune.proposals import study_of
from tune.ranges import MARKED, RANGE, AtRange, by_range, verdict
from tune.space import Dimensions

FEWEST_FOR_IMPORTANCE = 6
"""Trials that came to something; of fewer nothing can be said."""


@dataclass(frozen=True)
class SearchData:
    """What a report is of; `used` are the training's own r and seed where they are not varied."""

    config: SearchConfig
    space: Dimensions
    measured: Sequence[Measured]
    used: Mapping[str, Any]

    @property
    def scored(self) -> list[Measured]:
        """Trials that came to something."""
        return [m for m in self.measured if m.trial.outcome in ("finished", "stopped") and m.curve]

    def ranges(self) -> list[AtRange]:
        """What each r came to."""
        repeated = set(self.space) <= {RANGE, "seed"}
        return by_range(self.measured, self.used[RANGE], repeated=repeated)


def write_report(out: str, data: SearchData) -> None:
    """Write `figures/*` and `report.html`, each whole or not at all."""
    sections = [section for section in _sections(data) if section is not None]
    page = render(
        "study.html",
        title="Search of the contrastive range and the losses",
        notes=_notes(data),
        sections=sections,
        provenance=json.dumps(to_json(data.config), indent=2, ensure_ascii=False),
    )
    for name, content in section_files(sections).items():
        storage.write_bytes(storage.join(out, "figures", name), content)
    storage.write_bytes(storage.join(out, "report.html"), page.encode())


def _notes(data: SearchData) -> list[str]:
    counts = Counter(one.trial.outcome for one in data.measured)
    told = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))
    return [
        f"{len(data.measured)} trials: {told or 'none yet'}. All numbers are of validation "
        "objects; test data was not used. Among many trials the best one looks better than it is."
    ]


def _sections(data: SearchData) -> list[Section | None]:
    return [
        _range_section(data),
        _pareto_section(data),
        _parameters_section(data),
        _trials_section(data),
        _cost_section(data),
    ]


def _range_section(data: SearchData) -> Section | None:
    found = data.ranges()
    if not found:
        return None
    dots = [
        (int(one.trial.config.get(RANGE, data.used[RANGE])), 100 * (one.trial.score or 0))
        for one in data.measured
        if one.trial.outcome == "finished"
    ]
    levels = sorted({level for one in found for level in one.by_level})
    paper = paper_scores("6", "mixed_with_distractors")
    rows = [
        Row(
            f"range {r} ({name})",
            tuple(
                Cell(f"{value:.2f}" if value is not None else MISSING)
                for value in (
                    paper[f"range {r}"].overall,
                    *(paper[f"range {r}"].by_query_level.get(level) for level in levels),
                )
            ),
            from_paper=True,
        )
        for r, name in MARKED.items()
    ]
    best = max(one.mean for one in found)
    for one in found:
        cells = [Cell(_with_error(one.mean, one.error), best=one.mean == best)]
        cells += [_level_cell(one, level) for level in levels]
        rows.append(Row(f"range {one.name}, {len(one.trials)} trained", tuple(cells)))
    columns = ("All", *map(str, levels))
    heading = "mAP by query blur level [%]"
    table = Table("Contrastive range", ((heading, columns),), tuple(rows), name="ranges")
    return Section(
        title="Contrastive range (paper: Table 6)",
        anchor="range",
        notes=(
            verdict(found),
            "Only trials that saw all images count. Behind ±, and as bars: the standard deviation "
            "over seeds, or of a single training the bootstrap standard error over objects. The "
            "paper’s rows are of its own test images with distractors, and compare in their order "
            "alone.",
        ),
        tables=(table,),
        plots=(plots.range_plot(found, dots), plots.level_plot(found)),
    )


def _level_cell(one: AtRange, level: int) -> Cell:
    if level not in one.by_level:
        return Cell(MISSING)
    return Cell(_with_error(*one.by_level[level]))


def _with_error(value: float, error: float | None) -> str:
    return f"{value:.2f}" if error is None else f"{value:.2f} ± {error:.2f}"


def _pareto_section(data: SearchData) -> Section | None:
    objectives = data.config.objectives
    front = pareto(data.measured, objectives)
    if len(objectives) == 1 or not front:
        return None
    second = objectives[1]
    scale = 100 if second == "map_blurred" else 1
    label = "mAP of levels 5 and 6 [%]" if scale == 100 else "images/s in training"

    def point(one: Measured) -> tuple[float, float]:
        return 100 * (one.value("map") or 0), scale * (one.value(second) or 0)

    rows = tuple(
        Row(f"trial {one.trial.number}", tuple(Cell(f"{value:.2f}") for value in point(one)))
        for one in front
    )
    table = Table("Trial", (("", (plots.SCORE, label)),), rows, name="pareto")
    return Section(
        title="Two objectives",
        anchor="pareto",
        notes=("No trial is better in both than one of these.",),
        tables=(table,),
        plots=(
            plots.pareto_plot([point(m) for m in data.scored], [point(m) for m in front], label),
        ),
    )


def _parameters_section(data: SearchData) -> Section | None:
    scored = data.scored
    if not scored or not data.space:
        return None
    importances = _importances(data)
    drawn = [plots.slice_plot(scored, data.space)]
    if len(scored) > 1:
        drawn.append(plots.parallel_plot(scored, data.space))
    if importances:
        drawn.insert(0, plots.importance_plot(importances))
    note = (
        "Importance is the share of each parameter in what sets the better trials apart."
        if importances
        else f"Of fewer than {FEWEST_FOR_IMPORTANCE} differing trials no importance can be told."
    )
    return Section("Parameters", "parameters", (note,), plots=tuple(drawn))


def _importances(data: SearchData) -> dict[str, float]:
    """Of each parameter in the score of complete trials; nothing where it cannot be told."""
    finished = [one for one in data.measured if one.trial.outcome == "finished"]
    if len(finished) < FEWEST_FOR_IMPORTANCE or len({m.trial.score for m in finished}) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.importance.get_param_importances(
        study_of(data.config, data.space, finished),
        evaluator=optuna.importance.PedAnovaImportanceEvaluator(),
        # It looks for what leads to low values.
        target=lambda trial: -trial.values[0],
    )


def _trials_section(data: SearchData) -> Section | None:
    if not data.measured:
        return None
    names = sorted({name for one in data.measured for name in one.trial.config})
    ordered = sorted(data.measured, key=lambda one: -(one.trial.score or 0))
    rows = tuple(
        Row(
            f"trial {one.trial.number}",
            (
                Cell(_percent(one.trial.score), best=one is ordered[0]),
                Cell(_percent(one.standard_error)),
                Cell(one.trial.outcome),
                Cell(f"{one.images:,}"),
                *(Cell(_value(one.trial.config.get(name))) for name in names),
            ),
        )
        for one in ordered
    )
    groups = (
        ("validation", ("mAP@500 [%]", "error")),
        ("training", ("outcome", "images")),
        ("configuration", tuple(name.replace("_", "-") for name in names)),
    )
    return Section(
        "Trials",
        "trials",
        ("The error is the bootstrap standard error over validation objects.",),
        tables=(Table("Trial", groups, rows, name="trials"),),
        plots=(plots.curves_plot(data.measured),) if any(m.curve for m in data.measured) else (),
    )


def _cost_section(data: SearchData) -> Section | None:
    if not data.measured:
        return None
    groups: dict[str, list[Measured]] = defaultdict(list)
    for one in data.measured:
        groups[one.trial.outcome].append(one)
    groups["all"] = list(data.measured)
    rows = tuple(
        Row(
            name,
            (
                Cell(str(len(trials))),
                Cell(f"{sum(one.images for one in trials):,}"),
                Cell(duration(sum(one.seconds for one in trials))),
            ),
        )
        for name, trials in groups.items()
    )
    table = Table("Outcome", (("", ("trials", "images", "time")),), rows, name="cost")
    note = (
        "Time is what the trainings took, one after the other, without their starts and without "
        "steps that were repeated after an interruption."
    )
    return Section("What was spent", "cost", (note,), tables=(table,))


def _percent(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:.2f}"


def _value(value: Any) -> str:
    if value is None:
        return MISSING
    return f"{value:.4g}" if isinstance(value, float) else str(value)
