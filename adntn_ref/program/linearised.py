"""The linearised program: how states, cotangents and environments change along a direction of the cores.

Forward, each state x gets a tangent dx; backward, each cotangent g gets a tangent dg. The first gives directional
derivatives of the weight, the second Hessian-vector products, both in closed form and without a tape (ours):

- a window ``y = K x``: ``dy = K dx + dK x``; back ``dg_x = K^H dg + dK^H g``; environment ``E = g x^H`` (summed over
  the other indices): ``dE = dg x^H + g dx^H``. K is a Kronecker product, so dK is a sum with one factor at a time
  exchanged for its tangent, and the split of E among the cores changes likewise;
- an activation ``x = sigma(z)``: ``dx = sigma'(z) dz``; back ``dg_z = sigma'(z) dg + sigma''(z) dz g``;
- the start, a product: one factor at a time exchanged for its tangent.
"""

from typing import Any

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array
from adntn_ref.program.steps import Activate, Cores, Product, Program, Step
from adntn_ref.program.windows import Window, window_environments, window_matrix

Pair = tuple[Array, Array]
"""A value and its tangent."""


def run_tangent(program: Program, cores: Cores, tangents: Cores) -> Pair:
    """Return the last state and its derivative along ``tangents`` (core name -> array), both of shape (P,)."""
    return _forward(program, cores, tangents)[0]


def run_second(program: Program, cores: Cores, tangents: Cores, g: Array) -> Cores:
    """Return the derivative of every environment along ``tangents``, for a constant cotangent g of the last state."""
    _, record = _forward(program, cores, tangents)
    cotangent: Pair = (g, 0 * g)
    found: Cores = {}
    for step, kept in zip(reversed(program.steps), reversed(record[1:]), strict=True):
        cotangent, changes = _step_back(step, cores, tangents, kept, cotangent)
        found.update(changes)
    found.update(_start_back(program.start, cores, tangents, record[0], cotangent))
    return found


def _forward(program: Program, cores: Cores, tangents: Cores) -> tuple[Pair, list[Any]]:
    state, vectors = program.start.forward(cores)
    change = 0 * state
    for name in program.start.core_names:
        change = change + program.start.forward({**cores, name: tangents[name]})[0]
    pair: Pair = (state, change)
    record: list[Any] = [vectors]
    for step in program.steps:
        kept: Any = []
        if isinstance(step, Activate):
            z, dz = pair
            x = step.activation.sigma(z)
            kept = (z, dz, x)
            pair = (x, step.activation.first(z, x) * dz)
        else:
            for window in step.windows:
                k, dk = _matrices(window, cores, tangents, pair[0])
                kept.append((k, dk, *pair))
                pair = (window.apply(k, pair[0]), window.apply(k, pair[1]) + window.apply(dk, pair[0]))
        record.append(kept)
    return pair, record


def _step_back(step: Step, cores: Cores, tangents: Cores, kept: Any, cotangent: Pair) -> tuple[Pair, Cores]:
    g, dg = cotangent
    if isinstance(step, Activate):
        z, dz, x = kept
        first, second = ops.conj(step.activation.first(z, x)), ops.conj(step.activation.second(z, x) * dz)
        return (first * g, first * dg + second * g), {}
    found: Cores = {}
    for window, (k, dk, x, dx) in zip(reversed(step.windows), reversed(kept), strict=True):
        e = window.environment(g, ops.conj(x))
        de = window.environment(dg, ops.conj(x)) + window.environment(g, ops.conj(dx))
        found.update(_split_change(window, cores, tangents, e, de))
        back, dback = ops.conj(k).T, ops.conj(dk).T
        g, dg = window.apply(back, g), window.apply(back, dg) + window.apply(dback, g)
    return (g, dg), found


def _named(window: Window) -> list[str]:
    return [block.name for block in window.blocks if block.name is not None]


def _matrices(window: Window, cores: Cores, tangents: Cores, like: Array) -> Pair:
    """Return a window's matrix and its tangent, one core at a time exchanged."""
    change: Array = 0
    for name in _named(window):
        change = change + window_matrix(window, {**cores, name: tangents[name]}, like)
    return window_matrix(window, cores, like), change


def _split_change(window: Window, cores: Cores, tangents: Cores, e: Array, de: Array) -> Cores:
    """Return the tangents of a window's environments: E changes, and so do the other cores it is contracted with."""
    found = window_environments(window, cores, de)
    for changed in _named(window):
        with_change = window_environments(window, {**cores, changed: tangents[changed]}, e)
        for name in found:
            if name != changed:
                found[name] = found[name] + with_change[name]
    return found


def _start_back(start: Product, cores: Cores, tangents: Cores, vectors: list[Array], cotangent: Pair) -> Cores:
    g, dg = cotangent
    found = start.adjoint(cores, vectors, dg)
    for position, factor in enumerate(start.factors):
        if factor.name is None:
            continue
        changed = [*vectors]
        changed[position] = tangents[factor.name].reshape(-1)
        with_change = start.adjoint(cores, changed, g)
        for name in found:
            if name != factor.name:
                found[name] = found[name] + with_change[name]
    return found
