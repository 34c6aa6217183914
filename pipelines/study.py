"""Compare methods on your data: many trainings, one report in the form of the paper's tables.

    python pipelines/study.py --data data/study --distractors data/distractors --dry-run
    python pipelines/study.py --data data/study --distractors data/distractors --out studies/quick
    python pipelines/study.py --preset paper --data data/synthetic --out studies/paper
    python pipelines/study.py --grid my_study.yaml --data data/study --out studies/mine

Every run sees as many images, is trained, indexed and evaluated as by train.py, build_index.py and
evaluate.py, and has its folder OUT/runs/NAME-SEED. As many run at a time as the cluster has room
for. Run the same command again after an interruption: finished runs are kept and the others
continue. OUT/report/report.html has tables, spreads, intervals, differences and costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bridge.common import cli, storage
from bridge.common.errors import Failed
from pipelines.stages.study_options import StudyConfig

# What takes seconds to import is imported once the options and what they name have been checked.
if TYPE_CHECKING:
    from bridge.report.study_data import StudyData


def run(config: StudyConfig) -> StudyData | None:
    """Do what is missing of a study and report on it; None for a dry run.

    Raises:
        InputError: an option, the grid or the data cannot be used.
        Failed: some of the runs failed; the report is of the others.
    """
    from pipelines import train
    from pipelines.stages import study_plan

    grid = study_plan.chosen_grid(config)
    train.ensure_data(config.data, config.num_cpus)
    study_plan.check_inputs(config)
    runs = study_plan.runs_of(config, grid)
    wanted = study_plan.asked_for(config, runs)
    # The folder of another study is refused before anything heavy is imported.
    for one in runs:
        one.measured()
    from pipelines.stages import study_runs

    if config.dry_run:
        from pipelines.stages.study_cost import print_cost

        print_cost(wanted, study_runs.room_of(config))
        return None
    from pipelines.stages.running import running
    from pipelines.stages.study_report import report

    with running("study", config.out, config.watch):
        left = [one for one in wanted if study_runs.scores_of(one) is None]
        print(f"{len(wanted) - len(left)} of {len(wanted)} runs are finished", flush=True)
        failed: Mapping[str, str] = {}
        if left:
            study_runs.check_networks(left)
            room = study_runs.room_of(config)
            failed = study_runs.run_all(
                lambda one: study_runs.finish(one, config, room),
                left,
                room.runs,
                before=len(wanted) - len(left),
            )
        data = report(config, grid, runs)
    if failed:
        reasons = "; ".join(f"{name}: {why}" for name, why in failed.items())
        raise Failed(
            f"{len(failed)} of {len(wanted)} runs failed ({reasons}). The same command tries them "
            f"again; what is finished is in {storage.absolute(config.out)}."
        )
    return data


def main() -> None:
    """The command."""
    cli.main(run, StudyConfig, description=__doc__)


if __name__ == "__main__":
    main()
