"""Convolution and pooling against loops that copy the formulas, and against their own transposes."""

import itertools
from typing import Any

import numpy as np
import pytest
from elsewhere import there
from hypothesis import given, settings
from hypothesis import strategies as st

from adntn_ref.ad import convolution
from adntn_ref.ad.arrays import backend_of, namespace
from adntn_ref.ad.convolution import conv2d, conv2d_input_adjoint, conv2d_weight_adjoint, output_size
from adntn_ref.ad.pooling import avg_pool2d, avg_pool2d_adjoint, max_pool2d, max_pool2d_adjoint, max_pool2d_gather
from adntn_ref.errors import ArrayError, DTypeError

Array = Any
DTYPES = [np.float32, np.float64, np.complex64, np.complex128]
UNIT = ((1, 1), (0, 0), (1, 1), 1)


def on(function: Any) -> Any:
    """Return a function of this module with the namespace of its arrays, which are on the backend under test."""
    return there(lambda x, *rest, **options: function(namespace(x), x, *rest, **options))


def pool_adjoint(g: Array, winner: Array, shape: tuple[int, ...]) -> Array:
    """Return the adjoint of pooling; another backend adds up at the winners by its own function, as on the tape."""

    def run(g: Array, winner: Array) -> Array:
        own = None if isinstance(g, np.ndarray) else backend_of(g).scatter_add
        return max_pool2d_adjoint(namespace(g), g, winner, shape, own)

    return there(run)(g, winner)


