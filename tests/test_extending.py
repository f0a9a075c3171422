"""The worked examples of docs/extending.md: a network, a backend and an activation of one's own."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref.ad import ACTIVATIONS
from adntn_ref.backends.fused import fused_run
from adntn_ref.backends.fused_many import whole_networks
from adntn_ref.backends.launch import KERNELS, WRITTEN
from adntn_ref.networks import NETWORKS
from adntn_ref.validation import check_gradient, check_hvp, check_vjp

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # a frozen dataclass looks its module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cascade() -> Iterator[ModuleType]:
    yield load("my_network")
    del NETWORKS["cascade"], sys.modules["my_network"]


@pytest.fixture
def bell() -> Iterator[None]:
    load("my_activation")
    yield
    del ACTIVATIONS["bell"], sys.modules["my_activation"]


def embedded(core: np.ndarray, q: int, modes: tuple[int, ...]) -> np.ndarray:
    """The matrix of a brick among unit matrices, written without the package."""
    left, right = int(np.prod(modes[:q])), int(np.prod(modes[q + 2 :]))
    side = modes[q] * modes[q + 1]
    return np.kron(np.kron(np.eye(left), core.reshape(side, side)), np.eye(right))


def test_the_network_computes_what_its_page_says(cascade: ModuleType) -> None:
    net = cascade.Cascade((5, 4), layers=2, modes=(2, 3, 4))
    params = net.init(0)
    x = np.ones(1)
    for q in range(3):
        x = np.kron(x, params[f"start{q}"])
    for m in range(2):
        for q in range(2):
            x = embedded(params[f"layer{m}.brick{q}"], q, (2, 3, 4)) @ x
        x = np.tanh(x) if m == 0 else x
    np.testing.assert_allclose(net.generate(params).reshape(-1), x[:20], rtol=1e-12, atol=1e-14)


def test_the_network_has_everything_that_networks_have(cascade: ModuleType) -> None:
    net = cascade.Cascade((3, 2), layers=2)
    params = net.init(1)
    assert ar.from_spec(net.to_spec()) == net
    assert abs(net.generate(params).std() - 1) < 1e-12  # the calibrated start: sqrt(2 / fan_in)
    G = np.random.default_rng(2).standard_normal((3, 2))
    _, pullback = net.vjp(params)
    check_vjp(net.generate, pullback, params)
    by_tape = ar.grad(lambda p: ar.ad.sum(G * net.generate_stepwise(p)))(params)
    for name, gradient in pullback(G).items():
        np.testing.assert_allclose(gradient, by_tape[name], rtol=1e-10, atol=1e-12)
    check_gradient(lambda p: ar.ad.sum(G * net.generate(p)), params)
    check_hvp(lambda p: ar.ad.sum(ar.ad.square(net.generate(p))), params, rtol=1e-9)
    for schedule in ("keep", "recompute", "checkpoints:1"):
        again = net.vjp(params, schedule=schedule)[1](G)
        assert all(np.array_equal(again[name], g) for name, g in pullback(G).items())
    assert net.cost().parameters == net.parameter_count == sum(core.size for core in params.values())
    result = ar.fit(net, net.generate(net.init(5)), steps=20)
    assert result.relative_error < 1.5
    assert ar.at_most("cascade", (6, 5), parameters=200).layers == 2


def test_the_activation_is_right_in_every_network(bell: None) -> None:
    bump, z = ACTIVATIONS["bell"], np.linspace(-3, 3, 41)
    x, h = bump.sigma(z), 1e-20
    np.testing.assert_allclose(bump.first(z, x), np.exp(-((z + 1j * h) ** 2) / 2).imag / h, rtol=1e-12)
    np.testing.assert_allclose(
        bump.second(z, x),
        (bump.first(z + 1e-5, bump.sigma(z + 1e-5)) - bump.first(z - 1e-5, bump.sigma(z - 1e-5))) / 2e-5,
        atol=1e-8,
    )
    for net in (
        ar.BrickWall((4, 4), layers=3, activation="bell"),
        ar.MERA((4, 4), chi=2, activation="bell"),
        ar.TTN((4, 4), chi=2, activation="bell", activation_site="node"),
    ):
        params = net.init(0)
        weight, pullback = net.vjp(params)
        check_vjp(net.generate, pullback, params)
        assert ar.from_spec(net.to_spec()) == net
        stepwise = net.generate_stepwise(params)
        np.testing.assert_allclose(weight, stepwise, rtol=1e-12, atol=1e-14)
    net = ar.BrickWall((4,), layers=2, activation="bell")
    check_hvp(lambda p: ar.ad.sum(ar.ad.square(net.generate(p))), net.init(0))


def test_kernels_refuse_an_activation_that_they_do_not_hold(bell: None) -> None:
    """They took it for the identity: its number was beyond their list."""
    launcher = SimpleNamespace(xp=np, shared=64 * 1024, processors=1, cache=2**20)
    for net in (ar.BrickWall((16, 16), 2, activation="bell"), ar.MERA((16, 16), 3, activation="bell")):
        found = fused_run(net.program, net.init(0), launcher)
        assert isinstance(found, str)
        assert found.startswith("the kernels hold no activation bell; they hold identity, relu")
    many = whole_networks(ar.BrickWall((16, 16), 2, activation="bell").program, "float64", launcher)
    assert isinstance(many, str)


BACKEND_PROGRAM = """
import numpy as np
import adntn_ref as ar
import my_backend

