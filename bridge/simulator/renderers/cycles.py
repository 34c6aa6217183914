"""The reference renderer: Cycles of Blender, with its own motion blur.

It is slow and checks the others: it samples time continuously, so nothing depends on sub-frames.
Blender is licensed under the GPL and pins an old NumPy, so it runs in an environment and a process
of its own (`make cycles`), which `cycles_process.py` is the other end of.
"""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

import numpy as np

from bridge.blur import NUM_WINDOWS
from bridge.common.errors import InputError
from bridge.simulator import camera
from bridge.simulator.meshes.mesh import Mesh
from bridge.simulator.renderers.lighting import GAMMA, Lighting
from bridge.simulator.trajectory import Trajectory
from bridge.simulator.windows import window

PYTHON_VARIABLE = "BRIDGE_CYCLES_PYTHON"
"""Environment variable that names a Python interpreter with bpy."""

_KEYS_PER_FRAME = 8
_BORDER = 2
"""Pixels rendered around the object's box."""

Arrays = dict[str, np.ndarray]


class BlenderDied(RuntimeError):
    """Blender's process ended while it rendered, as by a crash or for want of memory."""


class CyclesRenderer:
    """Exposures by path tracing without bounces: a `Renderer`.

    Opacity is the share of a pixel's area and of the exposure that the object covers. Light is
    that of `Lighting`: unless `shadows` are asked for, the object hides nothing from itself.

    A Blender that dies is started again for the same images. Where that one dies too,
    `BlenderDied` is raised, and the renderer is ready for others.

    Args:
        image_size: (H, W) in pixels.
        samples: paths per pixel, spread over its area and the exposure. Faint pixels that few
            paths miss make blur severity too small: by about 0.01 with 64, 0.002 with 256.
        seed: of their positions; images with the same seed are equal.
        shadows: the object shades itself from the lamps and from the ambient light.
        threads: of Blender.
        python: interpreter with bpy; None looks in the environment variable
            BRIDGE_CYCLES_PYTHON, then for the one that `make cycles` installs, then takes the
            running one if it has bpy.

    Raises:
        InputError: there is no such interpreter, or it cannot load bpy.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        samples: int = 256,
        seed: int = 0,
        shadows: bool = False,
        threads: int = 1,
        python: str | Path | None = None,
    ) -> None:
        self.image_size = image_size
        self.samples = samples
        self.seed = seed
        self.shadows = shadows
        self.threads = threads
        self._mesh: Mesh | None = None
        self._python = Path(python) if python is not None else find_python()
        self._blender = _Blender(self._python)
        self.version = self._blender.version

    @property
    def pid(self) -> int:
        """Of Blender's process."""
        return self._blender.pid

    def close(self) -> None:
        """End Blender's process; without it, that happens when the renderer is collected."""
        self._blender.close()

    def expose(
        self, mesh: Mesh, trajectory: Trajectory, lighting: Lighting, *, linear: bool = False
    ) -> np.ndarray:
        """The sharp image and the ten blurred ones; see `Renderer.expose` and `render`."""
        return self.render(mesh, trajectory, lighting, range(NUM_WINDOWS + 1), linear=linear)

    def render(
        self,
        mesh: Mesh,
        trajectory: Trajectory,
        lighting: Lighting,
        windows: Sequence[int],
        *,
        samples: int | None = None,
        seed: int | None = None,
        linear: bool = False,
    ) -> np.ndarray:
        """Some of the eleven images.

        Args:
            mesh: the object; sent to Blender only when it is not the last one.
            trajectory: its motion.
            lighting: the light of the scene.
            windows: which exposures, 0 (sharp) to 10.
            samples, seed: instead of the renderer's own.
            linear: return linear light. Cycles always averages in linear light; otherwise the
                mean colour is converted to display space afterwards, which differs from a mean
                in display space where colours vary within a pixel's exposure.

        Returns:
            float32 [len(windows), H, W, 4]: RGB times opacity, and opacity, in 0..1.

        Raises:
            BlenderDied: twice, with these images.
            RuntimeError: Blender failed at them otherwise.
        """
        spans = np.array([window(index) for index in windows])
        first, last = window(NUM_WINDOWS)
        frames = np.linspace(first, last, (last - first) * _KEYS_PER_FRAME + 1)
        poses = [trajectory.pose(frame) for frame in frames]
        rotation = np.stack([pose[0] for pose in poses])
        translation = np.stack([pose[1] for pose in poses])
        corners = camera.to_camera(camera.box_corners(mesh.vertices), rotation, translation)
        seen = camera.project(corners, self.image_size)
        during = [seen[(frames >= start) & (frames <= end)] for start, end in spans]
        lamps = np.array([(*lamp.position, lamp.watts) for lamp in lighting.lamps])
        request: dict[str, Any] = {
            "size": self.image_size,
            "camera": np.array([camera.LENS, camera.SENSOR, camera.NEAR]),
            "samples": self.samples if samples is None else samples,
            "seed": self.seed if seed is None else seed,
            "threads": self.threads,
            "shadows": self.shadows,
            "ambient": lighting.ambient,
            "lamps": lamps.reshape(-1, 4),
            "frames": frames,
            "rotation": rotation,
            "translation": translation,
            "windows": spans,
            "borders": np.stack([_border(instants, self.image_size) for instants in during]),
        }
        shape = (len(spans), *self.image_size, 4)
        try:
            images = self._ask(request, mesh, shape)
        except BlenderDied:
            self._restart()
            try:
                images = self._ask(request, mesh, shape)
            except BlenderDied as error:
                self._restart()
                raise BlenderDied(f"Blender died twice: {error}") from error
        return _in_range(images, linear)

    def _ask(self, request: dict[str, Any], mesh: Mesh, shape: tuple[int, ...]) -> np.ndarray:
        if mesh is not self._mesh:
            self._mesh = None
            request = request | _mesh_arrays(mesh)
        images = self._blender.ask(request, shape)
        self._mesh = mesh
        return images

    def _restart(self) -> None:
        self._mesh = None
        self._blender = _Blender(self._python)


