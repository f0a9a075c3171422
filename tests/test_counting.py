"""The count of calls and of memory by which tests tell that little was done: it fails where much is."""

import numpy as np
import pytest
from counting import little


def test_many_calls_end_at_once() -> None:
    done: list[int] = []
    with pytest.raises(pytest.fail.Exception, match="more than 50 functions were called"), little(calls=50):
        any(done.append(k) for k in range(10**9))  # type: ignore[func-returns-value]
    assert 20 < len(done) <= 50


def test_much_memory_is_noticed() -> None:
    with pytest.raises(AssertionError, match=r"^10\d{5} bytes were held"), little(kibibytes=900):
        np.zeros(10**6, "int8")


def test_an_error_inside_goes_through() -> None:
    with pytest.raises(ZeroDivisionError), little():
        print(1 / 0)


def test_little_is_little() -> None:
    with little(calls=10, kibibytes=900):
        np.zeros(8 * 10**5, "int8")
