"""How fast a GPU is at what the product asks of it; see benchmarks/gpu.py.

TFLOP/s are of the network's own arithmetic: twice the multiplications of a forward pass, three
times that for a step, whatever checkpointing computes again.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from benchmarks.evaluation import PRESETS as SIZES
from benchmarks.evaluation import Config as EvaluationConfig
from benchmarks.evaluation import Size, random_data
from benchmarks.gpu_setting import NETWORKS, NotDone, Row, Setting, float32, fresh, own_memory
from benchmarks.noise import encoded, noise_data, pictures, tensor
from benchmarks.steps import OneByOne, channels_first, forward_flops, median_seconds
from bridge.common.errors import InputError
from bridge.metrics import evaluate_retrieval
from bridge.model.embedding import embed_encoded
from bridge.model.method import RetrievalModel
from bridge.training.presets import Preset, PresetName
from bridge.training.recipe import Compute
from bridge.training.trainer import Trainer

MATRIX = 8192
COPIED = 2 << 30
LOOP_TUPLES = 2
"""Of a step of the published loop, which takes images one by one."""

STEPS = {
    "fp32": Compute("fp32"),
    "bf16": Compute("bf16"),
    "bf16, checkpointing": Compute("bf16", gradient_checkpointing=True),
}
COMPILED_STEPS = {
    "bf16, compiled": Compute("bf16", compile=True),
    "bf16, compiled, checkpointing": Compute("bf16", compile=True, gradient_checkpointing=True),
}


def chip(setting: Setting) -> Iterator[Row]:
    """What the device does at its best: products of matrices, and copies."""
    side = 64 if setting.tiny else MATRIX
    for name, kind, tf32 in (
        ("bf16", torch.bfloat16, False),
        ("TF32", torch.float32, True),
        ("fp32", torch.float32, False),
    ):
        left, right = (torch.randn(side, side, device=setting.device).to(kind) for _ in range(2))
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        seconds = _seconds(setting, partial(torch.mm, left, right), rounds=20)
        torch.set_float32_matmul_precision("highest")
        yield {"product": name, "side": side, "tflops": 2 * side**3 / seconds / 1e12}
    source = torch.empty(1 << 20 if setting.tiny else COPIED, dtype=torch.int8)
    source = source.to(setting.device)
    target = torch.empty_like(source)
    seconds = _seconds(setting, lambda: target.copy_(source), rounds=20)
    yield {"copy": "read and written", "gb_per_second": 2 * source.nbytes / seconds / 1e9}


def training(setting: Setting) -> Iterator[Row]:
    """Steps of the presets, and the published loop at the paper's."""
    for name in NETWORKS:
        for variant, compute in STEPS.items():
            yield _step(setting, name, variant, compute)
    yield _loop(setting)


def compiled_training(setting: Setting) -> Iterator[Row]:
    """The same with torch.compile, whose seconds are told too."""
    _require_compiler()
    for variant, compute in COMPILED_STEPS.items():
        for name in NETWORKS:
            yield _step(setting, name, variant, compute)
            # To compile for a processor takes minutes, whatever the size.
            if setting.tiny:
                return


def _step(setting: Setting, name: PresetName, variant: str, compute: Compute) -> Row:
    """One way of computing a step, with fewer tuples where memory is too small for the preset's."""
    asked = tuples = setting.preset(name).recipe.batch_size
    row: Row = {"preset": name, "variant": variant}
    while tuples:
        try:
            row |= _timed_step(setting, name, compute, tuples)
            break
        except torch.OutOfMemoryError:
            tuples //= 2
    note = "" if tuples == asked else f"out of memory with {2 * tuples or 1} tuples"
    return row | {"note": note}


def _timed_step(setting: Setting, name: PresetName, compute: Compute, tuples: int) -> Row:
    preset = setting.preset(name)
    with own_memory(setting) as memory:
        model, recipe = fresh(preset.model), replace(preset.recipe, batch_size=tuples)
        flops = forward_flops(model)
        data = noise_data(preset.model.image_size, setting.seed)
        trainer = Trainer(model, recipe, data, None, device=setting.device, compute=compute)
        batch = trainer.example_batch(tuples)
        began = time.perf_counter()
        trainer.train_step(batch)
        setting.synchronize()
        first = time.perf_counter() - began
        seconds = _seconds(setting, partial(trainer.train_step, batch), rounds=8)
    found = _step_figures(preset, len(batch.objects), seconds, flops)
    return found | {"tuples": tuples, **memory, "first_step_seconds": first}


