"""One table of cases for every primitive and composed function of the tape, and the checks each case goes through.

Derivatives of first order are compared with differences of the function on raw arrays, those of second order with
differences of the first-order gradient: the complex step where the function is analytic, central differences elsewhere.
The cases stand in ``harness_cases.py`` and ``harness_nn.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import elsewhere
import numpy as np
from elsewhere import place, there

from adntn_ref import ad
from adntn_ref.validation import central_gradient, complex_step_directional, complex_step_gradient

COMPLEX_RTOL = 1e-12
CENTRAL_RTOL = 1e-6


@dataclass(frozen=True)
class In:
    """One input: its shape and the domain its entries are drawn from."""

    shape: tuple[int, ...] = (2, 3)
    domain: str = "normal"

    def draw(self, rng: np.random.Generator, dtype: str) -> np.ndarray:
        if self.domain == "normal":
            x = rng.normal(size=self.shape)
        elif self.domain == "positive":
            x = rng.uniform(0.5, 2.0, size=self.shape)
        elif self.domain == "away":  # from a kink at 0
            x = rng.uniform(0.1, 2.0, size=self.shape) * rng.choice([-1.0, 1.0], size=self.shape)
        elif self.domain == "apart":  # no two entries near each other
            n = int(np.prod(self.shape))
            x = (rng.permutation(n).reshape(self.shape) - n / 2) * 0.3 + 0.05 * rng.uniform(-1, 1, size=self.shape)
        elif self.domain == "graded":  # matrices with singular values far from each other and from 0
            m, n = self.shape[-2:]
            x = 0.2 * rng.normal(size=self.shape) + np.eye(m, n) * np.arange(1.0, n + 1)
        else:
            raise ValueError(self.domain)
        x = np.asarray(x)
        if dtype.startswith("complex"):
            x = x + 1j * rng.uniform(-0.4, 0.4, size=self.shape)
        return x.astype(dtype)


@dataclass(frozen=True)
class Case:
    """One use of one function.

    ``name`` is the entry of ``FUNCTIONS`` that it stands for; ``call`` takes arrays or variables, one for each input.
    ``analytic``: the complex step applies to ``call`` on raw arrays. ``complex_too``: also checked on complex inputs.
    ``keeps_dtype``: float32 in gives float32 out. ``third``: also checked to third order.
    """

    name: str
    call: Callable[..., Any]
    inputs: tuple[In, ...]
    label: str = ""
    analytic: bool = True
    complex_too: bool = True
    keeps_dtype: bool = True
    third: bool = False

    def __str__(self) -> str:
        return f"{self.name}-{self.label}" if self.label else self.name

    def draw(self, dtype: str = "float64") -> list[np.ndarray]:
        rng = np.random.default_rng(crc32(str(self).encode()))
        return [one.draw(rng, dtype) for one in self.inputs]

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(crc32(str(self).encode()) + 1)


HOLD_HOST_ARRAYS = (
    "power-array of exponents",
    "concatenate-with constant",
    "getitem-repeated",
    "getitem-pairs",
    "getitem-mixed",
    "getitem-mask",
    "scatter_add-repeated",
    "scatter_add-broadcast",
    "where-",
    "cross_entropy",
    "pool_",
)
"""Cases whose functions hold NumPy arrays; on another backend those functions have tests of their own."""


def taped(case: Case, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a derivative of a case on the backend under test, where the case itself can be there."""
    return function if str(case).startswith(HOLD_HOST_ARRAYS) else there(function)


def constant(case: Case, x: Any) -> Any:
    """Return what a function given to :func:`taped` holds."""
    return x if str(case).startswith(HOLD_HOST_ARRAYS) else place(x)


# Checks