def draw(shape: tuple[int, ...], dtype: Any = np.float64, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        a = a + 1j * rng.standard_normal(shape)
    return a.astype(dtype)


def pair(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


def slow_conv2d(x: Array, w: Array, stride: Any, padding: Any, dilation: Any, groups: int) -> Array:
    """Apply the formula, one output number at a time."""
    (top, left), (out, channels, kh, kw) = padding, w.shape
    padded = np.pad(x, ((0, 0), (0, 0), (top, top), (left, left)))
    rows = len(range(0, padded.shape[2] - dilation[0] * (kh - 1), stride[0]))
    columns = len(range(0, padded.shape[3] - dilation[1] * (kw - 1), stride[1]))
    y = np.zeros((len(x), out, rows, columns), dtype=np.result_type(x, w))
    for n, o, h, v in np.ndindex(*y.shape):
        first = o // (out // groups) * channels
        for c, i, j in np.ndindex(channels, kh, kw):
            pixel = padded[n, first + c, h * stride[0] + i * dilation[0], v * stride[1] + j * dilation[1]]
            y[n, o, h, v] += w[o, c, i, j] * pixel
    return y


def slow_max_pool2d(x: Array, kernel: Any, stride: Any, padding: Any) -> tuple[Array, Array]:
    """Visit each window in C order; a later pixel wins only if it is larger."""
    n, c, height, width = x.shape
    rows = (height + 2 * padding[0] - kernel[0]) // stride[0] + 1
    columns = (width + 2 * padding[1] - kernel[1]) // stride[1] + 1
    y, winner = np.empty((n, c, rows, columns), dtype=x.dtype), np.empty((n, c, rows, columns), dtype=int)
    for a, b, h, v in np.ndindex(*y.shape):
        top, left = h * stride[0] - padding[0], v * stride[1] - padding[1]
        window = [
            (row, column)
            for row, column in itertools.product(range(top, top + kernel[0]), range(left, left + kernel[1]))
            if 0 <= row < height and 0 <= column < width
        ]
        row, column = max(window, key=lambda place: x[a, b, place[0], place[1]])  # max keeps the first of equals
        y[a, b, h, v], winner[a, b, h, v] = x[a, b, row, column], row * width + column
    return y, winner


def slow_avg_pool2d(x: Array, kernel: Any, stride: Any, padding: Any) -> Array:
    channels = x.shape[1]
    box = np.full((channels, 1, *kernel), 1 / (kernel[0] * kernel[1]), dtype=x.dtype)
    return slow_conv2d(x, box, stride, padding, (1, 1), channels)


def assert_result(a: Array, shape: tuple[int, ...], dtype: Any) -> None:
    assert a.shape == shape
    assert a.dtype == dtype
    assert a.flags.c_contiguous


def assert_transposes(x: Array, w: Array, options: Any) -> None:
    """Check ``<g, conv(x, w)> = <dx, x> = <dw, w>`` without conjugation."""
    y = on(conv2d)(x, w, *options)
    g = draw(y.shape, y.dtype, seed=7)
    dx = on(conv2d_input_adjoint)(g, w, x.shape, *options)
    dw = on(conv2d_weight_adjoint)(x, g, w.shape, *options)
    assert_result(dx, x.shape, x.dtype)
    assert_result(dw, w.shape, w.dtype)
    rtol = 1e-11 if y.dtype.itemsize // (2 if y.dtype.kind == "c" else 1) == 8 else 1e-3
    value, scale = np.sum(g * y), np.linalg.norm(g) * np.linalg.norm(y)
    assert abs(np.sum(dx * x) - value) <= rtol * scale
    assert abs(np.sum(dw * w) - value) <= rtol * scale


convolutions = st.fixed_dictionaries(
    {
        "stride": pair(1, 3),
        "padding": pair(0, 3),
        "dilation": pair(1, 3),
        "groups": st.integers(1, 3),
        "kernel": pair(1, 3),
        "slack": pair(0, 3),  # beyond the smallest image that this window fits
        "batch": st.integers(1, 3),
        "width": pair(1, 2),  # channels of each group, in and out
        "chunk": st.sampled_from([1, 200, 2**21]),
    }
)


@settings(max_examples=40, deadline=None)
@given(convolutions)
def test_conv2d_is_its_formula_and_has_its_transposes(case: dict[str, Any]) -> None:
    options = (case["stride"], case["padding"], case["dilation"], case["groups"])
    height, width = (
        max(1, d * (k - 1) + 1 - 2 * p) + extra
        for d, k, p, extra in zip(case["dilation"], case["kernel"], case["padding"], case["slack"], strict=True)
    )
    x = draw((case["batch"], case["groups"] * case["width"][0], height, width))
    w = draw((case["groups"] * case["width"][1], case["width"][0], *case["kernel"]), seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "CHUNK_ELEMENTS", case["chunk"])
        expected = slow_conv2d(x, w, *options)
        y = on(conv2d)(x, w, *options)
        assert_result(y, expected.shape, np.float64)
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
        assert_transposes(x, w, options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kernel", "padding"), [((3, 2), (1, 0)), ((1, 1), (0, 0)), ((1, 1), (1, 2))])
@pytest.mark.parametrize("groups", [1, 2])
def test_conv2d_keeps_the_dtype(dtype: Any, kernel: Any, padding: Any, groups: int) -> None:
    x, w = draw((2, 4, 5, 6), dtype), draw((6, 4 // groups, *kernel), dtype, seed=1)
    options = ((1, 1), padding, (1, 1), groups)
    y, expected = on(conv2d)(x, w, *options), slow_conv2d(x, w, *options)
    assert_result(y, expected.shape, dtype)
    tolerance = 1e-5 if np.finfo(dtype).bits == 32 else 1e-12
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)
    assert_transposes(x, w, options)


def test_conv2d_defaults_are_a_plain_correlation() -> None:
    x, w = draw((2, 3, 6, 5)), draw((4, 3, 2, 3), seed=1)
    np.testing.assert_allclose(on(conv2d)(x, w), slow_conv2d(x, w, *UNIT), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3)])
def test_conv2d_of_strided_arrays_that_it_leaves_alone(kernel: Any) -> None:
    x = draw((6, 7, 4, 2)).transpose(3, 2, 1, 0)[:, :, ::-1]
    w = draw((*kernel, 4, 5), seed=1).transpose(3, 2, 0, 1)
    g = draw(on(conv2d)(x, w).shape, seed=2)[::-1]
    copies = [a.copy() for a in (x, w, g)]
    for a in (x, w, g):
        a.flags.writeable = False
    y = on(conv2d)(x, w)
    dx = on(conv2d_input_adjoint)(g, w, x.shape, *UNIT)
    dw = on(conv2d_weight_adjoint)(x, g, w.shape, *UNIT)
    for a, copy in zip((x, w, g), copies, strict=True):
        np.testing.assert_array_equal(a, copy)
    np.testing.assert_allclose(y, slow_conv2d(copies[0], copies[1], *UNIT), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dx, on(conv2d_input_adjoint)(copies[2], copies[1], x.shape, *UNIT), rtol=1e-12)
    np.testing.assert_allclose(dw, on(conv2d_weight_adjoint)(copies[0], copies[2], w.shape, *UNIT), rtol=1e-12)
    assert_result(dx, x.shape, np.float64)
    assert_result(dw, w.shape, np.float64)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3)])