def _step_figures(preset: Preset, images: int, seconds: float, flops: int) -> Row:
    rate = images / seconds
    return {
        "image_size": preset.model.image_size,
        "images": images,
        "seconds": seconds,
        "images_per_second": rate,
        "tflops": 3 * flops * rate / 1e12,
    }


def _loop(setting: Setting) -> Row:
    """A step of the published loop, one image at a time, as torch computes by default."""
    preset = setting.preset("paper")
    data = noise_data(preset.model.image_size, setting.seed)
    recipe = replace(preset.recipe, batch_size=LOOP_TUPLES)
    with own_memory(setting) as memory:
        model = fresh(preset.model)
        flops = forward_flops(model)
        batch = Trainer(model, recipe, data, None, device=setting.device).example_batch(LOOP_TUPLES)
        loop = OneByOne(model, recipe, setting.device)
        with float32(exact=False):
            seconds = _seconds(setting, partial(loop.train_step, batch), rounds=5)
    named = {"preset": "paper", "variant": "published loop, batch 1, TF32", "tuples": LOOP_TUPLES}
    return named | _step_figures(preset, len(batch.objects), seconds, flops) | memory


@dataclass(frozen=True)
class Embedding:
    """A way of embedding."""

    name: str
    bf16: bool = True
    exact: bool = False
    channels_first: bool = False
    compile: bool = False


EMBEDDINGS = (
    Embedding("fp32", bf16=False, exact=True),
    Embedding("TF32", bf16=False),
    Embedding("bf16, channels first", channels_first=True),
    Embedding("bf16"),
)


def embedding(setting: Setting) -> Iterator[Row]:
    """Pictures on the device to descriptors, by ways and batches; and from JPEG files."""
    for way in EMBEDDINGS:
        for batch in (2,) if setting.tiny else (64, 256):
            yield _embedding(setting, way, batch)
    yield _from_files(setting)


def compiled_embedding(setting: Setting) -> Iterator[Row]:
    """The same with torch.compile."""
    _require_compiler()
    yield _embedding(setting, Embedding("bf16, compiled", compile=True), 2 if setting.tiny else 256)


def _embedding(setting: Setting, way: Embedding, batch: int) -> Row:
    size = setting.preset("paper").model.image_size
    with (
        own_memory(setting) as memory,
        float32(exact=way.exact),
        torch.autocast(setting.device, torch.bfloat16, enabled=way.bf16),
    ):
        model = _network(setting)
        flops = forward_flops(model)
        model.to(setting.device)
        if way.channels_first:
            channels_first(model)
        if way.compile:
            model.backbone.compile()
        images = tensor(pictures(batch, size, setting.seed)).to(setting.device)
        seconds = _seconds(setting, lambda: model.describe(images), rounds=10)
    rate = batch / seconds
    return {
        "way": way.name,
        "image_size": size,
        "batch": batch,
        "images_per_second": rate,
        "tflops": flops * rate / 1e12,
        **memory,
    }


