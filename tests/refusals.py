"""What every refused specification, and every refused set of parameters, has to show."""

from collections.abc import Callable
from typing import Any

import pytest
from counting import little

import adntn_ref as ar
from adntn_ref.errors import DTypeError, ParameterError, SpecError


def refused(make: Callable[[], Any], sentence: str) -> None:
    """Ask for a SpecError at once, in one short line that holds ``sentence``."""
    with little(), pytest.raises(SpecError) as caught:
        make()
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def refuses_wrong_parameters(net: ar.Network) -> None:
    """Give a network too few cores, a core of another shape, one of integers: each is refused by its name."""
    params = net.init()
    first = next(iter(params))
    for way in (net.generate, net.vjp):
        with pytest.raises(ParameterError, match=f"missing cores {first}"):
            way({name: core for name, core in params.items() if name != first})
        with pytest.raises(ParameterError, match=f"core {first} has shape"):
            way({**params, first: params[first][..., :0]})
        with pytest.raises(DTypeError, match=f"core {first} has dtype int64"):
            way({**params, first: params[first].astype("int64")})
