"""The options of `build_index.py`: their defaults and their ranges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro
from annotated_types import Gt, Le

from bridge.common.record import Count, Positive, Share, WholeNumber, check, from_json
from bridge.common.watch_options import WatchOptions
from bridge.index.config import IndexType
from bridge.model.config import Precision


@dataclass(frozen=True)
class IndexOptions:
    """Which search index to make; an index that is there keeps its own where none are given."""

    index_type: IndexType | None = None
    """exact, ivfpq (small) or hnsw (fast). Default: exact, or the best within the budgets."""
    memory_gb: Positive | None = None
    """Most gigabytes (10^9 bytes) that the index may take."""
    latency_ms: Positive | None = None
    """Most milliseconds that a search with one query may take on one thread."""
    target_recall: Annotated[float, Gt(0), Le(1)] = 0.95
    """recall@100 up to which an approximate search takes its time, where no latency is given."""

    def __post_init__(self) -> None:
        check(self)

    def or_those_of(self, search: Any) -> IndexOptions:
        """These, or where they are all defaults, those of an index's `search` record."""
        if self == IndexOptions() and "options" in search:
            return from_json(IndexOptions, search["options"], "options of the search index")
        return self


@dataclass(frozen=True)
class BuildIndexConfig:
    """What to embed with what."""

    model: str = "runs/bridge/model"
    """A MODEL folder, or a published checkpoint file."""
    data: str = "data/synthetic"
    """The dataset; its test, real and distractor images become queries and database."""
    distractors: str | None = None
    """A dataset of distractors to add to the database."""
    real: str | None = None
    """A dataset of real images, for the protocol `real`."""
    out: str = "indexes/bridge"
    """Folder of the index."""
    add: tuple[str, ...] = ()
    """Datasets to add to the index that is in --out; --model, --data and so on are its own then."""
    seed: WholeNumber = 0
    """Of the selection of queries and database."""
    index: tyro.conf.OmitArgPrefixes[IndexOptions] = field(default_factory=IndexOptions)
    export: tuple[str, ...] = ()
    """Vector databases to write the rows of the finished index to: lancedb:URI, milvus:URI."""
    num_workers: Count | None = None
    """Processes that embed; default: one per GPU, or per CPU."""
    use_gpu: bool | None = None
    """Whether each of them has a GPU; default: where the cluster has any."""
    precision: Precision | None = None
    """In which the network computes; default: bfloat16 on GPUs, float32 on CPUs."""
    batch_size: Count | None = None
    """Images per forward pass; default: 64, on CPUs fewer where they are large."""
    thumbnails: bool = False
    """Keep a picture of 96 pixels beside each descriptor, for programs that show the rows."""
    trust_data: bool = False
    """Take shards as they are, without comparing them with the hashes in their manifest."""
    max_rejected: Share = 0.01
    """Give up when more than this share of the images cannot be decoded."""
    num_cpus: Count | None = None
    """CPUs of the local cluster that is started where none is running; default: all."""
    watch: tyro.conf.OmitArgPrefixes[WatchOptions] = field(default_factory=WatchOptions)

    def __post_init__(self) -> None:
        check(self)