def _from_files(setting: Setting) -> Row:
    """As `build_index.py` embeds: JPEG pictures are decoded while the network works."""
    number, threads = (8, 2) if setting.tiny else (4096, os.cpu_count() or 1)
    size = setting.preset("paper").model.image_size
    few = encoded(min(number, 64), size, setting.seed)
    files = [few[i % len(few)] for i in range(number)]
    with own_memory(setting) as memory:
        model = _network(setting).to(setting.device)
        embed = partial(embed_encoded, model, threads=threads, precision="bfloat16")
        embed(files[: number // 8])
        began = time.perf_counter()
        embed(files)
        seconds = time.perf_counter() - began
    return {
        "way": f"bf16, from JPEG, {threads} threads",
        "image_size": size,
        "batch": 64,
        "images_per_second": number / seconds,
        **memory,
    }


def _network(setting: Setting) -> RetrievalModel:
    """The paper's, without its classifier, which descriptors do not need."""
    return fresh(replace(setting.preset("paper").model, num_classes=0))


RANKINGS = {name: SIZES[name] for name in ("paper", "distractors")}
TINY_RANKINGS = {"paper": Size(64, 500), "distractors": Size(64, 500, 1_000, k=10)}


def ranking(setting: Setting) -> Iterator[Row]:
    """Exact evaluation at the paper's sizes, without distractors and with them."""
    for size in (TINY_RANKINGS if setting.tiny else RANKINGS).values():
        data = random_data(EvaluationConfig(seed=setting.seed), size)
        sides = data.queries, data.database, data.query_labels, data.database_labels
        # Another name of the processor, so that torch ranks there too.
        device = setting.device if setting.on_gpu else "cpu:0"
        with own_memory(setting) as memory:
            # The first use of a device is not part of it.
            few = (side[:64] for side in sides)
            evaluate_retrieval(*few, k=size.k and 10, device=device)
            began = time.perf_counter()
            found = evaluate_retrieval(*sides, k=size.k, device=device)
            seconds = time.perf_counter() - began
        yield {
            "queries": size.queries,
            "database": len(data.database),
            "k": size.k,
            "seconds": seconds,
            "product_seconds": _product_seconds(setting, data.queries, data.database),
            **memory,
            "map": found.map["retrieved"],
        }


def _product_seconds(setting: Setting, queries: np.ndarray, database: np.ndarray) -> float:
    """Of the similarities alone, from those of some queries."""
    few = torch.from_numpy(queries[:1024]).to(setting.device)
    rows = torch.from_numpy(database).to(setting.device)
    return _seconds(setting, lambda: few @ rows.T, rounds=3) * len(queries) / len(few)


def gl(setting: Setting) -> Iterator[Row]:
    """The eleven images of trajectories by the renderer gl, on built-in objects."""
    try:
        from bridge.simulator.objects.procedural import FAMILIES, procedural_mesh
        from bridge.simulator.renderers.gl import GLCanvas
        from bridge.simulator.renderers.lighting import Lighting
        from bridge.simulator.renderers.subframes import SubframeRenderer
        from bridge.simulator.trajectory import sample_trajectory
    except ImportError as error:
        raise NotDone(f"objects need what is not here: {error}") from error
    size, motions = ((24, 32), 1) if setting.tiny else ((240, 320), 20)
    try:
        canvas = GLCanvas(size)
    except InputError as error:
        raise NotDone(str(error)) from error
    renderer = SubframeRenderer(canvas, 1.0)
    rng, seconds = np.random.default_rng(setting.seed), []
    for category in sorted(FAMILIES)[: 2 if setting.tiny else None]:
        mesh = procedural_mesh(0, category, 0)
        # The first image of an object takes its way to the device.
        for _ in range(1 + motions):
            motion = sample_trajectory(rng, mesh.extents, size)
            began = time.perf_counter()
            layers = renderer.expose(mesh, motion, Lighting(), linear=False)
            seconds.append(time.perf_counter() - began)
        seconds.pop(-1 - motions)
    yield {
        "device": canvas.describe(),
        "image_size": size,
        "trajectories": len(seconds),
        "images_per_second": len(layers) * len(seconds) / sum(seconds),
        "median_ms_per_trajectory": 1000 * float(np.median(seconds)),
    }


def _require_compiler() -> None:
    """NotDone where torch.compile finds nothing to compile with."""
    names = (os.environ.get("CXX"), os.environ.get("CC"), "g++", "gcc", "clang", "cc")
    if not any(name and shutil.which(name) for name in names):
        raise NotDone("there is no C compiler, which torch.compile needs")


def _seconds(setting: Setting, work: Callable[[], object], *, rounds: int) -> float:
    """The median after some warming up."""
    warm_ups, rounds = (0, 1) if setting.tiny else (3, rounds)
    return median_seconds({"": work}, setting.device, warm_ups=warm_ups, rounds=rounds)[""]