def test_an_empty_batch_is_allowed(kernel: Any) -> None:
    x, w = np.zeros((0, 2, 5, 5)), draw((3, 2, *kernel))
    y = on(conv2d)(x, w)
    assert y.shape == (0, 3, *(6 - k for k in kernel))
    assert on(conv2d_input_adjoint)(y, w, x.shape, *UNIT).shape == x.shape
    np.testing.assert_array_equal(on(conv2d_weight_adjoint)(x, y, w.shape, *UNIT), np.zeros_like(w))
    pooled, winner = on(max_pool2d)(x, (2, 2), (2, 2))
    assert pooled.shape == winner.shape == (0, 2, 2, 2)
    assert pool_adjoint(pooled, winner, x.shape).shape == x.shape


poolings = st.fixed_dictionaries(
    {
        "kernel": pair(1, 4),
        "stride": pair(1, 4),
        "half": st.tuples(st.booleans(), st.booleans()),  # pad by half a window, or not
        "slack": pair(0, 5),
        "levels": st.sampled_from([1, 2, 1000]),  # few distinct values: many ties
        "floor": st.booleans(),  # the smallest value is -inf, as the padding is
    }
)


def pooling_case(case: dict[str, Any]) -> tuple[Array, Any, Any, Any]:
    kernel = case["kernel"]
    padding = tuple(k // 2 if half else 0 for k, half in zip(kernel, case["half"], strict=True))
    sizes = (max(1, k - 2 * p) + extra for k, p, extra in zip(kernel, padding, case["slack"], strict=True))
    x = np.random.default_rng(0).integers(0, case["levels"], (2, 2, *sizes)).astype(np.float64)
    if case["floor"]:
        x[x == 0] = -np.inf
    return x, kernel, case["stride"], padding


@settings(max_examples=40, deadline=None)
@given(poolings)
def test_max_pool2d_is_its_formula_and_has_its_transpose(case: dict[str, Any]) -> None:
    x, *options = pooling_case(case)
    y, winner = on(max_pool2d)(x, *options)
    expected, places = slow_max_pool2d(x, *options)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(winner, places)
    assert winner.dtype.kind == "i"
    assert_result(y, expected.shape, x.dtype)
    np.testing.assert_array_equal(on(max_pool2d_gather)(x, winner), y)

    g, v = draw(y.shape, seed=1), draw(x.shape, seed=2)
    dx = pool_adjoint(g, winner, x.shape)
    assert_result(dx, x.shape, np.float64)
    assert np.sum(dx * v) == pytest.approx(np.sum(g * on(max_pool2d_gather)(v, winner)), rel=1e-11, abs=1e-11)


@settings(max_examples=30, deadline=None)
@given(poolings)
def test_avg_pool2d_is_its_formula_and_has_its_transpose(case: dict[str, Any]) -> None:
    case = {**case, "floor": False, "levels": 1000}
    x, *options = pooling_case(case)
    y = on(avg_pool2d)(x, *options)
    expected = slow_avg_pool2d(x, *options)
    assert_result(y, expected.shape, x.dtype)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-10)

    g = draw(y.shape, seed=1)
    dx = on(avg_pool2d_adjoint)(g, x.shape, *options)
    assert_result(dx, x.shape, np.float64)
    assert np.sum(dx * x) == pytest.approx(np.sum(g * y), rel=1e-11, abs=1e-8)


def test_overlapping_windows_add_up_at_a_shared_winner() -> None:
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 1] = 5
    y, winner = on(max_pool2d)(x, (2, 2), (1, 1))
    np.testing.assert_array_equal(winner, np.full((1, 1, 2, 2), 4))
    dx = pool_adjoint(np.ones_like(y), winner, x.shape)
    np.testing.assert_array_equal(dx, x / 5 * 4)


def test_the_first_of_equals_wins() -> None:
    _, winner = on(max_pool2d)(np.ones((1, 1, 4, 4)), (2, 2), (2, 2))
    np.testing.assert_array_equal(winner[0, 0], [[0, 2], [8, 10]])


def test_nan_reaches_the_maximum() -> None:
    x = draw((1, 1, 4, 4))
    x[0, 0, 3, 2] = np.nan
    y, _ = on(max_pool2d)(x, (2, 2), (2, 2))
    np.testing.assert_array_equal(np.isnan(y[0, 0]), [[False, False], [False, True]])


