"""The strict backend is strict: each thing that a device would do slowly, silently or not at all is refused."""

from collections.abc import Callable
from typing import Any

import autoray
import numpy as np
import pytest
import strict
from strict import STRICT, Forbidden, StrictArray

X = np.arange(6.0).reshape(2, 3)
XP = autoray.get_namespace("strict")


def there(x: Any = X) -> StrictArray:
    return STRICT.asarray(x)


REFUSED: dict[str, Callable[[], Any]] = {
    "float": lambda: float(there(np.array(1.0))),
    "int": lambda: int(there(np.array(1))),
    "bool": lambda: bool(there(np.array(1.0)) > 0),
    "item": lambda: there(np.array(1.0)).item(),
    "tolist": lambda: there().tolist(),
    "asarray": lambda: np.asarray(there()),
    "a NumPy array on the right": lambda: there() + X,
    "in place": lambda: there().__iadd__(X),
    "stored": lambda: there().__setitem__(0, X[0]),
    "an argument": lambda: XP.concatenate([there(), X]),
    "an index": lambda: there()[np.array([0, 1])],
    "a mask": lambda: there()[there() > 1],
    "precisions": lambda: there() + there(X.astype("float32")),
    "a wide scalar": lambda: there(X.astype("float32")) * np.float64(2),
    "precisions in place": lambda: there(X.astype("float32")).__iadd__(there()),
    "a size that only the device knows": lambda: XP.nonzero(there()),
    "a NumPy function": lambda: np.linalg.norm(there()),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    with pytest.raises((Forbidden, TypeError)):
        REFUSED[what]()


def test_a_numpy_array_on_the_left() -> None:
    with pytest.raises((Forbidden, TypeError)):
        X + there()
    with pytest.raises(TypeError):
        np.add(X, there())


def test_what_is_allowed() -> None:
    x = there()
    np.testing.assert_array_equal(STRICT.to_host(2 * x + x * 0.5 - x / 3), 2 * X + X * 0.5 - X / 3)
    np.testing.assert_array_equal(STRICT.to_host(XP.sum(x, axis=0)), X.sum(axis=0))
    np.testing.assert_array_equal(STRICT.to_host(x[there(np.array([1, 0]))]), X[[1, 0]])
    narrow = x.astype("float32")
    narrow *= 2
    assert narrow.dtype == np.float32
    assert autoray.infer_backend(x) == "strict"


def test_counts() -> None:
    before = strict.COUNTS.copy()
    STRICT.to_host(there())
    assert strict.COUNTS["to_host"] == before["to_host"] + 1
    assert strict.COUNTS["from_host"] == before["from_host"] + 1
