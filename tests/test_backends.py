"""Raw arrays and backends."""

import numpy as np
import pytest

import adntn_ref.backend
from adntn_ref.ad.arrays import backend_of, dtype_name, is_array, is_complex, namespace, require_finite, require_inexact
from adntn_ref.backend import get_backend
from adntn_ref.errors import BackendUnavailable, DTypeError, NonFiniteError

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])


# Raw arrays and backends


def test_raw_arrays() -> None:
    assert namespace(1.0) is np
    assert namespace(X) is np
    assert is_array(X)
    assert is_array(np.float64(1.0))
    assert not any(is_array(x) for x in (1.0, 1, "a", None, [1.0], (1.0,), {}, object()))
    assert dtype_name(1.0) == "float64"
    assert dtype_name(X.astype(np.complex64)) == "complex64"
    assert is_complex(1j)
    assert not is_complex(1.0)
    assert is_complex(np.complex64(1))
    require_inexact(X, "X")
    with pytest.raises(DTypeError, match="X has dtype float64; allowed: float32"):
        require_inexact(X, "X", ("float32",))


def test_arrays_of_another_library() -> None:
    """Anything with a shape and a dtype is an array; its namespace and backend are looked up by name."""
    autoray_numpy = namespace(FakeArray())
    assert autoray_numpy is not np
    assert is_array(FakeArray())
    with pytest.raises(BackendUnavailable, match="no array backend is called"):
        backend_of(FakeArray())


class FakeArray:
    shape = (2,)
    dtype = np.dtype(float)


def test_require_finite() -> None:
    require_finite(X, "X")
    bad = X.copy()
    bad[1, 0] = np.nan
    bad[1, 2] = np.inf
    with pytest.raises(NonFiniteError, match=r"X holds 2 entries that are not finite; the first is at index \(1, 0\)"):
        require_finite(bad, "X")


def test_the_numpy_backend() -> None:
    backend = get_backend("numpy")
    assert backend is backend_of(1.0) is backend_of(X)
    for copy in (backend.asarray, backend.to_host):
        found = copy(X.T)
        assert found.flags.c_contiguous
        assert not np.shares_memory(found, X)
        np.testing.assert_array_equal(found, X.T)


def test_backends_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name = "fake"

        def load(self) -> str:
            return "the fake backend"

    monkeypatch.setattr(adntn_ref.backend, "entry_points", lambda **_: [Entry()])
    get_backend.cache_clear()
    assert get_backend("fake") == "the fake backend"
    with pytest.raises(BackendUnavailable, match="no array backend is called 'none'; installed: cupy, fake, numpy"):
        get_backend("none")
    get_backend.cache_clear()
