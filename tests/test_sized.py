"""Arrays without entries behave as NumPy's: shapes, which reshapes are views, what is held, and how much is done."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adntn_ref import ad
from adntn_ref.ad.arrays import backend_of, dtype_name, is_array, namespace
from adntn_ref.ad.sized import Library, broadcast_shape, strides_of_view
from adntn_ref.errors import ArrayError

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@given(SHAPES, st.data())
def test_views_and_copies_are_numpys(shape: tuple[int, ...], data: st.DataObject) -> None:
    """The same transposes, slices and reshapes: equal shapes and strides, and a copy exactly where NumPy makes one."""
    library = Library("float64")
    x, real = library.new(shape), np.zeros(shape)
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["transpose", "slice", "reshape"]))
        before = real
        if kind == "transpose":
            axes = tuple(data.draw(st.permutations(range(real.ndim))))
            x, real = x.transpose(axes), real.transpose(axes)
        elif kind == "slice":
            index = tuple(slice(data.draw(st.integers(1, n))) for n in real.shape)
            x, real = x[index], real[index]
        else:
            sizes = data.draw(st.permutations([*real.shape, 1]))
            wanted = (int(np.prod(sizes[:2])), *sizes[2:])
            copies = x.library.meter.moved
            x, real = x.reshape(wanted), real.reshape(wanted)
            assert (x.library.meter.moved > copies) == (not np.shares_memory(before, real))
        assert x.shape == real.shape
        ours = [s for s, n in zip(x.strides, x.shape, strict=True) if n > 1]
        assert ours == [s // 8 for s, n in zip(real.strides, real.shape, strict=True) if n > 1]
    assert (x.library.ascontiguousarray(x) is x) == real.flags.c_contiguous


@given(SHAPES, SHAPES)
def test_broadcasting_is_numpys(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    try:
        expected = np.broadcast_shapes(a, b)
    except ValueError:
        with pytest.raises(ArrayError, match="do not broadcast"):
            broadcast_shape(a, b)
        return
    assert broadcast_shape(a, b) == expected
    library = Library("float32")
    assert (library.new(a) + library.new(b)).shape == expected
    assert library.broadcast_to(library.new(a), expected).shape == expected


def test_what_is_held() -> None:
    library = Library("float64")
    given_, meter = library.given((10, 10)), library.meter
    assert meter.live == 0
    a = library.new((6, 4))
    view = a.T
    b = a @ library.given((4, 5))
    assert (meter.live, meter.peak, meter.flops, meter.moved) == (54, 54, 2 * 4 * 30, 24 + 20 + 30)
    del a
    assert meter.live == 54, "the view looks at it"
    del view
    assert (meter.live, meter.peak) == (30, 54)
    on = b > 0
    assert on.dtype == bool
    assert meter.live == 30 + 4, "a boolean is a byte: 30 of them take the room of 4 numbers"
    meter.keep(10)
    meter.keep(8)
    assert meter.live == 44
    meter.keep(12)
    assert meter.live == 46
    del b, on, given_
    assert meter.live == 12


def test_a_reshape_that_copies_moves_and_holds() -> None:
    library = Library("float64")
    a = library.new((3, 4))
    flat = a.T.reshape(-1)
    assert (library.meter.live, library.meter.moved, flat.strides) == (24, 24, (1,))
    assert a.reshape(2, 6).buffer is a.buffer
    with pytest.raises(ArrayError, match="has no shape"):
        a.reshape(5, 2)


def test_functions() -> None:
    """Through the tape's own functions, as networks call them."""
    library = Library("float32")
    x = library.new((4, 6))
    assert namespace(x) is library
    assert backend_of(x) is library
    assert is_array(x)
    assert dtype_name(x) == "float32"
    assert ad.tanh(x).shape == (4, 6)
    assert ad.relu(x.T).strides == (1, 6), "in the memory order of the array"
    assert ad.sum(x, axis=0, keepdims=True).shape == (1, 6)
    assert ad.sum(x).shape == ()
    assert ad.concatenate([x, x], axis=1).shape == (4, 12)
    assert ad.erf(x).shape == ad.positive(x).shape == (4, 6)
    assert (2.0 * x - x / 3.0).shape == (-x).shape == (4, 6)
    assert ad.scatter_add(x, index=(slice(4), slice(6)), shape=(5, 8)).shape == (5, 8)
    assert library.asarray(np.eye(3)).shape == (3, 3)
    gradient: Any = ad.grad(lambda y: ad.sum(ad.tanh(y) * y))(x)
    assert gradient.shape == (4, 6)
    with pytest.raises(ArrayError, match="have no product"):
        x @ x
    with pytest.raises(AttributeError, match="sized arrays have no fft"):
        library.fft  # noqa: B018


def test_nothing_is_too_large() -> None:
    library = Library("float64")
    x = library.new((2**40, 2**40))
    assert library.meter.peak == 2**80
    assert x.T.reshape(2**80).size == 2**80
    assert strides_of_view((), (), ()) == ()
    assert strides_of_view((1, 1), (1, 1), (1,)) == (1,)
