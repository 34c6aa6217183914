"""The finished runs of a study as its one report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bridge.common import storage
from bridge.common.record import to_json
from bridge.metrics.repeats import Repeats, joined
from bridge.report.study import write_study
from bridge.report.study_data import Cost, Studied, StudyData
from bridge.report.study_sections import methods_table
from bridge.report.tables import text_table
from pipelines.stages.study_grid import Grid
from pipelines.stages.study_options import StudyConfig
from pipelines.stages.study_plan import Measured, Run
from pipelines.stages.study_runs import scores_of

REPORT = "report"

Finished = tuple[Run, Measured, dict[str, Repeats]]


def report(config: StudyConfig, grid: Grid, runs: Sequence[Run]) -> StudyData | None:
    """Write what the finished runs come to, and print Table 2; None where none is finished."""
    # Without a home it warns of where it keeps its fonts.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    found = {run.name: scores_of(run) for run in runs}
    finished = [(run, *scored) for run in runs if (scored := found[run.name])]
    if not finished:
        return None
    data = StudyData(
        title=grid.title,
        reference=grid.reference,
        studied=tuple(_studied(grid, finished)),
        missing=tuple(name for name, scored in found.items() if scored is None),
        provenance=_provenance(config, grid, finished),
    )
    folder = storage.join(storage.absolute(config.out), REPORT)
    write_study(folder, data)
    if (table := methods_table(data)) is not None:
        print("\nmAP in percent by query blur level, means over seeds")
        print(text_table(table))
    print(f"report: {storage.join(folder, 'report.html')}")
    return data


def _studied(grid: Grid, finished: Sequence[Finished]) -> list[Studied]:
    """Configurations in the order of the grid, with their seeds in that of the runs."""
    found = []
    for configuration in grid.configurations:
        mine = [one for one in finished if one[0].configuration == configuration]
        if not mine:
            continue
        protocols = {name: joined([scores[name] for _, _, scores in mine]) for name in mine[0][2]}
        found.append(
            Studied(
                name=configuration.name,
                tables=configuration.tables,
                seeds=tuple(run.seed for run, _, _ in mine),
                protocols=protocols,
                costs=tuple(_cost(measured) for _, measured, _ in mine),
            )
        )
    return found


def _cost(measured: Measured) -> Cost:
    hours = measured.seconds / 3600
    return Cost(
        passes=measured.passes,
        parameters=measured.parameters,
        core_hours=hours * measured.cores,
        gpu_hours=hours * measured.gpus,
    )


def _provenance(config: StudyConfig, grid: Grid, finished: Sequence[Finished]) -> dict[str, Any]:
    # The same report is the same wherever it is written.
    options = {name: value for name, value in asdict(config).items() if name != "out"}
    return {
        "config": to_json(options),
        "grid": to_json(grid),
        "runs": {run.name: {**asdict(measured)} for run, measured, _ in finished},
    }
