"""How many training processes there are, and what each of them gets."""

from __future__ import annotations

import ray.train

from bridge.common.errors import InputError
from pipelines.stages import cluster
from pipelines.stages.train_options import TrainConfig, worker_range

CPUS_PER_GPU_TO_COME = 4
"""CPUs asked for with each GPU of an autoscaling pool that has none yet."""
MAX_CPUS_PER_WORKER = 16
"""More threads hardly speed up the small batches of one worker."""


def scaling_of(config: TrainConfig, batch: int) -> ray.train.ScalingConfig:
    """Workers and what each of them gets; says so where they have to share or to wait.

    Raises:
        InputError: they are to have GPUs, which are not here, and no cluster could bring them.
    """
    nodes, gpus = cluster.nodes(), int(cluster.num_gpus())
    use_gpu = gpus > 0 if config.use_gpu is None else config.use_gpu
    several = use_gpu and not config.model.batch_statistics
    default = min(max(1, gpus), batch) if several else 1
    low, high = worker_range(default if config.num_workers is None else config.num_workers)
    # An elastic run divides what is there now among as many workers as that has room for; nodes
    # that come later bring workers of the same size.
    room = gpus if use_gpu else int(cluster.num_cpus())
    workers = max(low, min(high, room))
    if use_gpu and workers > gpus:
        if cluster.address() is None:
            raise InputError(f"{workers} workers need {workers} GPUs; this machine has {gpus}.")
        print(f"{workers} workers need {workers} GPUs; the cluster has {gpus} so far: waiting.")
    most = config.cpus_per_worker or MAX_CPUS_PER_WORKER
    share = cluster.cpus_each(nodes, max(workers, 1), most, on_gpu=use_gpu)
    if share is None:
        # Nodes that the autoscaler has yet to bring will bring their CPUs.
        share = min(most, CPUS_PER_GPU_TO_COME if use_gpu else 1)
    if share < 1:
        print(
            f"warning: {workers} workers share {cluster.num_cpus():.0f} CPUs; fewer workers may "
            "be faster."
        )
    if use_gpu and gpus > high:
        print(f"note: {gpus - high} of {gpus} GPUs stay idle; steps have {batch} tuples.")
    if (waste := -(-batch // max(1, workers)) * max(1, workers) / batch - 1) > 0.1:
        print(f"note: {batch} tuples do not divide over {workers} workers: {waste:.0%} is padding.")
    number = f"{low} to {high}" if low < high else f"{max(low, 1)}"
    device = "a GPU" if use_gpu else f"{share:g} CPUs"
    print(f"{number} training process(es) with {device} each", flush=True)
    return ray.train.ScalingConfig(
        num_workers=(low, high) if low < high else low,
        use_gpu=use_gpu,
        resources_per_worker={"CPU": share},
        elastic_resize_monitor_interval_s=config.resize_interval,
    )
