"""Functions written in PyTorch and JAX: checked in one line, dtype kept, wrong derivatives named."""

import functools
from typing import Any

import numpy as np
import pytest
from peers import need

from adntn_ref import ad
from adntn_ref.errors import MissingExtra
from adntn_ref.validation import (
    GradientMismatch,
    check_gradient,
    check_hvp,
    check_vjp,
    differentiable,
)
from adntn_ref.validation.checks import frameworks

A = np.random.default_rng(0).normal(size=(4, 3))
X = np.random.default_rng(1).normal(size=(3, 2))
DTYPES = ["float32", "float64", "complex64", "complex128"]


def of(dtype: str) -> Any:
    x = X + 1j * X[::-1] if dtype.startswith("complex") else X
    return x.astype(dtype)


def quartic_gradient(x: Any) -> Any:
    return 4 * np.abs(x) ** 2 * x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_every_derivative_crosses_as_numpy_with_its_dtype(name: str, dtype: str) -> None:
    module = need(name)
    module = module.numpy if name == "jax" else module
    own = differentiable(lambda x: (abs(x) ** 4).sum(), name)
    x, v = of(dtype), of(dtype)[::-1].copy()
    rtol = 1e-12 if dtype in ("float64", "complex128") else 1e-5
    for got, expected in [
        (own.value(x), np.sum(np.abs(x) ** 4)),
        (own.gradient(x), quartic_gradient(x)),
        (own.pullback(x)(np.asarray(own.value(x))), quartic_gradient(x) * own.value(x)),
        (own.hvp(x, v), 4 * np.abs(x) ** 2 * v + 8 * np.real(np.conj(x) * v) * x),
    ]:
        assert type(got) is np.ndarray
        assert got.dtype == np.asarray(expected).dtype
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol)
    y = differentiable(lambda x: module.sin(x) @ module.conj(x).T, name)
    np.testing.assert_allclose(y.value(x), np.sin(x) @ np.conj(x).T, rtol=rtol)
    check_vjp(lambda x: np.sin(x) @ np.conj(x).T, y.pullback(x), x)
    check_vjp(lambda x: module.sin(x) @ module.conj(x).T, x)


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_torch_in_one_line(dtype: str) -> None:
    torch = need("torch")
    x = of(dtype)
    check_gradient(lambda x: (torch.abs(x) ** 4).sum(), x)
    check_gradient(lambda p: (torch.abs(p["a"] * p["b"]) ** 2).sum(), {"a": x, "b": x + 1})
    check_hvp(lambda x: (torch.abs(x) ** 4).sum(), x)
    check_vjp(lambda x: torch.tanh(x.real) @ x.T.real, x)
    check_gradient(lambda x: (abs(x) ** 4).sum(), torch.from_numpy(x.copy()).requires_grad_())


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_jax_in_one_line(dtype: str) -> None:
    jax = need("jax")
    jnp = jax.numpy
    x = of(dtype)
    check_gradient(lambda x: jnp.sum(jnp.abs(x) ** 4), x)
    check_gradient(jax.jit(lambda x: jnp.sum(jnp.abs(x) ** 4)), x)
    check_gradient(lambda p: jnp.sum(jnp.abs(p["a"] * p["b"]) ** 2), {"a": x, "b": x + 1})
    check_hvp(lambda x: jnp.sum(jnp.abs(x) ** 4), x)
    check_vjp(lambda x: jnp.tanh(x.real) @ x.T.real, x)
    if dtype in ("float32", "complex64"):
        check_gradient(lambda x: (abs(x) ** 4).sum(), jnp.asarray(x))


