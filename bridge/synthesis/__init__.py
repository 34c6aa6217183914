"""Synthesis: where the simulator and the DATASET meet (Sec. 4)."""

from typing import TYPE_CHECKING

from bridge.common.lazy import names_in

if TYPE_CHECKING:
    from bridge.synthesis.plan import ShardPlan, plan_shards
    from bridge.synthesis.shard import make_shard

__all__ = ["ShardPlan", "make_shard", "plan_shards"]

__getattr__ = names_in(__name__, {"plan": ("ShardPlan", "plan_shards"), "shard": ("make_shard",)})
