from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.common.errors import InputError
from pipelines.stages import cluster
from pipelines.stages.train_options import TrainConfig
from pipelines.stages.train_scaling import scaling_of


def test_gpus_that_can_never_come_are_not_waited_for(
    training: TrainConfig, ray_cluster: None
) -> None:
    workers = int(cluster.num_gpus()) + 1
    config = replace(training, use_gpu=True, num_workers=workers)
    with pytest.raises(InputError, match=f"{workers} workers need {workers} GPUs; this machine"):
        scaling_of(config, 8)
