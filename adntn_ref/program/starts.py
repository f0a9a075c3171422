"""Starts: the first values of the cores.

A generator has no input, so one forward pass fixes the scale of every state exactly. The default start, *calibrated
orthogonal*, reads each core as a matrix (outputs x inputs), makes it orthogonal, and then rescales the cores of each
step so that the state after it has root mean square 1 and the weight the wanted standard deviation. It keeps states
alive to any depth tried, where uncalibrated normal starts fade and near-identity ones collapse to zero from about
five layers. (Ours.)

For aTTN and MERA *isometric near identity* begins near a tree: expansions are isometries and mixing cores orthogonal
matrices close to the unit matrix, as where disentanglers are added to a tree that is there (Felser, Notarnicola,
Montangero, arXiv 2011.08200).
"""

from collections.abc import Callable
from math import prod

import numpy as np

from adntn_ref.ad.arrays import Array
from adntn_ref.errors import SpecError, StartError
from adntn_ref.program.frames import Frames
from adntn_ref.program.modes import Layout
from adntn_ref.program.steps import Cores, Product, Program

Shapes = dict[str, tuple[int, ...]]


def draw_cores(shapes: Shapes, vectors: set[str], rng: np.random.Generator, start: str) -> Cores:
    """Draw every core in the order of ``shapes``, float64, on the host.

    ``vectors`` names the cores of the start state, which have no inputs. Normal numbers are drawn in the same order for
    every start, one call a core.

    Raises
    ------
    SpecError
        For an unknown start, and one that has no meaning for these cores.
    """
    if not isinstance(start, str) or start not in STARTS:
        raise SpecError(f"no start is called {start!r}; allowed: {', '.join(STARTS)}")
    if start == "isometric_near_identity":
        _require_expansions_and_mixing(shapes, vectors)
    make = STARTS[start]
    return {name: make(rng.standard_normal(shape), name in vectors) for name, shape in shapes.items()}


def orthogonal(normal: Array, inputs: int) -> Array:
    """Return the orthogonal factor of a normal matrix (outputs x inputs), drawn from the Haar measure.

    QR with the signs of R's diagonal made positive. With more inputs than outputs the rows are orthonormal, else the
    columns (an isometry).
    """
    matrix = normal.reshape(-1, inputs)
    wide = matrix.shape[0] < matrix.shape[1]
    q, r = np.linalg.qr(matrix.T if wide else matrix)
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return np.ascontiguousarray(q.T if wide else q).reshape(normal.shape)


def inputs_of(shape: tuple[int, ...]) -> int:
    """Return the number of inputs of a core, outputs first: (m, n, m, n) has m n, (chi_l, chi_r, chi) has chi."""
    return prod(shape[2:])


def _orthogonal_core(normal: Array, is_vector: bool) -> Array:
    return normal if is_vector else orthogonal(normal, inputs_of(normal.shape))


def _normal_core(normal: Array, is_vector: bool) -> Array:
    """Entries of variance 1 / inputs, so that a matrix keeps the mean square of what it is applied to."""
    return normal if is_vector else normal / np.sqrt(inputs_of(normal.shape))