def agree(got: Any, expected: Any, rtol: float, what: str) -> None:
    """Ask for equality up to ``rtol`` times the largest expected entry."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    allowed = rtol * max(float(np.abs(expected).max(initial=0.0)), 1e-3)
    off = float(np.abs(got - expected).max(initial=0.0))
    assert off <= allowed, f"{what}: off by {off:.3g}, allowed {allowed:.3g}\ngot\n{got}\nexpected\n{expected}"


def held(call: Callable[..., Any], xs: list[Any], i: int) -> Callable[[Any], Any]:
    """Return ``call`` as a function of its input ``i`` alone."""
    return lambda x: call(*xs[:i], x, *xs[i + 1 :])


def check_first(case: Case) -> None:
    """Check the full Jacobian by every input; of complex values, those of the real and of the imaginary part."""
    xs = case.draw()
    value, pullback = taped(case, ad.vjp)(case.call, *xs)
    raw = np.asarray(case.call(*xs))
    agree(value, raw, 0.0 if elsewhere.chosen == "numpy" else 1e-12, f"{case}: value on the tape")
    units = np.eye(raw.size, dtype=raw.dtype).reshape(raw.size, *raw.shape)
    if np.iscomplexobj(raw):
        units = np.concatenate([units, 1j * units])
    pulled = [pullback(unit) for unit in units]
    for i, x in enumerate(xs):
        rows = np.array([row[i] for row in pulled]).reshape(len(units), *x.shape)
        agree(rows, numeric_jacobian(case, xs, i, len(units)), rtol_of(case), f"{case}: Jacobian of input {i}")


def rtol_of(case: Case) -> float:
    return COMPLEX_RTOL if case.analytic else CENTRAL_RTOL


def numeric_jacobian(case: Case, xs: list[np.ndarray], i: int, rows: int) -> np.ndarray:
    f = held(case.call, xs, i)
    columns = np.zeros((rows, *xs[i].shape))
    for index in np.ndindex(xs[i].shape):
        unit = np.zeros(xs[i].shape)
        unit[index] = 1.0
        if case.analytic:
            column = complex_step_directional(f, xs[i], unit)
        else:
            h = 2.0**-17
            column = (np.asarray(f(xs[i] + h * unit)) - np.asarray(f(xs[i] - h * unit))) / (2 * h)
        parts = [column.real, column.imag] if np.iscomplexobj(column) else [column]
        columns[(slice(None), *index)] = np.concatenate([part.ravel() for part in parts])
    return columns


def gradient_form(case: Case, v: np.ndarray, us: list[np.ndarray]) -> Callable[..., Any]:
    """Return (x, ...) -> sum over inputs of <u, gradient of <v, call>>: a scalar that holds every first derivative."""

    def form(*xs: Any) -> Any:
        return ad.transforms.inner(list(us), list(ad.vjp(case.call, *xs)[1](v)))

    return form


def cotangent(case: Case, xs: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = case.rng()
    v = np.asarray(rng.normal(size=np.shape(case.call(*xs))))
    return v, [np.asarray(rng.normal(size=x.shape)) for x in xs]


def check_second(case: Case) -> None:
    """Check the gradient of the first derivatives, by every input and by the cotangent."""
    xs = case.draw()
    v, us = cotangent(case, xs)
    form = gradient_form(case, v, us)
    there_too = gradient_form(case, constant(case, v), constant(case, us))
    second = taped(case, ad.grad(there_too, argnums=tuple(range(len(xs)))))(*xs)
    for i, x in enumerate(xs):
        f = held(form, xs, i)
        if case.analytic:
            # Pullbacks conjugate, hence the conjugate; all inputs are complex, because the cotangent of a real input is
            # real and would hide its imaginary part.
            def first(z: Any, i: int = i) -> complex:
                zs = [z if k == i else y.astype(complex) for k, y in enumerate(xs)]
                return sum(
                    complex(np.sum(u * g)) for u, g in zip(us, ad.vjp(case.call, *zs)[1](v), strict=True)
                ).conjugate()

            expected = complex_step_gradient(first, x)
        else:
            expected, _ = central_gradient(lambda y, g=f: float(g(y)), x)
        agree(second[i], expected, max(rtol_of(case), 1e-11), f"{case}: second derivative by input {i}")
    if not np.iscomplexobj(case.call(*xs)):
        mine = constant(case, (us, xs))
        pushed = taped(case, ad.grad(lambda w: gradient_form(case, w, mine[0])(*mine[1])))(v)
        moved = sum(
            np.tensordot(numeric_jacobian(case, xs, i, v.size).reshape((*v.shape, *x.shape)), us[i], axes=x.ndim)
            for i, x in enumerate(xs)
        )
        agree(pushed, moved, rtol_of(case), f"{case}: derivative by the cotangent, which is J u")


def check_third(case: Case) -> None:
    """Check the gradient of a gradient of the first derivatives, against central differences of the second."""
    xs = case.draw()
    v, us = cotangent(case, xs)
    everything = tuple(range(len(xs)))

    def second(v: Any, us: Any) -> Callable[..., Any]:
        form = gradient_form(case, v, us)
        return lambda *ys: ad.transforms.inner(list(us), list(ad.grad(form, argnums=everything)(*ys)))

    third = taped(case, ad.grad(second(*constant(case, (v, us))), argnums=everything))(*xs)
    for i, x in enumerate(xs):
        alone = held(second(v, us), xs, i)
        expected, _ = central_gradient(lambda y, f=alone: float(f(y)), x)
        agree(third[i], expected, CENTRAL_RTOL, f"{case}: third derivative by input {i}")


def check_complex(case: Case) -> None:
    """Check g = dL/dRe + i dL/dIm by differences along real and imaginary parts; then the gradient of g."""
    xs = case.draw("complex128")
    rng = case.rng()
    shape = np.shape(case.call(*xs))
    c = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    us = [rng.normal(size=x.shape) + 1j * rng.normal(size=x.shape) for x in xs]

    everything = tuple(range(len(xs)))

    def loss(c: Any, us: Any) -> Callable[..., Any]:
        return lambda *zs: ad.real(ad.sum(ad.conj(c) * case.call(*zs)))

    def slope(c: Any, us: Any) -> Callable[..., Any]:
        return lambda *zs: ad.transforms.inner(list(us), list(ad.grad(loss(c, us), argnums=everything)(*zs)))

    for order, of in enumerate((loss, slope), 1):
        got = taped(case, ad.grad(of(*constant(case, (c, us))), argnums=everything))(*xs)
        f = of(c, us)
        for i, x in enumerate(xs):
            assert got[i].dtype == x.dtype
            alone = held(f, xs, i)
            expected, _ = central_gradient(lambda z, f=alone: float(f(z)), x)
            agree(got[i], expected, CENTRAL_RTOL, f"{case}: complex gradient of order {order} by input {i}")


def check_dtypes(case: Case) -> None:
    """Ask that float32 and float64 stay what they are, in values, cotangents and second order; the numbers agree."""
    wide = case.draw("float64")
    v, us = cotangent(case, wide)
    reference = ad.vjp(case.call, *wide)[1](v)
    for dtype, rtol in (("float32", 1e-5), ("float64", 1e-14)):
        xs = [x.astype(dtype) for x in wide]
        value, pullback = ad.vjp(case.call, *xs)
        assert value.dtype == case.call(*xs).dtype
        pulled = pullback(v.astype(value.dtype))
        form = gradient_form(case, v.astype(value.dtype), [u.astype(dtype) for u in us])
        assert form(*xs).dtype == dtype, f"{case}: gradient form of {dtype} became {form(*xs).dtype}"
        second = ad.grad(form, argnums=tuple(range(len(xs))))(*xs)
        assert not case.keeps_dtype or value.dtype == dtype, f"{case}: {dtype} became {value.dtype}"
        for i, (g, h) in enumerate(zip(pulled, second, strict=True)):
            assert g.dtype == dtype, f"{case}: cotangent {i} of {dtype} became {g.dtype}"
            assert h.dtype == dtype, f"{case}: second-order cotangent {i} of {dtype} became {h.dtype}"
            agree(g, reference[i], rtol, f"{case}: {dtype} against float64")


def strange_layouts(x: np.ndarray) -> list[np.ndarray]:
    """Return arrays equal to ``x`` in Fortran order, with negative strides, and with gaps, all read-only."""
    back = (slice(None, None, -1),) * x.ndim
    flipped = np.ascontiguousarray(x[back])[back] if x.ndim else x.copy()
    gaps = np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x.copy()
    views = [x.copy(order="F"), flipped, gaps]
    for view in views:
        view.flags.writeable = False
    return views


def check_layouts(case: Case) -> None:
    """Ask that views of any strides give what contiguous arrays give."""
    xs = case.draw()
    v, _ = cotangent(case, xs)
    value, pullback = ad.vjp(case.call, *xs)
    pulled = pullback(v)
    for views in zip(*(strange_layouts(x) for x in xs), strict=True):
        assert all(np.array_equal(view, x) for view, x in zip(views, xs, strict=True))
        for w in strange_layouts(v):
            got, back = ad.vjp(case.call, *views)
            agree(got, value, 1e-13, f"{case}: value on views")
            for g, expected in zip(back(w), pulled, strict=True):
                agree(g, expected, 1e-13, f"{case}: cotangent on views")


def check_unchanged(case: Case) -> None:
    """Ask that nothing given is written to, by values, pullbacks (called twice) or second order."""
    xs = case.draw()
    v, us = cotangent(case, xs)
    given = [*xs, v, *us]
    copies = [x.copy() for x in given]
    for x in given:
        x.flags.writeable = False
    _, pullback = ad.vjp(case.call, *xs)
    once, twice = pullback(v), pullback(v)
    for a, b in zip(once, twice, strict=True):
        assert np.array_equal(a, b), f"{case}: the second call of the pullback differs"
    ad.grad(gradient_form(case, v, us), argnums=tuple(range(len(xs))))(*xs)
    for x, copy in zip(given, copies, strict=True):
        assert np.array_equal(x, copy), f"{case}: an input was changed"