def test_a_window_of_more_than_256_pixels() -> None:
    x = draw((1, 2, 20, 21))
    y, winner = on(max_pool2d)(x, (17, 18), (1, 2))
    expected, places = slow_max_pool2d(x, (17, 18), (1, 2), (0, 0))
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(winner, places)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pooling_of_strided_arrays_that_it_leaves_alone(dtype: Any) -> None:
    x = draw((6, 8, 3, 2), dtype).transpose(3, 2, 1, 0)
    copy = x.copy()
    x.flags.writeable = False
    average = on(avg_pool2d)(x, (2, 2), (2, 2), (1, 1))
    np.testing.assert_array_equal(average, on(avg_pool2d)(copy, (2, 2), (2, 2), (1, 1)))
    assert_result(average, (2, 3, 5, 4), dtype)
    g = average.transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2)
    assert_result(on(avg_pool2d_adjoint)(g, x.shape, (2, 2), (2, 2), (1, 1)), x.shape, dtype)
    if np.dtype(dtype).kind == "f":
        y, winner = on(max_pool2d)(x, (2, 2), (2, 2), (1, 1))
        expected, places = slow_max_pool2d(copy, (2, 2), (2, 2), (1, 1))
        assert_result(y, expected.shape, dtype)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(winner, places)
        assert_result(on(max_pool2d_gather)(x, winner), y.shape, dtype)
        assert_result(pool_adjoint(g, winner, x.shape), x.shape, dtype)
    np.testing.assert_array_equal(x, copy)


@pytest.mark.parametrize(
    ("arguments", "size"), [((28, 5, 1, 2, 1), 28), ((7, 3, 2, 0, 1), 3), ((9, 3, 2, 1, 3), 3), ((4, 4), 1)]
)
def test_output_size(arguments: Any, size: int) -> None:
    assert output_size(*arguments) == size


X, W = np.zeros((2, 4, 6, 6)), np.zeros((4, 4, 3, 3))
Y, WINNER = np.zeros((2, 4, 3, 3)), np.zeros((2, 4, 3, 3), dtype=int)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: on(conv2d)(X[0], W), "four axes"),
        (lambda: on(conv2d)(X, W[0]), "four axes"),
        (lambda: on(conv2d)(X, W[:, :3]), "do not fit 1 groups"),
        (lambda: on(conv2d)(X, W[:3, :2], groups=2), "do not fit 2 groups"),
        (lambda: on(conv2d)(X, W, groups=0), "do not fit 0 groups"),
        (lambda: on(conv2d)(X, W[:0]), "do not fit 1 groups"),
        (lambda: on(conv2d)(X, W, dilation=(1, 3)), "window of 7 does not fit an axis of 6"),
        (lambda: on(conv2d)(X, W, stride=(0, 1)), "stride 0"),
        (lambda: on(conv2d)(X, W, padding=(0, -1)), "padding -1"),
        (lambda: on(conv2d)(X, W, dilation=(0, 1)), "dilation 0"),
        (lambda: on(conv2d)(X, np.zeros((4, 4, 0, 1))), "kernel 0"),
        (lambda: on(conv2d_input_adjoint)(Y, W, X.shape, *UNIT), r"must have \(2, 4, 4, 4\)"),
        (lambda: on(conv2d_weight_adjoint)(X, Y, W.shape, *UNIT), r"must have \(2, 4, 4, 4\)"),
        (lambda: on(max_pool2d)(X[0], (2, 2), (2, 2)), "four axes"),
        (lambda: on(max_pool2d)(X, (7, 1), (1, 1)), "window of 7"),
        (lambda: on(max_pool2d)(X, (2, 2), (2, 0)), "stride 0"),
        (lambda: on(max_pool2d)(X, (3, 3), (1, 1), (2, 0)), "at most half"),
        (lambda: on(avg_pool2d)(X, (2, 3), (1, 1), (0, 2)), "at most half"),
        (lambda: on(avg_pool2d_adjoint)(X, X.shape, (2, 2), (2, 2)), r"must have \(2, 4, 3, 3\)"),
        (lambda: pool_adjoint(X, WINNER, X.shape), r"must have \(2, 4, 3, 3\)"),
        (lambda: pool_adjoint(Y, WINNER, (2, 3, 6, 6)), r"must have \(2, 3\)"),
        (lambda: on(max_pool2d_gather)(X[:1], WINNER), r"must have \(1, 4\)"),
    ],
)
def test_what_cannot_be_computed_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ArrayError, match=message):
        call()


def test_complex_numbers_have_no_maximum() -> None:
    with pytest.raises(DTypeError, match="complex128"):
        on(max_pool2d)(X.astype(complex), (2, 2), (2, 2))