for net in (ar.BrickWall((6, 10), 3, activation="gelu"), ar.MERA((6, 10), 3), ar.MPO((6, 10), 3)):
    here, there = net.init(0, backend="numpy"), net.init(0)  # by the environment variable: on ours
    assert all(type(core) is my_backend.CountingArray for core in there.values())
    G = np.random.default_rng(1).standard_normal((6, 10))
    W, pullback = net.vjp(here)
    V, pullback_there = net.vjp(there)
    assert type(V) is my_backend.CountingArray
    np.testing.assert_allclose(ar.to_backend(V, "numpy"), W, rtol=1e-12)
    found = ar.to_backend(pullback_there(ar.to_backend(G, "my_backend")), "numpy")
    for name, gradient in pullback(G).items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-11, atol=1e-12)
    loss = lambda p: ar.ad.sum(ar.ad.tanh(net.generate(p)) ** 2)
    for a, b in zip(ar.grad(loss)(there).values(), ar.grad(loss)(here).values(), strict=True):
        np.testing.assert_allclose(ar.to_backend(a, "numpy"), b, rtol=1e-11, atol=1e-12)
wall = ar.BrickWall((8, 8), 2)
fits = [ar.fit(wall, np.eye(8), steps=30, backend=name).relative_error for name in ("my_backend", "numpy")]
assert abs(fits[0] - fits[1]) < 1e-9
assert my_backend.CALLS["matmul"] > 100
print("as NumPy does")
"""


def test_the_backend_is_found_by_its_entry_point_and_agrees(tmp_path: Path) -> None:
    """As an installed package would offer it: a module, and metadata with the entry point."""
    (tmp_path / "my_backend.py").write_bytes((EXAMPLES / "my_backend.py").read_bytes())
    metadata = tmp_path / "my_backend-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-backend\nVersion: 1.0\n", encoding="utf8")
    (metadata / "entry_points.txt").write_text(
        "[adntn_ref.backends]\nmy_backend = my_backend:BACKEND\n", encoding="utf8"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "ADNTN_REF_BACKEND": "my_backend"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BACKEND_PROGRAM], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "as NumPy does\n", done.stderr


def test_the_list_of_activations_is_that_of_the_kernels_source() -> None:
    found = re.search(r"enum \{ (IDENTITY.*?) \}", (KERNELS / "common.cuh").read_text(encoding="utf8"))
    assert found is not None
    assert tuple(found[1].lower().split(", ")) == WRITTEN
    assert set(WRITTEN) <= set(ACTIVATIONS)
