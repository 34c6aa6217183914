"""The figures of `benchmarks/training.py` in Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks import training_loader
from benchmarks.tables import machine, table


def markdown(figures: dict[str, Any]) -> str:
    """The report of the parts that were measured."""
    threads = f"{figures['cores']} CPU threads"
    parts = [
        f"# Speed of training\n\n{machine()}; {figures['device']}, {threads}; {figures['data']}"
    ]
    if "step" in figures:
        parts.append(_step(figures["step"]))
    if "wait" in figures:
        parts.append(_wait(figures["wait"]))
        parts.append(f"## Loader\n\n{training_loader.markdown(figures['loader'])}")
    if "gpu" in figures:
        parts.append(_gpu(figures["gpu"]))
    if "scaling" in figures:
        parts.append(_scaling(figures["scaling"]))
        parts.append(_on_paper(figures["on_paper"]))
    return "\n\n".join(parts)


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _step(step: dict[str, Any]) -> str:
    rows = []
    for name, found in step.items():
        rates, losses = found["images_per_second"], found["loss"]
        rows.append(
            [
                name,
                _size(found["image_size"]),
                found["tuples"],
                f"{rates['batched']:.2f}",
                f"{rates['one_by_one']:.2f}",
                f"{found['ratio']:.2f}",
                f"{rates['one_by_one_channels_last']:.2f}",
                f"{found['ratio_same_layout']:.2f}",
                f"{losses['batched']:.5f} / {losses['one_by_one']:.5f}",
            ]
        )
    header = ["network", "size", "tuples", "one batch", "published loop", "ratio"]
    header += ["that, channels last", "ratio", "first loss of both"]
    return (
        "## Step\n\nImages per second of whole optimisation steps with the paper's losses and "
        "tuples of 7, medians of rounds in turn, same images and first weights. The published loop "
        "takes one image at a time in torch's default memory layout and float32.\n\n"
        + table(header, rows)
    )


def _wait(waits: dict[str, Any]) -> str:
    rows = []
    for name, found in waits.items():
        if "too_long" in found:
            what = [f"not measured: a step takes {found['too_long']:.0f} s", "", ""]
        else:
            rate = f"{found['images_per_second']:.1f}"
            what = [f"{found['data_wait']:.2%}", rate, str(found["steps"])]
        rows.append([name, found["images_per_step"], *what])
    header = ["preset", "images per step", "waiting for data", "images/s", "steps"]
    return "## Data\n\nShare of the time of `Trainer.run`.\n\n" + table(header, rows)


def _gpu(gpu: dict[str, Any] | None) -> str:
    if gpu is None:
        return "## GPU\n\nThere is no GPU."
    rows = []
    for name, found in gpu["variants"].items():
        if found is None:
            rows.append([name, "out of memory", "", "", ""])
            continue
        cells = [f"{found['images_per_second']:.0f}", f"{found['tflops']:.1f}"]
        memory = found.get("peak_memory_gb")
        cells += [f"{found['share_of_matmul']:.1%}", "" if memory is None else f"{memory:.1f}"]
        rows.append([name, *cells])
    return (
        f"## GPU\n\n{gpu['gpu']}: steps of {gpu['tuples']} tuples of 7 at "
        f"{_size(gpu['image_size'])}. TFLOP/s are 3 x {gpu['forward_gflop_per_image']:.1f} GFLOP "
        f"per image; the share is that of the measured bf16 product of matrices, "
        f"{gpu['matmul_tflops']:.0f} TFLOP/s.\n\n"
        + table(["", "images/s", "TFLOP/s", "share", "peak memory, GB"], rows)
    )


def _scaling(found: dict[str, Any]) -> str:
    seconds, counted, computed = found["seconds"], found["counted_bytes"], found["computed_bytes"]
    rows = [
        ["1 process", found["images"], f"{seconds['single']:.3f}", ""],
        [
            "2 processes, same batch",
            found["images"],
            f"{seconds['strong']:.3f}",
            f"{found['strong_efficiency']:.1%}",
        ],
        [
            "2 processes, a batch each",
            2 * found["images"],
            f"{seconds['weak']:.3f}",
            f"{found['weak_efficiency']:.1%}",
        ],
    ]
    reduced = computed["gradients"] + computed["predictions"] + computed["used"]
    traffic = [
        ["all-reduced", counted.get("allreduce", 0), reduced],
        ["all-gathered", counted.get("allgather", 0), computed["gathered"]],
        ["broadcast", counted.get("broadcast", 0), computed["buffers"]],
    ]
    rate = found["bytes_all_reduced_per_compute_second"] / 1e6
    return (
        f"## Two workers\n\nPreset {found['preset']} at {_size(found['image_size'])}, one CPU "
        "thread per process, gloo.\n\n"
        + table(["", "images per step", "seconds per step", "efficiency"], rows)
        + "\n\nBytes of a step of two processes with the same batch; the all-reduced ones are "
        f"{rate:.1f} MB per second of a process's own arithmetic.\n\n"
        + table(["", "counted", "computed"], [[n, f"{a:,}", f"{b:,}"] for n, a, b in traffic])
    )


def _on_paper(paper: dict[str, Any]) -> str:
    rows = [
        [
            row["workers"],
            row["images_per_step"],
            f"{row['compute_seconds'] * 1e3:.1f}",
            f"{row['gradient_seconds'] * 1e3:.1f}",
            f"{row['other_seconds'] * 1e3:.2f}",
            f"{row['efficiency']:.1%}",
            f"{row['efficiency_without_overlap']:.1%}",
        ]
        for row in paper["rows"]
    ]
    header = ["GPUs", "images per step", "compute, ms", "gradients, ms", "other traffic, ms"]
    header += ["efficiency", "without overlap"]
    return (
        "## Many GPUs: derived on paper, not measured\n\n"
        f"Assumed: {paper['gpu_images_per_second']:g} images/s and {paper['bandwidth_gb']:g} GB/s "
        "per GPU. Rings move 2(n-1)/n of the bytes that are all-reduced and (n-1)/n of those that "
        "are gathered. Gradients are sent during the backward pass, two thirds of the arithmetic, "
        "but for the last 25 MiB; all else is waited for. Latency, stragglers "
        "and slower small batches are left out.\n\n" + table(header, rows)
    )
