"""A run of a study from its training to its scores, and several runs at a time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch

import bridge
from bridge.common import storage, watch
from bridge.common.errors import InputError, Stopped
from bridge.index.folder import open_index_manifest, read_descriptors
from bridge.metrics.repeats import Repeats, repeats_of
from bridge.model.checkpoint import save_model
from bridge.model.registry import build_model
from bridge.training.run_log import read_metrics
from pipelines import build_index, train
from pipelines.build_index import BuildIndexConfig
from pipelines.stages import cluster
from pipelines.stages.evaluation import evaluate
from pipelines.stages.study_options import StudyConfig
from pipelines.stages.study_plan import INDEX, SELECTION_SEED, Measured, Run
from pipelines.stages.study_scores import read_scores, write_scores
from pipelines.stages.train_result import TrainResult
from pipelines.stages.train_scaling import MAX_CPUS_PER_WORKER
from pipelines.stages.train_worker import MODEL_FOLDER

CLASSIFIER = "classifier."


@dataclass(frozen=True)
class Room:
    """What the cluster has room for: runs at a time, and what each process of one gets."""

    runs: int
    cores: float
    gpus: int


def room_of(config: StudyConfig) -> Room:
    """Connects to the cluster, or starts one."""
    cluster.connect(config.num_cpus)
    gpus, processes = int(cluster.num_gpus()), max(1, config.num_workers)
    most = (gpus or int(cluster.num_cpus() // MAX_CPUS_PER_WORKER)) // processes
    # What trains inside this process has it to itself.
    runs = config.concurrent_runs or (max(1, most) if config.num_workers else 1)
    cores = cluster.cpus_each(
        cluster.nodes(), runs * processes, MAX_CPUS_PER_WORKER, on_gpu=gpus > 0
    )
    return Room(runs, cores or 1.0, min(1, gpus))


def check_networks(runs: Iterable[Run]) -> None:
    """Build every network once, before hours of work; InputError where one cannot be."""
    networks = {(run.network, run.configuration.weights) for run in runs}
    for network, weights in sorted(networks, key=str):
        build_model(network, weights)


def scores_of(run: Run) -> tuple[Measured, dict[str, Repeats]] | None:
    """A finished run's record and scores; None where there is still something to do."""
    measured = run.measured()
    scores = measured and read_scores(run.out, measured.scores_sha256)
    return (measured, scores) if measured and scores else None


def finish(run: Run, config: StudyConfig, room: Room) -> None:
    """Train, index and evaluate, or what is missing of it."""
    trained = _train(run, room)
    model = trained.model if trained else _untrained(run)
    index = storage.join(run.out, INDEX)
    build_index.run(
        BuildIndexConfig(
            model=model,
            data=config.data,
            distractors=config.distractors,
            out=index,
            seed=SELECTION_SEED,
            # Runs beside each other leave each other their share.
            num_workers=(room.gpus or max(1, int(room.cores))) if room.runs > 1 else None,
            trust_data=config.trust_data,
            num_cpus=config.num_cpus,
        )
    )
    rows = read_descriptors(index, open_index_manifest(index))
    results = evaluate(rows, run.name)
    sha256 = write_scores(run.out, {name: repeats_of(r) for name, r in results.items()})
    processes = max(1, int(run.training.num_workers or 1)) if run.training else 0
    Measured(
        config=run.identity,
        passes=_passes(run) if trained else 0,
        parameters=parameters(model),
        seconds=trained.seconds if trained else 0.0,
        cores=room.cores * processes,
        gpus=float(room.gpus * processes),
        best=trained.best if trained else None,
        scores_sha256=sha256,
    ).save(run.out)
    print(f"{run.name}: " + _scores_line(results), flush=True)


def parameters(model: str) -> int:
    """Numbers in a network without its classifier, which only training uses."""
    named = bridge.load(model).named_parameters()
    return sum(value.numel() for name, value in named if not name.startswith(CLASSIFIER))


def run_all(
    work: Callable[[Run], None], runs: Iterable[Run], at_a_time: int, before: int = 0
) -> dict[str, str]:
    """Do all runs, so many at a time; why, by name, for those that failed.

    A failure leaves the other runs alone, and so does a limit that is reached: all of them stop
    with a checkpoint.

    Args:
        work: what a run is.
        runs: those to do.
        at_a_time: how many.
        before: runs of the same study that are finished.

    Raises:
        InputError, OSError: of the first run that has one; others would meet it too.
        Stopped: a limit was reached.
    """
    waiting = deque(runs)
    total, started = len(waiting) + before, time.monotonic()
    finished: list[str] = []
    failed: dict[str, str] = {}
    fatal: list[BaseException] = []
    stopped: list[Stopped] = []
    study = watch.current()

    def tell() -> None:
        if study is not None:
            rate = len(finished) / max(time.monotonic() - started, 1e-9)
            counted = before + len(finished)
            study.count("study", counted, total, "runs", rate=rate, failures=len(failed))

    def take_turns() -> None:
        while waiting and not fatal:
            try:
                run = waiting.popleft()
            except IndexError:
                return
            try:
                watch.check()
                # In one piece, beside other threads: `print` writes the end of a line by itself.
                print(f"--- {run.name}, {len(waiting)} more to begin\n", end="", flush=True)
                work(run)
                finished.append(run.name)
            except Stopped as error:
                waiting.clear()
                stopped.append(error)
            except (InputError, OSError) as error:
                fatal.append(error)
            except Exception as error:
                failed[run.name] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
                print(f"{run.name} failed: {failed[run.name]}", flush=True)
            tell()

    tell()
    if at_a_time == 1:
        take_turns()
    else:
        # Daemons, so that Ctrl-C and mistakes end the command, and joined in turns, as a thread
        # that waits for another one hears no signals.
        threads = [threading.Thread(target=take_turns, daemon=True) for _ in range(at_a_time)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) and not fatal:
            for thread in threads:
                thread.join(0.2)
    for error in (*fatal, *stopped):
        raise error
    return failed


def _train(run: Run, room: Room) -> TrainResult | None:
    if run.training is None:
        return None
    return train.run(replace(run.training, cpus_per_worker=room.cores, use_gpu=bool(room.gpus)))


def _untrained(run: Run) -> str:
    folder = storage.join(run.out, MODEL_FOLDER)
    torch.manual_seed(run.seed)
    save_model(build_model(run.network, run.configuration.weights), folder)
    return folder


def _passes(run: Run) -> int:
    """Images that were seen, as the log has them."""
    last = read_metrics(run.out)[-1]
    return int(last["step"]) * int(last["images_per_step"])


def _scores_line(results: Mapping[str, object]) -> str:
    return ", ".join(
        f"{protocol} {100 * result.map['retrieved']:.2f}"  # type: ignore[attr-defined]
        for protocol, result in results.items()
    )