def test_wrong_derivatives_of_torch_are_named() -> None:
    torch = need("torch")

    class Wrong(torch.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            slope = 3 * x**2
            slope[1, 1] = slope[1, 1] * (1 + 1e-6)
            return g * slope

    with pytest.raises(GradientMismatch, match=r"at index \(1, 1\) of x; to repeat: rng=0: got .*expected"):
        check_gradient(lambda x: Wrong.apply(x).sum(), X)
    with pytest.raises(GradientMismatch, match=r"cotangent index \(1, 1\) and index \(1, 1\) of x"):
        check_vjp(Wrong.apply, X, framework="torch")
    with pytest.raises(GradientMismatch, match=r"at index .* got 0\.0, expected"):
        check_gradient(lambda x: torch.sin(x.detach()).sum(), X)
    with pytest.raises(GradientMismatch, match=r"at index .* of x\['b'\]"):
        check_gradient(lambda p: torch.sum(p["a"] * p["b"].detach()), {"a": X, "b": X})
    with pytest.raises(TypeError, match="returned a float, not a tensor: PyTorch cannot differentiate it"):
        check_gradient(lambda x: float(torch.sin(x.detach()).sum()), X)


def test_wrong_derivatives_of_jax_are_named() -> None:
    jax = need("jax")

    @jax.custom_vjp  # type: ignore[untyped-decorator]
    def cube(x: Any) -> Any:
        return x**3

    cube.defvjp(lambda x: (x**3, x), lambda x, g: (g * 3 * x**2 * (1 + 1e-6),))
    with pytest.raises(GradientMismatch, match=r"at index \(\d, \d\) of x; to repeat: rng=0: got .*; 5 more differ"):
        check_gradient(lambda x: cube(x).sum(), X)
    with pytest.raises(GradientMismatch, match=r"at index"):
        check_gradient(lambda x: jax.numpy.sum(jax.lax.stop_gradient(x) * x), X)


def test_kinks_in_torch_and_single_precision() -> None:
    torch = need("torch")
    x = X.copy()
    x[0, 0] = 0.0
    report = check_gradient(lambda x: torch.relu(x).sum(), x)
    assert report.left_out == ["at index (0, 0) of x; to repeat: rng=0"]
    linear = torch.nn.Linear(3, 2)  # in single precision: refuses double
    report = check_gradient(lambda x: torch.relu(linear(x)).sum(), X.T.astype(np.float32))
    assert report.compared == 6
    check_gradient(lambda x: torch.relu(linear(x)).sum() ** 2, X.T.astype(np.float32))
    assert linear.weight.grad is None


def test_claimed_derivatives_in_torch() -> None:
    torch = need("torch")
    assert check_gradient(lambda x: (x**3).sum(), lambda x: 3 * torch.square(x), X, framework="torch").compared == 6
    tensor = torch.from_numpy(X)
    check_vjp(lambda x: torch.sin(x), lambda v: v * torch.cos(tensor), X, framework="torch")
    check_hvp(lambda x: (x**3).sum(), lambda v: 6 * tensor * v, X, framework="torch")
    with pytest.raises(GradientMismatch, match="the Hessian at index"):
        check_hvp(lambda x: (x**3).sum(), lambda v: 6.1 * tensor * v, X, framework="torch")


def helper_of_torch(x: Any) -> Any:
    import torch

    return torch.sin(x).sum()


def calls_helper(x: Any) -> Any:
    return helper_of_torch(x) + 0


class Callable_:
    def __call__(self, x: Any) -> Any:
        return calls_helper(x)

    def method(self, x: Any) -> Any:
        return calls_helper(x)


def test_the_framework_is_found() -> None:
    """From names alone: neither framework need be installed."""
    of = frameworks.framework_of
    assert of(lambda x: ad.sum(x)) == of(lambda x: (x * A).sum()) == "tape"
    for f in (
        helper_of_torch,
        calls_helper,
        Callable_(),
        Callable_().method,
        functools.partial(calls_helper),
        lambda x: [calls_helper(y) for y in x],
    ):
        assert of(f) == "torch"

    bare: dict[str, Any] = {}
    exec("def f(x): return x.sum()\ndef g(x):\n import torch\n return torch.sum(x)", bare)  # belong to no module
    assert of(bare["f"]) == "tape"
    assert of(bare["g"]) == "torch"

    def both(x: Any) -> Any:
        import jax

        return helper_of_torch(x) + jax.numpy.sum(x)

    with pytest.raises(ValueError, match="uses both torch and jax; say which"):
        of(both)
    with pytest.raises(ValueError, match="framework is 'keras'; allowed: tape, torch, jax"):
        differentiable(both, "keras")


def test_objects_of_the_frameworks_are_recognised() -> None:
    torch, jax = need("torch"), need("jax")
    weights = torch.ones(3)
    model = torch.nn.Linear(3, 1)
    assert frameworks.framework_of(lambda x: (weights * x).sum()) == "torch"
    assert frameworks.framework_of(model) == frameworks.framework_of(model.forward) == "torch"
    assert frameworks.framework_of(jax.jit(lambda x: x)) == frameworks.framework_of(jax.numpy.sum) == "jax"


def test_a_missing_framework_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str, extra: str) -> Any:
        raise MissingExtra(f"this needs the package {name} [{extra}]")

    monkeypatch.setattr(frameworks, "need", absent)
    with pytest.raises(MissingExtra, match=r"torch \[peers\]"):
        check_gradient(helper_of_torch, X)
