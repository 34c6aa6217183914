"""A GPU put to the test in minutes: does it compute what the CPU does, and how fast.

    python benchmarks/gpu.py                              on a machine with a GPU, 8 minutes at most
    python benchmarks/gpu.py --device cpu --tiny          the same program where there is none
    python benchmarks/gpu.py --prepare benchmarks/gpu-packages --python-version 3.12
    python benchmarks/gpu.py --tables reports/gpu.json    the tables of a run on another machine

Torch, torchvision, timm, safetensors, numpy and Pillow have to be there; what else it needs is put
into a folder by `--prepare`, on a machine that reaches a registry, and found beside this file or
where `--packages` says. numba adds the gl renderer and the CPU's own ranking to compare with.

Figures are printed and written as they come. Sections that the time is too short for, or that
fail, say so and leave the others alone; the exit code is 1 where a check has failed.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """The command."""
    # Where nothing is installed, neither is the product.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from benchmarks import packages

    packages.provide(sys.argv[1:])
    try:
        from benchmarks import gpu_sections
        from bridge.common import cli
    except ImportError as error:
        sys.exit(f"error: {error}. See --prepare in {__file__} for a machine without a registry.")
    cli.main(gpu_sections.command, gpu_sections.Config, description=__doc__)


if __name__ == "__main__":
    main()
