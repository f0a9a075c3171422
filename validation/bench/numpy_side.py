"""The brick-wall in NumPy with its adjoint by hand: (left, 4, right), one batched matrix product a brick."""

from typing import Any

import numpy as np

from ..adapters.closed_form import ClosedForm, Step, program
from ..adapters.plain import modes
from .candidate import Prepared
from .workload import Answer, Array, Workload


def _split(x: Array, q: int) -> Array:
    return x.reshape(2**q, 4, -1)


def prepare(workload: Workload) -> Prepared:
    """Bind the hand-written program to a brick-wall on binary modes."""
    names, steps = program(workload.spec)
    target = workload.target
    cores = {name: core.reshape(4, 4) for name, core in workload.params.items() if core.ndim == 4}
    outer = ClosedForm(np, None)  # type: ignore[arg-type]  # relu needs no error function
    factors = outer.first_factors(modes(workload.spec), workload.params)

    def run() -> tuple[float, dict[str, Array]]:
        x, inputs = outer.outer(factors).reshape(-1), []
        for step in steps:
            inputs.append(x)
            x = forward(step, x)
        difference = x - target
        loss = float(np.dot(difference, difference)) / target.size
        g, found = difference * (2 / target.size), {}
        while inputs:
            step, x = steps[len(inputs) - 1], inputs.pop()
            if step.core:
                found[step.core] = environment(step, g, x)
            g = backward(step, g, x)
        return loss, found | ends(g)

    def ends(g: Array) -> dict[str, Array]:
        """Return the gradients of the start's factors: from the last one on, each is summed over and done with."""
        gradients = {}
        for k in reversed(range(len(factors))):
            g = g.reshape(-1, factors[k].size)
            if k < len(names):  # the last vector of an odd number is a constant
                before = outer.outer(factors[:k]).reshape(-1) if k else np.ones(1, g.dtype)
                gradients[names[k]] = (before @ g).reshape(factors[k].shape)
            g = g @ factors[k].reshape(-1)
        return gradients

    def forward(step: Step, x: Array) -> Array:
        if not step.core:
            return np.maximum(x, 0)
        y: Array = np.matmul(cores[step.core], _split(x, step.left))
        return y.reshape(-1)

    def backward(step: Step, g: Array, x: Array) -> Array:
        if not step.core:
            g *= x > 0  # g is this function's own
            return g
        back: Array = np.matmul(cores[step.core].T, _split(g, step.left))
        return back.reshape(-1)

    def environment(step: Step, g: Array, x: Array) -> Array:
        g, x = _split(g, step.left), _split(x, step.left)
        if g.shape[2] >= 8:
            e: Array = np.matmul(g, x.transpose(0, 2, 1)).sum(axis=0)
        else:
            e = np.tensordot(g, x, axes=((0, 2), (0, 2)))
        return e.reshape(2, 2, 2, 2)

    def answer(found: Any) -> Answer:
        return Answer(float(found[0]), found[1])

    return Prepared(run, answer)
