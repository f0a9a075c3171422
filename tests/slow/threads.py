"""Which results depend on the number of BLAS threads: ``OPENBLAS_NUM_THREADS=4 python tests/slow/threads.py``.

Every kind of fit and two trainings are run with 1, 2 and 4 threads of BLAS and of our own; a line each says whether the
parameters are the same to the bit, or by how much they differ at most.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import adntn_ref as ar
from adntn_ref.experiments.catalogue import first_images, load_data
from adntn_ref.experiments.tasks import THREADS_VARIABLE

COUNTS = (1, 2, 4)
LAYER = "fc1.weight"
Work = Callable[[], dict[str, Any]]


def difference(work: Work) -> float:
    """Return the largest difference of any parameter between one thread and more."""
    found = []
    for count in COUNTS:
        os.environ[THREADS_VARIABLE] = str(count)
        with threadpool_limits(count, user_api="blas"):
            found.append({name: np.asarray(value) for name, value in work().items()})
    return max(float(np.abs(other[name] - found[0][name]).max()) for other in found[1:] for name in other)


def works(dtype: str) -> Iterator[tuple[str, Work]]:
    """Yield what is run, and its name."""
    rng = np.random.default_rng(0)
    small, large = rng.standard_normal((64, 48)).astype(dtype), rng.standard_normal((512, 512)).astype(dtype)
    yield "als, MPO", lambda: ar.fit(ar.MPO((64, 48), 4), small, optimiser="als", steps=2).params
    yield "lbfgs, brick-wall", lambda: ar.fit(ar.BrickWall((64, 48), 2), small, optimiser="lbfgs", steps=5).params
    yield "adam, isometric MPO", lambda: ar.fit(ar.MPO((64, 48), 4), small, retract=True, steps=3).params
    for net in (
        ar.BrickWall(large.shape, 2),
        ar.TTN(large.shape, 4),
        ar.MPO(large.shape, 16),
        ar.LowRank(large.shape, 64),
    ):
        yield f"adam, {type(net).__name__} of 512 x 512", lambda net=net: ar.fit(net, large, steps=3).params
    digits, images = load_data("digits", None, 0, dtype), load_data("mnist5k", None, 0, dtype)
    for name, data, model in (
        ("FC-2", digits, ar.fc2(64)),
        ("LeNet-5", first_images(images, 256, 100, 50), ar.lenet5()),
    ):
        start, net = model.init(0, dtype), ar.BrickWall(model.param_shapes[LAYER], 2)
        options: dict[str, Any] = {"objective": "outputs", "stage1_steps": 5, "epochs": 1, "epochs_between": 1}
        yield f"training of {name}", lambda d=data, m=model, p=start: ar.train(m, p, d, epochs=1).params
        yield (
            f"both stages of {name}, by outputs",
            lambda d=data, m=model, p=start, n=net, o=options: ar.compress(m, {LAYER: n}, d, p, **o).params[LAYER],
        )


def main() -> None:
    """Run from the command line."""
    for dtype in ("float32", "float64"):
        for name, work in works(dtype):
            most = difference(work)
            print(f"{dtype}  {name:<36} {'the same bits' if most == 0 else f'differ by up to {most:.1e}'}", flush=True)


if __name__ == "__main__":
    main()
