"""What a case asks and expects: its numbers in the dtype that the candidate works in, the reference, and tolerances."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np

from ..case import FROZEN, Case, reference
from ..tolerance import allowed_errors
from .verdicts import Array, Request

DTYPES = ("float64", "float32", "float16", "bfloat16")
BITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
"""Digits of a number in binary."""
FLOOR = 1e-12
"""In double precision an error of this times the largest entry is always allowed."""


@dataclass(frozen=True)
class Prepared:
    """A case as it is put to a candidate.

    Attributes
    ----------
    case : the case, its numbers rounded to what the candidate works in
    dtype : what the candidate works in on this case, ``"complex64"`` for instance
    known : the reference where it is known already, else empty
    """

    case: Case
    dtype: str
    known: Mapping[str, Array]

    @cached_property
    def expected(self) -> dict[str, Array]:
        """The reference, computed in double precision from the very numbers that the candidate is given."""
        return dict(self.known) if self.known else reference(self.case)

    @cached_property
    def allowed(self) -> dict[str, Array]:
        """The largest absolute error of each entry."""
        case = self.case
        found = dict(allowed_errors(case.spec, case.params, case.cotangent, self.dtype, list(self.expected)))
        if self.dtype in ("float64", "complex128"):
            for quantity, right in self.expected.items():
                found[quantity] = np.maximum(found[quantity], FLOOR * np.max(np.abs(right), initial=0.0))
        return found

    @property
    def request(self) -> Request:
        """What the candidate is asked."""
        case = self.case
        shapes = {quantity: right.shape for quantity, right in self.expected.items()}
        return Request(case.name, case.spec, case.params, case.cotangent, shapes, self.dtype)

    @property
    def size(self) -> int:
        """The number of entries of parameters and weights."""
        return size_of(self.case)


def size_of(case: Case) -> int:
    """Return the number of entries of a case's parameters and weights."""
    weights = list(case.cotangent.values()) if isinstance(case.cotangent, dict) else [case.cotangent]
    return sum(x.size for x in (*case.params.values(), *weights))


def prepare(case: Case, dtype: str, known: Mapping[str, Array] | None = None) -> Prepared | None:
    """Return a case for a candidate that works in ``dtype``, or None where there are no such complex numbers.

    Parameters
    ----------
    case : the case
    dtype : one of ``DTYPES``; a case of lower precision than this stays as it is
    known : the reference for the case's own numbers, where it is at hand
    """
    is_complex = case.dtype.startswith("complex")
    own = {"complex128": "float64", "complex64": "float32"}.get(case.dtype, case.dtype)
    working = min(own, dtype, key=lambda name: BITS[name])
    if is_complex and working not in ("float64", "float32"):
        return None
    name = {"float64": "complex128", "float32": "complex64"}[working] if is_complex else working
    if working == own:
        return Prepared(case, name, known or {})
    return Prepared(rounded(case, name), name, {})


def rounded(case: Case, dtype: str) -> Case:
    """Return a case with its numbers rounded to ``dtype``; those of bfloat16 come as float32, NumPy having none.

    The frozen weights of deltas keep their dtype, with numbers that ``dtype`` can hold, so that casting them is exact;
    their sha256 in the specification follows.
    """
    renamed: dict[str, str] = {}
    params: dict[str, Array] = {}
    for name, core in case.params.items():
        if name.startswith(FROZEN):
            kept = np.ascontiguousarray(_round(core, dtype).astype(core.dtype))
            little = kept.astype(kept.dtype.newbyteorder("<"), copy=False)
            renamed[name.removeprefix(FROZEN)] = sha256(little.tobytes()).hexdigest()
            params[FROZEN + renamed[name.removeprefix(FROZEN)]] = kept
        else:
            params[name] = _round(core, dtype)
    cotangent = _each(case.cotangent, lambda g: _round(g, dtype))
    return replace(case, spec=_renamed(case.spec, renamed), params=params, cotangent=cotangent)


def _round(x: Array, dtype: str) -> Array:
    if dtype == "bfloat16":
        bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
        # To nearest, ties to even: bfloat16 is the upper half of a float32.
        upper = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
        return upper.view(np.float32).reshape(x.shape)
    if x.dtype.kind == "c" and not dtype.startswith("complex"):
        dtype = {"float32": "complex64"}.get(dtype, dtype)
    if x.dtype.kind != "c" and dtype.startswith("complex"):  # a real frozen weight beside complex cores
        dtype = {"complex64": "float32", "complex128": "float64"}[dtype]
    return np.asarray(x, dtype=dtype)


def _renamed(spec: Any, renamed: Mapping[str, str]) -> Any:
    """Return a specification with other sha256 of its frozen weights."""
    if isinstance(spec, dict):
        return {
            key: renamed.get(value, value) if key == "sha256" else _renamed(value, renamed)
            for key, value in spec.items()
        }
    return [_renamed(part, renamed) for part in spec] if isinstance(spec, list) else spec


def _each(value: Any, change: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: change(x) for name, x in value.items()}
    return change(value)
