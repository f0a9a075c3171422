"""Both stages on a device, beside the same on NumPy; and their steps one by one, to see whether they wait."""

from collections.abc import Callable
from typing import Any

import numpy as np

from adntn_ref.ad.moving import to_backend
from adntn_ref.compression.fit import fit
from adntn_ref.compression.objectives import euclidean_objective
from adntn_ref.compression.optimisers import Packing, clip_norm, make_optimiser
from adntn_ref.compression.train import task_objective, train
from adntn_ref.networks import BrickWall
from adntn_ref.nn.data import Part, Split
from adntn_ref.nn.models import Generated
from adntn_ref.nn.zoo import lenet5

from .probe import Probe, Step

STEPS = 60
BATCH = 8


def _target() -> Any:
    rng = np.random.default_rng(0)
    return rng.standard_normal((16, 4)) @ rng.standard_normal((4, 16))


def stage1(probe: Probe, finding: Callable[..., Any]) -> Any:
    """Fit a network by Adam and by gradient descent; the losses must follow NumPy's in float64."""
    network, wrong, worst = BrickWall((16, 16), 2, activation="tanh"), [], 0.0
    for optimiser in ("adam", "sgd"):
        runs = [
            fit(network, _target(), steps=STEPS, optimiser=optimiser, clip=1.0, backend=backend)
            for backend in ("numpy", probe.backend.name, probe.backend.name)
        ]
        here, there, again = (np.asarray(run.history.loss) for run in runs)
        off = float(np.abs(there / here - 1).max())
        worst = max(worst, off)
        if not off < 1e-6:
            wrong.append(f"{optimiser}: losses differ by {off:.3g}")
        if there.tobytes() != again.tobytes():
            wrong.append(f"{optimiser}: not the same bits twice")
    return finding("stage 1", not wrong, f"{STEPS} steps of adam and sgd, losses within {worst:.2g} of NumPy's", wrong)


def images(count: int) -> Part:
    """Return noise with labels, in the shape of MNIST."""
    rng = np.random.default_rng(count)
    labels = rng.integers(0, 10, count).astype(np.int64)
    return Part(rng.standard_normal((count, 1, 28, 28)).astype("float32"), labels)


def lenet() -> tuple[Generated, dict[str, Any]]:
    """Return LeNet-5 with three generated layers, and parameters on the host."""
    model = lenet5()
    layers = {name: BrickWall(model.param_shapes[name], 2) for name in ("conv2.weight", "fc1.weight", "fc2.weight")}
    params = model.init(0, backend="numpy")
    params.update({name: net.init(1, "float32", backend="numpy") for name, net in layers.items()})
    return Generated(model, tuple(layers.items())), params


def stage2(probe: Probe, finding: Callable[..., Any]) -> Any:
    """Train LeNet-5 with three generated layers for an epoch; the losses must follow NumPy's in float32."""
    model, params = lenet()
    data = Split(images(64), images(16), images(8), name="noise", classes=10, seed=0, mean=0.0, std=1.0)
    runs = [
        train(model, params, data, epochs=1, batch_size=BATCH, backend=backend)
        for backend in ("numpy", probe.backend.name, probe.backend.name)
    ]
    here, there, again = (np.asarray(run.history.loss) for run in runs)
    off, wrong = float(np.abs(there / here - 1).max()), []
    if not off < 1e-2:
        wrong.append(f"losses differ by {off:.3g}")
    if there.tobytes() != again.tobytes():
        wrong.append("not the same bits twice")
    said = f"LeNet-5, three layers generated, {len(here)} steps, losses within {off:.2g} of NumPy's"
    return finding("stage 2", not wrong, said, wrong)


def steps(probe: Probe) -> dict[str, Step]:
    """Return a step of each stage on the device: loss, gradients, clipping, update."""
    where = probe.backend.name
    network, target = BrickWall((16, 16), 2), to_backend(_target().astype("float32"), where)
    first = _step(euclidean_objective(network, target), network.init(0, "float32", backend=where), where)
    model, params = lenet()
    second = _step(task_objective(model, {}, images(64).on(where), BATCH, 0), params, where)
    return {"a step of stage 1": first, "a step of stage 2": second}


def _step(objective: Any, params: Any, where: str) -> Step:
    params = to_backend(params, where)
    packing, optimiser = Packing(params), make_optimiser("adam")
    vector = packing.pack(params)
    moments = optimiser.start(vector)

    def step() -> Any:
        loss, gradients = objective(0, packing.unpack(vector))
        g, norm = clip_norm(packing.pack(gradients), 1.0)
        optimiser.update(vector, g, moments, 0, 1e-3)
        return loss, norm

    return step
