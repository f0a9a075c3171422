"""The package itself: by closed-form adjoints with the loss's gradient written by hand, and through the tape."""

from typing import Any

import numpy as np

import adntn_ref as ar
from adntn_ref import ad

from .candidate import Prepared
from .workload import Answer, Workload


def closed_form(workload: Workload, **how: Any) -> Prepared:
    """Return ``net.vjp`` with the loss by hand: dL/dW = 2 (W - T) / N. ``how`` goes to ``net.vjp``."""
    net, params, target = workload.network, workload.params, workload.target

    def run() -> tuple[float, Any]:
        weight, pullback = net.vjp(params, **how)
        difference = weight - target
        loss = float(np.dot(difference, difference)) / target.size
        difference *= 2 / target.size
        return loss, pullback(difference)

    return Prepared(run, lambda found: Answer(float(found[0]), found[1]))


def tape(workload: Workload) -> Prepared:
    """Return ``ar.value_and_grad`` of the loss as a user writes it."""
    net, params, target = workload.network, workload.params, workload.target
    both = ar.value_and_grad(lambda p: ad.mean((net.generate(p) - target) ** 2))
    return Prepared(lambda: both(params), lambda found: Answer(float(found[0]), found[1]))