def find_python() -> Path:
    """The interpreter that has bpy; InputError where there is none."""
    named = os.environ.get(PYTHON_VARIABLE)
    if named:
        return Path(named)
    installed = Path(__file__).parents[3] / ".venv-cycles" / "bin" / "python"
    if installed.exists():
        return installed
    if importlib.util.find_spec("bpy"):
        return Path(sys.executable)
    raise InputError(
        "The cycles renderer needs Blender in a Python environment of its own: run `make cycles`,"
        f" or let {PYTHON_VARIABLE} name a Python that has bpy 4.5."
    )


def _mesh_arrays(mesh: Mesh) -> Arrays:
    """What Blender needs of a mesh; Cycles filters textures by itself, from the finest version."""
    return {
        "vertices": mesh.vertices,
        "normals": mesh.normals,
        "uv": mesh.uv,
        "tint": mesh.tint,
        "faces": mesh.faces,
        "face_texture": mesh.face_texture,
        "face_cutout": mesh.face_cutout,
        "texels": mesh.texels,
        "textures": mesh.mips[:, 0],
        "scale": np.array(camera.OBJECT_SCALE),
        "gamma": np.array(GAMMA),
    }


def _border(seen: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """The part of the picture to render: left, right, bottom, top in 0..1, y growing upwards.

    `seen` [T, 8, 3] are the corners of the object's box during the exposure.
    """
    height, width = image_size
    box = camera.touched_pixels(seen, image_size, _BORDER)
    across = box.left / width, box.right / width
    return np.array([*across, (height - box.bottom) / height, (height - box.top) / height])


def _in_range(images: np.ndarray, linear: bool) -> np.ndarray:
    """Premultiplied linear light as it came from Cycles in the form that a `Renderer` returns."""
    alpha = np.clip(images[..., 3:], 0, 1)
    colour = np.clip(images[..., :3] / np.maximum(alpha, 1e-6), 0, 1)
    if not linear:
        colour **= 1 / GAMMA
    return np.concatenate([colour * alpha, alpha], axis=-1).astype(np.float32)


class _Blender:
    """A process that renders; it ends with this object or with this process.

    Args:
        python: interpreter with bpy.

    Raises:
        InputError: the process does not come up.
    """

    def __init__(self, python: Path) -> None:
        self._connection, theirs = Pipe()
        # It lives as long as the process, whose words a pipe could not hold without a reader.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        script = Path(__file__).with_name("cycles_process.py")
        # Isolated, since a script's own folder would come first in the search path of imports,
        # and Blender itself imports a module that is called cycles.
        command = [str(python), "-I", str(script), str(theirs.fileno()), str(os.getpid())]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=[theirs.fileno()],
            )
        except OSError as error:
            raise InputError(f"The Python of the cycles renderer does not run: {error}") from error
        finally:
            theirs.close()
        self.pid = self._process.pid
        self.close = weakref.finalize(self, _end, self._process, self._connection, self._errors)
        try:
            self.version = str(self._receive()["version"])
        except (EOFError, OSError) as error:
            reason = self._last_words().strip().rpartition("\n")[2]
            self.close()
            raise InputError(
                f"Blender does not start under {python} (run `make cycles`; on a bare system also"
                " `apt-get install libgl1 libx11-6 libxrender1 libxfixes3 libxi6 libxkbcommon0"
                f" libsm6 libice6`): {reason}"
            ) from error

    def ask(self, request: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
        """The images of a request; BlenderDied or another RuntimeError where Blender fails."""
        if not self.close.alive:
            raise RuntimeError("the cycles renderer has been closed")
        buffer = io.BytesIO()
        np.savez(buffer, **request)
        try:
            self._connection.send_bytes(buffer.getbuffer())
            answer = self._receive()
        except (EOFError, OSError) as error:
            words = self._last_words()
            self.close()
            code = self._process.returncode
            raise BlenderDied(f"it ended with code {code} while rendering\n{words}") from error
        except BaseException:
            # Interrupted: the answer to this request must not be taken for that to the next one.
            self.close()
            raise
        if "error" in answer:
            raise RuntimeError(f"Blender failed:\n{answer['error']}")
        images = answer["images"]
        if images.shape != shape or not np.isfinite(images).all():
            raise RuntimeError(f"Blender answered {images.shape} or numbers that are not finite")
        return images

    def _receive(self) -> Arrays:
        with np.load(io.BytesIO(self._connection.recv_bytes()), allow_pickle=False) as arrays:
            return dict(arrays)

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-4000:].decode(errors="replace")


def _end(process: subprocess.Popen[bytes], connection: Connection, errors: IO[bytes]) -> None:
    """Close the connection, upon which the process ends by itself; insist where it does not."""
    connection.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    errors.close()
