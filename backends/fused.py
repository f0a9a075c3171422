"""The fused kernels' one door: a run of a program, or why it has none.

The caller takes the plain path where :func:`fused_run` returns a sentence, and can tell its user. The verbs of a run
are those of :class:`adntn_ref.program.runs.Run`; for brick-walls of binary modes its segments are the passes over the
state, so a schedule keeps, or makes again, the states between passes.
"""

from adntn_ref.ad.arrays import dtype_name
from adntn_ref.program.frames import Frames
from adntn_ref.program.runs import Run
from adntn_ref.program.steps import Cores, Program

from .fused_tiles import TileRun, wall_of
from .fused_windows import WindowRun, window_refusal
from .kernel_plan import passes_of
from .launch import REALS, Launcher, limits_of


def fused_run(program: Program | Frames, cores: Cores, launcher: Launcher) -> Run | str:
    """Bind a program to its cores, to be run by fused kernels; or return a sentence that says why it cannot.

    Parameters
    ----------
    program : the network's program
    cores : dict of C-contiguous arrays of the launcher's namespace, all float32 or all float64
    launcher : who compiles and runs kernels
    """
    dtypes = sorted({dtype_name(core) for core in cores.values()})
    if len(dtypes) != 1 or dtypes[0] not in REALS:
        return f"fused kernels are written for cores all float32 or all float64, got {', '.join(dtypes)}"
    if isinstance(program, Frames):
        return "fused kernels run states, not the frames of a tree with activation_site='node'"
    limits = limits_of(launcher, dtypes[0])
    wall = wall_of(program)
    if not isinstance(wall, str):
        if passes_of(wall.bits, wall.layers, limits):
            return TileRun(wall, cores, launcher)
        wall = f"no tile fits {launcher.shared} bytes of shared memory three times"
    refusal = window_refusal(program, limits)
    if refusal is None:
        return WindowRun(program, cores, launcher)
    return refusal if refusal == wall else f"{wall}; {refusal}"
