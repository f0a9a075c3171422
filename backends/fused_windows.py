"""Runs of trees, MERA and brick-walls of any modes, one kernel a window; activations ride on the first of a segment.

The windows, their small matrices and the split of their environments are those of
:mod:`adntn_ref.program.windows`; the kernels do what is as large as the state.
"""

from typing import Any

from adntn_ref.ad.arrays import Array, dtype_name
from adntn_ref.program.runs import StartRun, segments_of
from adntn_ref.program.steps import Activate, Cores, Program
from adntn_ref.program.windows import Window, WrapWindow, window_environments, window_matrix

from .fused_vectors import BLOCKS, sum_partials
from .kernel_plan import WARP, Limits
from .launch import Instance, Launcher, activation_refusal, limits_of

SHARED = 48 * 1024
"""Bytes of shared memory that every device gives a block: more blocks run side by side than with all of it."""
PARTIALS = 2**22
"""Most entries of all blocks' parts of an environment."""


def window_refusal(program: Program, limits: Limits) -> str | None:
    """Say why a program cannot run window by window, or return None where it can."""
    if not program.steps:
        return "there is no step to run"
    if (refusal := activation_refusal(program)) is not None:
        return refusal
    for segment in segments_of(program):
        windows = [window for step in segment if not isinstance(step, Activate) for window in step.windows]
        if not windows:
            return "the window kernels need a core after every activation"
        if any(isinstance(window, WrapWindow) for window in windows):
            return "the window kernels do not take the pair (last, first) of a periodic MERA"
        if any(pairs_of(window, limits.itemsize) < 1 for window in windows):
            return f"a core is too large for {SHARED} bytes of shared memory"
    return None


def pairs_of(window: Window, itemsize: int) -> int:
    """Return how many columns of the state a block takes at once: at most a warp's, as many as fit; 0 if none does."""
    room = SHARED // itemsize // (window.inputs + window.outputs) - 1
    return min(WARP, 1 << (room.bit_length() - 1)) if room >= 1 else 0


class WindowRun(StartRun):
    """A program bound to its cores; each segment is an activation, if any, and the windows up to the next one.

    The start, small, goes the plain way.
    """

    def __init__(self, program: Program, cores: Cores, launcher: Launcher) -> None:
        self.program, self.cores, self.launcher, self.xp = program, cores, launcher, launcher.xp
        like = next(iter(cores.values()))
        self.dtype, name = like.dtype, dtype_name(like)
        self.limits = limits_of(launcher, like.dtype)
        self.parts: list[list[tuple[Window, bool]]] = []
        self.kernels: list[Instance] = []
        for segment in segments_of(program):
            activations = [step.activation.name for step in segment if isinstance(step, Activate)]
            activation = activations[0] if activations else "identity"
            windows = [window for step in segment if not isinstance(step, Activate) for window in step.windows]
            self.parts.append([(window, k == 0 and activation != "identity") for k, window in enumerate(windows)])
            self.kernels.append(Instance("windows", name, activation))
        self.matrices = [[window_matrix(w, cores, like).copy() for w, _ in part] for part in self.parts]
        self.count = len(self.parts)

    def last_state(self) -> Array:
        """Return the last state, keeping nothing."""
        x = self.start()
        for k in range(self.count):
            x = self.forward(k, x)
        return x

    def forward(self, k: int, x: Array) -> Array:
        """Run a segment."""
        for number in range(len(self.parts[k])):
            x = self._run(k, number, x)
        return x

    def keeping(self, k: int, x: Array) -> tuple[Array, list[Array]]:
        """Run a segment; its record is the input of every window."""
        inputs = []
        for number in range(len(self.parts[k])):
            inputs.append(x)
            x = self._run(k, number, x)
        return x, inputs

    def again(self, k: int, x: Array) -> list[Array]:
        """Run all windows of a segment but the last, for their inputs."""
        inputs = [x]
        for number in range(len(self.parts[k]) - 1):
            inputs.append(self._run(k, number, inputs[-1]))
        return inputs

    def _run(self, k: int, number: int, x: Array) -> Array:
        window, activate = self.parts[k][number]
        y = self.xp.empty(window.entries[1], self.dtype)
        pairs = pairs_of(window, self.limits.itemsize)
        blocks = min(BLOCKS, -(-window.left * window.right // pairs))
        shared = window.inputs * (pairs + 1) * self.limits.itemsize
        arguments = (x, y, self.matrices[k][number], *_sizes(window), pairs, int(activate))
        self.launcher.launch(self.kernels[k], "window_forward", (blocks, 1), 256, shared, arguments)
        return y

    def back(self, k: int, record: list[Array], g: Array, owned: bool, found: dict[Any, Array]) -> Array:
        """Carry a cotangent back through the windows of a segment."""
        if not owned:
            g = self.xp.ascontiguousarray(g, dtype=self.dtype)
        for number in range(len(self.parts[k]) - 1, -1, -1):
            g = self._back(k, number, record[number], g, found)
        return g

    def _back(self, k: int, number: int, x: Array, g: Array, found: dict[Any, Array]) -> Array:
        window, activate = self.parts[k][number]
        gx = self.xp.empty(window.entries[0], self.dtype)
        pairs, entries = pairs_of(window, self.limits.itemsize), window.inputs * window.outputs
        most = max(1, min(PARTIALS // entries, 2 * self.limits.processors))
        blocks = min(most, -(-window.left * window.right // pairs))
        partials = self.xp.empty(blocks * entries, self.dtype)
        shared = (window.inputs + window.outputs) * (pairs + 1) * self.limits.itemsize
        arguments = (x, g, gx, partials, self.matrices[k][number], *_sizes(window), pairs, int(activate))
        self.launcher.launch(self.kernels[k], "window_backward", (blocks, 1), 256, shared, arguments)
        whole = sum_partials(self.launcher, partials, blocks, entries)
        found.update(window_environments(window, self.cores, whole.reshape(window.outputs, window.inputs)))
        return gx


def _sizes(window: Window) -> tuple[int, int, int, int]:
    return window.outputs, window.inputs, window.left, window.right
