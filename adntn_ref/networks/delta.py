"""A small trainable change of a frozen dense weight, as in LoRA (Hu et al., arXiv 2106.09685) but by any network."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array, backend_of, dtype_name, is_array, is_complex, require_finite, require_inexact
from adntn_ref.ad.sized import Sized
from adntn_ref.ad.tape import stop_gradient
from adntn_ref.errors import ArrayError, DTypeError, SpecError
from adntn_ref.networks.base import Network, Params
from adntn_ref.networks.combination import Bases, Combination, Identity, Read, check_parts
from adntn_ref.networks.multilinear import fix
from adntn_ref.program.modes import Layout, matrix_shape, positive_integers, shown
from adntn_ref.program.starts import default_std, spread

START = 0.01
"""Standard deviation of the change at the start, over that of the frozen weight."""


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Delta(Combination):
    """``W = W0 + alpha * net``: a frozen weight plus what a network makes, the LoRA-like update.

    The one specification that holds an array: a read-only copy of W0, by whose bytes (their sha256, with shape and
    dtype) two of them are compared and hashed. ``to_spec`` writes these and not the numbers, so reading it back takes
    W0: ``ar.from_spec(spec, base=W0)``. W0 is no parameter: it is not counted, and has no gradient. It is read in the
    dtype of the parameters.

    Parameters
    ----------
    base : array
        W0; float32, float64, or complex for a network that takes complex parameters.
    net : network of one weight of the same shape; its cores keep their names
    alpha : finite number other than 0

    Examples
    --------
    >>> from adntn_ref.networks.shallow import LowRank
    >>> net = Delta(np.eye(3), LowRank((3, 3), rank=1))
    >>> params = {"left": np.ones((3, 1)), "right": np.zeros((1, 3))}
    >>> bool((net.generate(params) == np.eye(3)).all()), net.parameter_count
    (True, 6)
    """

    kind = "delta"

    base: Array
    net: Network
    alpha: float
    identity: Identity = field(init=False)
    """Shape, dtype and sha256 of W0."""
    placement: Layout = field(init=False)
    _copies: dict[Any, Array] = field(init=False)

    def __init__(self, base: Array, net: Network, alpha: float = 1.0) -> None:
        (part,) = check_parts("delta", (net,))
        frozen = _frozen(base)
        if frozen.shape != part.placement.shape:
            raise SpecError(f"W0 has shape {frozen.shape}, the network makes {part.placement.shape}")
        if is_complex(frozen) and not part.linear:
            raise SpecError("W0 is complex, and the network with its activations takes real parameters alone")
        number = isinstance(alpha, (int, float, np.floating, np.integer)) and not isinstance(alpha, bool)
        if not number or not 0 < abs(alpha) <= sys.float_info.max:
            raise SpecError(f"alpha must be a finite number other than 0, got {shown(alpha)}")
        identity = identify(frozen)
        plain = Layout(frozen.shape, frozen.shape)
        fix(self, base=frozen, net=part, alpha=float(alpha), identity=identity, placement=plain, _copies={})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Delta) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        shape, dtype, digest = self.identity
        return f"Delta(<{dtype} array of shape {shape}, sha256 {digest[:12]}>, {self.net!r}, alpha={self.alpha})"

    def __reduce__(self) -> Any:
        return Delta, (self.base, self.net, self.alpha)

    @property
    def _key(self) -> tuple[Any, ...]:
        return self.identity, self.net, self.alpha

    def to_spec(self) -> dict[str, Any]:
        """Return the specification as a JSON-able dict, W0 by its sha256 alone; see :class:`Delta`."""
        shape, dtype, digest = self.identity
        base = {"shape": list(shape), "dtype": dtype, "sha256": digest}
        return {"network": "delta", "base": base, "net": self.net.to_spec(), "alpha": self.alpha}

    @classmethod
    def _from_entries(cls, entries: Mapping[str, Any], read: Read, bases: Bases) -> "Delta":
        wanted = entries["base"]
        if not isinstance(wanted, Mapping) or wanted.keys() != {"shape", "dtype", "sha256"}:
            raise SpecError(f"the base of a delta is a dict with shape, dtype and sha256, got {shown(wanted)}")
        said = (positive_integers(wanted["shape"], "shape"), str(wanted["dtype"]), str(wanted["sha256"]))
        if said in bases:
            return cls(bases[said], read(entries["net"]), entries["alpha"])
        given = f"none of the {len(bases)} given is" if bases else "none was given; wanted is"
        raise SpecError(
            f"a delta's specification does not hold W0: pass it as from_spec(spec, base=W0); {given} {shown(wanted)}"
        )

    @property
    def _parts(self) -> tuple[Network, ...]:
        return (self.net,)

    def check_params(self, params: Params) -> str:
        """Refuse parameters that are not the network's, and real ones where W0 is complex; return their dtype."""
        dtype = super().check_params(params)
        if is_complex(self.base) and not dtype.startswith("complex"):
            raise DTypeError(f"W0 is complex, the parameters {dtype}; cast them to complex64 or complex128")
        return dtype

    def _join(self, weights: Iterator[Array]) -> Array:
        change = ops.multiply(next(weights), self.alpha)
        return ops.add(self._frozen(stop_gradient(change)), change)

    @property
    def apply_refusal(self) -> str:
        """Why :meth:`apply` cannot do without the network's weight: what the network says; empty where it can."""
        return self.net.apply_refusal

    def _apply(self, params: Params, x: Array) -> Array:
        """Return ``x @ W0.T + alpha * net.apply(x)``: W0 is there already."""
        rows, columns = matrix_shape(self.placement.shape)
        frozen = ops.reshape(self._frozen(stop_gradient(x)), shape=(rows, columns))
        change = ops.multiply(self.net._apply(params, x), self.alpha)
        return ops.add(ops.matrix_product(x, ops.transpose(frozen)), change)

    def _frozen(self, like: Array) -> Array:
        """Return W0 in the dtype of ``like`` and where it is; on a device it stays, so that no step copies it again."""
        if isinstance(like, Sized):
            return like.library.new(self.base.shape)
        backend, key = backend_of(like), (backend_of(like).name, dtype_name(like), str(getattr(like, "device", "")))
        if not backend.on_host and key in self._copies:
            return self._copies[key]
        copy = backend.asarray(self.base.astype(dtype_name(like), copy=False))
        if not backend.on_host:
            self._copies[key] = copy
        return copy

    def _change(self, params: Params) -> Array:
        return self.alpha * next(self._changes(params))

    def _share(self, cotangent: Array) -> list[Array]:
        return [ops.multiply(cotangent, self.alpha)]

    def _start_std(self, std: float | None) -> tuple[float, float]:
        size = spread(self.base) or default_std(self.placement.shape)
        change = START * size if std is None else float(std)
        return change, change / abs(self.alpha)

    def init(
        self,
        rng: int | np.random.Generator = 0,
        dtype: str = "float64",
        std: float | None = None,
        start: str = "calibrated_orthogonal",
        backend: str | None = None,
    ) -> Params:
        """Draw the network's parameters; ``std`` is the standard deviation of the change ``alpha * net``.

        By default the change is small, 0.01 times the standard deviation of W0 (where that is 0, of the default
        sqrt(2 / fan_in)): zero, LoRA's start, is a point that most networks cannot leave. See :meth:`Network.init`.
        """
        return super().init(rng, dtype, std, start, backend)

    def _joining(self) -> tuple[int, int, int]:
        n = self.weights
        return 2 * n, n, 5 * n


def _frozen(base: Array) -> Array:
    """Return a read-only copy of W0 on the host, in C order."""
    if not is_array(base):
        raise ArrayError(f"W0 must be an array, got a {type(base).__name__}")
    require_inexact(base, "W0")
    require_finite(base, "W0")
    host = np.array(backend_of(base).to_host(base), order="C")
    host = host.astype(host.dtype.newbyteorder("="), copy=False)
    host.flags.writeable = False
    return host


def identify(base: Array) -> Identity:
    """Return shape, dtype and sha256 of an array; the bytes are those of its entries in C order, least byte first."""
    little = np.ascontiguousarray(base, dtype=base.dtype.newbyteorder("<"))
    return tuple(base.shape), base.dtype.name, sha256(little.tobytes()).hexdigest()


def bases_of(base: Any) -> Bases:
    """Return the frozen weights of ``from_spec``: an array, or several in a dict, list or tuple, by identity."""
    if base is None:
        return {}
    several = base.values() if isinstance(base, Mapping) else base
    arrays = list(several) if isinstance(base, (Mapping, list, tuple)) else [base]
    frozen = [_frozen(x) for x in arrays]
    return {identify(x): x for x in frozen}
