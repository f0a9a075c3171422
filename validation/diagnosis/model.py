"""An interpreter of specifications that can make the mistakes of the catalogue, forward and backward.

Written from the conventions alone: plain NumPy in double precision, slow, for small cases. Mistakes act in the order
in which they are named, where the order matters.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from adntn_ref.errors import SpecError

from .brickwall import brickwall
from .catalogue import MISTAKES
from .chains import MULTILINEAR, multilinear
from .nodes import Frames
from .parts import Array, Cores, Impossible, Wrong
from .trees import tree_program

Spec = Mapping[str, Any]
Pull = Callable[[Any], Cores]

SCALES = {"gradient-doubled": 2.0, "gradient-halved": 0.5, "gradient-negative": -1.0}
TREES = ("ttn", "attn", "mera")


def mistaken(spec: Spec, params: Cores, cotangent: Any, mistakes: Sequence[str]) -> dict[str, Array] | None:
    """Return what an implementation with the given mistakes makes of a case.

    Parameters
    ----------
    spec : specification, as of ``net.to_spec()``
    params : cores, and frozen weights under ``"frozen/<sha256>"``
    cotangent : array of the weight's shape; for a stack a dict of them
    mistakes : names from :data:`~adntn_ref.validation.diagnosis.catalogue.MISTAKES`; none of them, and the
        result is the reference's

    Raises
    ------
    SpecError
        For a name that the catalogue does not have.

    Returns
    -------
    dict or None
        ``weight`` (for a stack ``weight/NAME``) and ``gradient/CORE``, in double precision. Gradients that hang on
        rounding, as a pre-activation is at a kink but for that, are left out. None where sizes do not let these
        mistakes be made, so that a program with them would stop.

    Examples
    --------
    >>> spec = {"network": "lowrank", "shape": [2, 2], "rank": 1}
    >>> params = {"left": np.array([[1.0], [2.0]]), "right": np.array([[3.0, 4.0]])}
    >>> mistaken(spec, params, np.ones((2, 2)), ["gradient-doubled"])["gradient/left"]
    array([[14.],
           [14.]])
    """
    wrong = tuple(mistakes)
    for name in wrong:
        if name not in MISTAKES:
            raise SpecError(f"no mistake is called {name}")
    cores = {name: _double(core) for name, core in params.items()}
    try:
        weight, pull = generator(spec, cores, wrong)
        with np.errstate(all="ignore"):
            found = pull(_cotangent(cotangent, weight, wrong))
    except Impossible:
        return None
    weights = {f"weight/{name}": w for name, w in weight.items()} if isinstance(weight, dict) else {"weight": weight}
    changed = _changed(spec, found, weights, wrong)
    return {**weights, **{f"gradient/{name}": g for name, g in changed.items() if not np.isnan(g).any()}}


def generator(spec: Spec, cores: Cores, wrong: Wrong) -> tuple[Any, Pull]:
    """Return the weight and its pullback, with the given mistakes.

    Raises
    ------
    Impossible
        Where sizes do not fit.
    """
    kind = spec["network"]
    if kind in COMBINATIONS:
        return COMBINATIONS[kind](spec, cores, wrong)
    full = _with_modes(spec)
    cores = {name: core for name, core in cores.items() if not name.startswith("frozen/")}
    if kind in TREES and _at_nodes(full, wrong):
        frames = Frames(full, cores, wrong)
        return frames.weight(), frames.backward
    if kind not in (*TREES, *MULTILINEAR, "brickwall"):
        raise Impossible(f"no network is called {kind}")
    make = brickwall if kind == "brickwall" else tree_program if kind in TREES else multilinear
    program = make(full, wrong)
    with np.errstate(all="ignore"):
        weight, states = program.forward(cores)
    return weight, lambda g: program.backward(cores, states, g, wrong)


def _with_modes(spec: Spec) -> dict[str, Any]:
    """Return the specification with ``modes`` also where it names row and column modes."""
    full = dict(spec)
    if "modes" not in full and "row_modes" in full:
        rows, columns = list(full["row_modes"]), list(full["col_modes"])
        both = [d for pair in zip(rows, columns, strict=False) for d in pair]
        common = min(len(rows), len(columns))
        interleaved = [*both, *rows[common:], *columns[common:]]
        full["modes"] = interleaved if full.get("layout") == "interleaved" else rows + columns
    return full


def _at_nodes(spec: Spec, wrong: Wrong) -> bool:
    if spec["network"] != "ttn":
        return False
    at_nodes = spec.get("activation_site", "level") == "node"
    return (at_nodes and "node-as-level" not in wrong) or (not at_nodes and "level-as-node" in wrong)


def _double(core: Array) -> Array:
    return np.asarray(core, dtype=np.complex128 if np.iscomplexobj(core) else np.float64)


def _cotangent(cotangent: Any, weight: Any, wrong: Wrong) -> Any:
    """Return the cotangent as the backward pass reads it."""
    if isinstance(cotangent, dict):
        return {name: _cotangent(g, weight[name], wrong) for name, g in cotangent.items()}
    g = _double(cotangent)
    for mistake in wrong:
        if mistake == "cotangent-ones":
            g = np.ones_like(g)
        if mistake == "cotangent-conjugated":
            g = g.conj()
        if mistake == "cotangent-fortran":
            g = g.reshape(-1, order="F").reshape(g.shape)
    return g


def _changed(spec: Spec, found: Cores, weights: Cores, wrong: Wrong) -> Cores:
    """Return the gradients as the last lines of a wrong backward pass hand them over."""
    count = sum(w.size for w in weights.values())
    for mistake in wrong:
        if mistake in SCALES:
            found = {name: SCALES[mistake] * g for name, g in found.items()}
        if mistake == "gradient-mean":
            found = {name: g / count for name, g in found.items()}
        if mistake == "gradient-conjugated":
            found = {name: g.conj() for name, g in found.items()}
        if mistake == "gradient-clipped":
            norm = float(np.sqrt(sum(np.sum(np.abs(g) ** 2) for g in found.values())))
            found = {name: g / max(norm, 1.0) for name, g in found.items()}
        if mistake == "untouched-half-not-zero":
            found = _touched(spec, found, "")
    return found


def _touched(spec: Spec, found: Cores, prefix: str) -> Cores:
    """Give the untouched half of a brick (odd Q, constant boundary) the gradient of the touched one."""
    parts = spec.get("parts", [])
    for k, part in enumerate(parts):
        found = _touched(part, found, f"{prefix}{k}.")
    if "net" in spec:
        found = _touched(spec["net"], found, prefix)
    if spec["network"] == "brickwall" and spec["boundary"] == "constant":
        count = len(_with_modes(spec)["modes"])
        name = f"{prefix}layer0.brick{count - 2}"
        if count % 2 and name in found:
            first = found[name][..., :1]
            found = {**found, name: np.broadcast_to(first, found[name].shape)}
    return found


def _under(prefix: str, cores: Cores) -> Cores:
    """Return the cores of a part under their own names, and all frozen weights."""
    mine = {name[len(prefix) :]: core for name, core in cores.items() if name.startswith(prefix)}
    return {**mine, **{name: core for name, core in cores.items() if name.startswith("frozen/")}}


def _sum(spec: Spec, cores: Cores, wrong: Wrong) -> tuple[Any, Pull]:
    runs = [generator(part, _under(f"{k}.", cores), wrong) for k, part in enumerate(spec["parts"])]
    share = 1 / len(runs) if "sum-mean" in wrong else 1.0
    weight = share * sum(w for w, _ in runs)

    def pull(g: Array) -> Cores:
        return {f"{k}.{name}": x for k, (_, back) in enumerate(runs) for name, x in back(share * g).items()}

    return weight, pull


def _split(spec: Spec, cores: Cores, wrong: Wrong) -> tuple[Any, Pull]:
    parts, shape = spec["parts"], tuple(spec["shape"])
    if "split-floor-chunks" in wrong:
        parts = _floor_chunks(parts, prod(shape))
    runs = [generator(part, _under(f"{k}.", cores), wrong) for k, part in enumerate(parts)]
    sizes = [w.size for w, _ in runs]
    order = np.arange(prod(shape))
    if "split-strided" in wrong:  # chunk k is entries k, k + n, k + 2 n, ...
        chunks = [order[k :: len(runs)] for k in range(len(runs))]
    else:
        ends = np.cumsum(sizes)
        chunks = [order[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    if "split-reversed" in wrong:
        chunks = _reversed_chunks(order, sizes)
    if [len(chunk) for chunk in chunks] != sizes:
        raise Impossible("the chunks are not equally long")
    vector = np.empty(prod(shape), runs[0][0].dtype)
    for chunk, (w, _) in zip(chunks, runs, strict=True):
        vector[chunk] = w.reshape(-1)

    def pull(g: Array) -> Cores:
        flat = g.reshape(-1)
        return {
            f"{k}.{name}": x
            for k, (chunk, (w, back)) in enumerate(zip(chunks, runs, strict=True))
            for name, x in back(flat[chunk].reshape(w.shape)).items()
        }

    return vector.reshape(shape), pull


def _reversed_chunks(order: Array, sizes: Sequence[int]) -> list[Array]:
    """Return the chunks when the last part makes the first one."""
    ends = np.cumsum(sizes[::-1])
    return [order[end - size : end] for end, size in zip(ends, sizes[::-1], strict=True)][::-1]


def _floor_chunks(parts: Sequence[Spec], count: int) -> list[Spec]:
    """Return the parts with chunks of floor(N / n) entries, the last one longer."""
    length = count // len(parts)
    lengths = [length] * (len(parts) - 1) + [count - length * (len(parts) - 1)]
    found = []
    for part, wanted in zip(parts, lengths, strict=True):
        if wanted == prod(part["shape"]):
            found.append(part)
            continue
        if part.get("layout", "flat") != "flat" or "modes" not in part or prod(part["modes"]) < wanted:
            raise Impossible("a part does not make so many entries")
        found.append({**part, "shape": [wanted]})
    return found


def _stack(spec: Spec, cores: Cores, wrong: Wrong) -> tuple[Any, Pull]:
    inner, back = generator(spec["net"], cores, wrong)
    shapes = [(name, tuple(shape)) for name, shape in spec["shapes"]]
    if "stack-sorted" in wrong:
        shapes.sort()
    flat, weights, at = inner.reshape(-1), {}, 0
    for name, shape in shapes:
        weights[name] = flat[at : at + prod(shape)].reshape(shape)
        at += prod(shape)

    def pull(g: dict[str, Array]) -> Cores:
        return back(np.concatenate([g[name].reshape(-1) for name, _ in shapes]).reshape(inner.shape))

    return weights, pull


def _delta(spec: Spec, cores: Cores, wrong: Wrong) -> tuple[Any, Pull]:
    change, back = generator(spec["net"], cores, wrong)
    base = 0.0 if "delta-base-missing" in wrong else cores[f"frozen/{spec['base']['sha256']}"]
    alpha = 1.0 if "delta-alpha-missing" in wrong else spec["alpha"]
    if "delta-alpha-over-rank" in wrong and "rank" in spec["net"]:
        alpha = alpha / spec["net"]["rank"]
    back_alpha = 1.0 if "delta-alpha-missing-backward" in wrong else alpha
    return base + alpha * change, lambda g: back(back_alpha * g)


COMBINATIONS = {"sum": _sum, "split": _split, "stack": _stack, "delta": _delta}