def _near_identity_core(normal: Array, is_vector: bool) -> Array:
    """Unit matrix (unit vector for start cores) plus noise of standard deviation 0.1."""
    unit = np.zeros(normal.shape)
    if is_vector:
        unit[(0,) * normal.ndim] = 1.0
    else:
        unit = np.eye(normal.size // inputs_of(normal.shape), inputs_of(normal.shape)).reshape(normal.shape)
    return unit + 0.1 * normal


def _isometric_near_identity_core(normal: Array, is_vector: bool) -> Array:
    """Expansions: the orthogonal factor Q. Mixing cores: Q of the unit matrix plus noise of standard deviation 0.1.

    To first order in the noise N that is ``1 + 0.1 (L - L^T)``, L the part of N below the diagonal.
    """
    if not is_vector and _mixes(normal.shape):
        return orthogonal(_near_identity_core(normal, is_vector), inputs_of(normal.shape))
    return _orthogonal_core(normal, is_vector)


def _mixes(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[:2] == shape[2:]


def _require_expansions_and_mixing(shapes: Shapes, vectors: set[str]) -> None:
    """Refuse what has no expansions, shape (chi_l, chi_r, chi), or no mixing cores, shape (m, n, m, n)."""
    others = [shape for name, shape in shapes.items() if name not in vectors]
    mixing = any(_mixes(shape) for shape in others)
    if mixing and any(len(shape) == 3 for shape in others):
        return
    lacks, instead = ("expansions", "near_identity") if mixing else ("mixing cores", "isometric")
    raise SpecError(
        f"start='isometric_near_identity' is for networks with expansions and mixing cores (attn, mera); this one has"
        f" no {lacks}: take start={instead!r}"
    )


STARTS: dict[str, Callable[[Array, bool], Array]] = {
    "calibrated_orthogonal": _orthogonal_core,
    "isometric": _orthogonal_core,
    "isometric_near_identity": _isometric_near_identity_core,
    "normal": _normal_core,
    "near_identity": _near_identity_core,
}
"""Start by name; only ``calibrated_orthogonal`` is rescaled afterwards."""


def calibrate(program: Program | Frames, cores: Cores, layout: Layout, std: float) -> Cores:
    """Rescale the cores of each step so that states have root mean square 1 and the weight standard deviation ``std``.

    The factor is shared evenly among the cores of a step. Every step is linear in each of its cores (activations have
    none), so the result is exact.

    Raises
    ------
    StartError
        If a state is zero or not finite, so that no factor revives it.
    """
    if isinstance(program, Frames):
        return _calibrate_frames(program, cores, layout, std)
    scaled = dict(cores)
    last = program.steps[-1] if program.steps else program.start
    x: Array = None
    for step in program.all_steps:
        if isinstance(step, Product):
            x = step.forward(scaled)[0]
        else:
            for one_pass in step.passes(scaled):
                x = one_pass(x)
        names = step.core_names
        if not names:
            continue
        factor = _factor(step.name, layout.extract(x) if step is last else x, std if step is last else None)
        for name in names:
            scaled[name] = scaled[name] * factor ** (1 / len(names))
        x = x * factor
    return scaled


def _calibrate_frames(program: Frames, cores: Cores, layout: Layout, std: float) -> Cores:
    """Rescale the core of each node, from the leaves to the root."""
    scaled = dict(cores)
    frames: Cores = {}
    for frame in program.frames:
        z = frame.forward(scaled, frames)[1]
        root = frame is program.frames[-1]
        factor = _factor(frame.core, layout.extract(z.reshape(-1)) if root else z, std if root else None)
        scaled[frame.core] = scaled[frame.core] * factor
        frames[frame.core] = program.activation.sigma(z * factor)
    return scaled


def _factor(name: str, x: Array, std: float | None) -> float:
    """Return what brings x to root mean square 1, or to a standard deviation; StartError where nothing does."""
    size = _root_mean_square(x) if std is None else spread(x)
    if not np.isfinite(size) or size == 0:
        raise StartError(
            f"the state after {name} has size {size}, and no scale of this seed's cores keeps it alive;"
            " try another seed, more modes, or an activation other than relu"
        )
    return (1.0 if std is None else std) / size


def _root_mean_square(x: Array) -> float:
    return float(np.sqrt(np.mean(np.abs(x) ** 2)))


def spread(weight: Array) -> float:
    """Standard deviation; the root mean square where a weight has one entry or is constant."""
    spread = float(np.std(weight))
    return spread if spread > 1e-12 * _root_mean_square(weight) else _root_mean_square(weight)


def default_std(shape: tuple[int, ...]) -> float:
    """Return He's standard deviation, sqrt(2 / fan_in), for a weight of shape (outputs, inputs, ...)."""
    return float(np.sqrt(2.0 / max(1, prod(shape[1:]))))
