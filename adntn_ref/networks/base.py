"""What every network offers: a specification without arrays, and what can be done with parameters for it."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import COMPLEX, REAL, Array, backend_of, dtype_name, is_array, namespace
from adntn_ref.ad.moving import choose_backend, move, require_together
from adntn_ref.ad.tape import Var, is_raw, stop_gradient
from adntn_ref.ad.transforms import vjp as tape_vjp
from adntn_ref.errors import ArrayError, DTypeError, ParameterError, SpecError
from adntn_ref.networks.fitting import SMALL_BYTES, choose_schedule, peaks
from adntn_ref.networks.peaks import applied
from adntn_ref.program import memory
from adntn_ref.program.cost import Cost
from adntn_ref.program.modes import Layout, matrix_shape

Params = dict[str, Array]
Pullback = Callable[[Array], Params]


class Network(ABC):
    """A specification of a weight generator: frozen, hashable, holds no arrays.

    Subclasses say which cores there are and how the weight is made from them.
    """

    placement: Layout
    """Where the weight's entries stand in the generated tensor."""

    @property
    @abstractmethod
    def core_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every core by name, in the order in which they are drawn and stored."""

    @abstractmethod
    def to_spec(self) -> dict[str, Any]:
        """Return the specification as a JSON-able dict; ``ar.from_spec`` reads it back."""

    @abstractmethod
    def init(
        self,
        rng: int | np.random.Generator = 0,
        dtype: str = "float64",
        std: float | None = None,
        start: str = "calibrated_orthogonal",
        backend: str | None = None,
    ) -> Params:
        """Draw parameters on the host, so that every backend starts from the same bits.

        Parameters
        ----------
        rng : seed or generator
        dtype : dtype of the cores; numbers are drawn in float64 and cast
        std : standard deviation of the generated weight, default sqrt(2 / fan_in)
        start : name of the start
        backend : where the parameters are put: a backend's name, else what the environment variable ADNTN_REF_BACKEND
            says, else NumPy

        Returns
        -------
        dict
            Core name -> array, shapes as in ``core_shapes``.
        """

    @abstractmethod
    def _generate(self, params: Params) -> Array:
        """Return the weight, recorded on the tape operation by operation where parameters are variables."""

    @abstractmethod
    def cost(self, dtype: str = "float32", schedule: str = "keep") -> Cost:
        """Count operations, bytes moved and bytes held, forward and backward, without running anything."""

    @property
    def weights(self) -> int:
        """N, the number of entries of the weight."""
        return prod(self.placement.shape)

    @property
    def parameter_count(self) -> int:
        """The number of trainable numbers."""
        return sum(prod(shape) for shape in self.core_shapes.values())

    @property
    def compression_ratio(self) -> float:
        """Weights over parameters."""
        return self.weights / self.parameter_count

    @property
    def linear(self) -> bool:
        """Whether the weight is linear in every core; only then may parameters be complex."""
        return True

    def check_params(self, params: Params) -> str:
        """Refuse parameters that are not this network's; return their dtype.

        Raises
        ------
        ParameterError
            For missing, extra or misnamed cores, or a wrong shape, naming the core.
        DTypeError
            For a dtype that is not floating (or complex, for a nonlinear network), or cores of different dtypes.
        ArrayError
            For cores of different backends, or on another device than the current one.
        """
        if not isinstance(params, dict):
            raise ParameterError(f"parameters must be a dict from core name to array, got a {type(params).__name__}")
        shapes = self.core_shapes
        if params.keys() != shapes.keys():
            raise ParameterError(f"{self!r}: {_names_differ(set(params), set(shapes))}")
        allowed = (*REAL, *COMPLEX) if self.linear else REAL
        found = ""
        for name, shape in shapes.items():
            core = params[name]
            if not isinstance(core, Var) and not is_array(core):
                raise ParameterError(f"core {name} must be an array, got a {type(core).__name__}")
            if tuple(core.shape) != shape:
                raise ParameterError(f"core {name} has shape {tuple(core.shape)}; {self!r} needs {shape}")
            dtype = dtype_name(stop_gradient(core))
            if dtype not in allowed:
                raise DTypeError(f"core {name} has dtype {dtype}; allowed: {', '.join(allowed)}")
            if found and dtype != found:
                raise DTypeError(f"core {name} has dtype {dtype}, those before it {found}; all must have one")
            found = dtype
        require_together((f"core {name}", stop_gradient(params[name])) for name in shapes)
        return found

    def generate(self, params: Params) -> Array:
        """Make the weight.

        Parameters
        ----------
        params : dict
            Core name -> array or tape variable, shapes as in ``core_shapes``, all of one dtype.

        Returns
        -------
        array, shape ``self.shape``, in the dtype of the cores
        """
        dtype = self.check_params(params)
        self.require_memory(dtype, backward=not is_raw(*params.values()), backend=backend_name(params))
        return self._made(params)

    def _made(self, params: Params) -> Any:
        """Return the weight, or what a network of several makes, each in C order."""
        return own(self._generate(params))

    def vjp(self, params: Params) -> tuple[Array, Pullback]:
        """Return the weight and the function that carries its cotangent to the cores.

        Returns
        -------
        weight : array, shape ``self.shape``
        pullback : function
            ``pullback(G)`` with G of the weight's shape and dtype returns a dict like ``params``.
        """
        dtype = self.check_params(params)
        self.require_memory(dtype, backward=True, backend=backend_name(params))
        weight, pull = self._vjp(params, "auto")

        def pullback(cotangent: Array) -> Params:
            self._check_cotangent(cotangent, dtype, params)
            return pull(cotangent)

        return weight, pullback

    def _vjp(self, params: Params, schedule: str) -> tuple[Any, Pullback]:
        """Return the weight and its pullback; parameters, memory and cotangent have been checked."""
        weight, pull = tape_vjp(self._generate, params)
        return own(weight), lambda cotangent: {name: own(g) for name, g in pull(cotangent)[0].items()}

    @property
    def apply_refusal(self) -> str:
        """Why :meth:`apply` cannot do without the weight; empty where it can."""
        if self.linear:
            return "no way from its columns to its rows without the weight is known here"
        return "its activations act on the weight's entries, so that all of them have to be made first"

    def apply(self, params: Params, x: Array) -> Array:
        """Return ``x @ W.T`` for the weight as a matrix, without making it: site by site.

        Low rank, MPO, tensor train, CP and Tucker networks whose modes are rows or columns each, and sums and deltas
        of them. Whether it pays is what :func:`adntn_ref.layer_cost` counts.

        Parameters
        ----------
        params : dict
            Core name -> array or tape variable, shapes as in ``core_shapes``, all of one dtype.
        x : array or variable, shape (batch, columns), of that dtype
            A convolution's weight has ``shape[1] * shape[2] * ...`` columns.

        Returns
        -------
        array, shape (batch, ``shape[0]``)

        Raises
        ------
        SpecError
            For a network that cannot do without its weight, saying why.
        ArrayError, DTypeError
            For x of another shape or dtype.
        MemoryLimitError
            If the states on the way would take too much.

        Examples
        --------
        >>> from adntn_ref.networks.shallow import MPO
        >>> net, x = MPO((6, 4), chi=3), np.ones((2, 4))
        >>> params = net.init()
        >>> bool(np.allclose(net.apply(params, x), x @ net.generate(params).T))
        True
        """
        if self.apply_refusal:
            raise SpecError(f"{self!r} has no product site by site: {self.apply_refusal}")
        dtype, columns = self.check_params(params), matrix_shape(self.placement.shape)[1]
        shape = tuple(getattr(x, "shape", ()))
        if len(shape) != 2 or shape[1] != columns or not shape[0]:
            raise ArrayError(f"inputs have shape (batch, {columns}), got {shape}")
        if dtype_name(stop_gradient(x)) != dtype:
            raise DTypeError(f"the inputs have dtype {dtype_name(stop_gradient(x))}, the cores {dtype}")
        require_here("the batch of inputs", x, params)
        training = not is_raw(x, *params.values())
        peak = applied(self, dtype, shape[0])[training].peak_bytes
        if peak >= SMALL_BYTES or memory.LIMIT_VARIABLE in os.environ:
            what = f"a product site by site with {shape[0]} inputs in {dtype}"
            memory.require_memory(peak, what, backend=backend_name(params))
        return self._outputs(params, x)

    def _outputs(self, params: Params, x: Array) -> Array:
        """Return what :meth:`apply` does, without its checks."""
        return own(self._apply(params, x))

    def _apply(self, params: Params, x: Array) -> Array:
        raise NotImplementedError  # pragma: no cover  (apply_refusal keeps everybody away)

    def _taped(self, params: Params, schedule: str) -> Any:
        """Return what generating variables records; parameters and memory have been checked."""
        return self._generate(params)

    def choose_schedule(
        self, dtype: str, schedule: str = "auto", memory_limit: str | int | None = None, backend: str = "numpy"
    ) -> str:
        """Return the schedule that a run with its adjoint takes; a network that is no program knows "keep" alone.

        Raises
        ------
        MemoryLimitError, SpecError
            Where it takes more than the limit; for any other schedule.
        """
        name = "keep" if schedule == "auto" else schedule
        self.cost(dtype, name)
        return choose_schedule(self, dtype, name, memory_limit, backend)

    def require_memory(self, dtype: str, backward: bool, networks: int = 1, backend: str = "numpy") -> None:
        """Refuse a run above the memory limit, before anything is allocated; small ones pass unless a limit is set.

        ``networks``: so many of this specification at once. ``backend`` says whose memory it is that has to be free.

        Raises
        ------
        MemoryLimitError
            Naming the weight, and the memory it needs and may take in GiB.
        """
        peak = networks * peaks(self, dtype, "keep", backend)[backward]
        if peak >= SMALL_BYTES or memory.LIMIT_VARIABLE in os.environ:
            what = "generating the weight and its gradient" if backward else "generating the weight"
            made = f"of shape {self.placement.shape} from {len(self.placement.modes)} modes in {dtype}"
            made += f", {networks} times" if networks > 1 else ""
            memory.require_memory(peak, f"{what} {made}", backend=backend)

    def _cost_on(self, dtype: str, schedule: str, backend: str) -> Cost:
        """Return the cost of a run on a backend."""
        return self.cost(dtype, schedule)

    def _check_cotangent(self, cotangent: Array, dtype: str, params: Params) -> None:
        if tuple(getattr(cotangent, "shape", ())) != self.placement.shape:
            shape = tuple(getattr(cotangent, "shape", ()))
            raise ArrayError(f"the cotangent has shape {shape}, the weight {self.placement.shape}")
        if dtype_name(stop_gradient(cotangent)) != dtype:
            got = dtype_name(stop_gradient(cotangent))
            raise DTypeError(f"the cotangent has dtype {got}, the weight {dtype}; cast it where you mean to")
        require_here("the cotangent", cotangent, params)


def own(g: Array) -> Array:
    """Return a weight or a gradient in C order; a tape variable as it is."""
    if isinstance(g, Var) or (type(g) is np.ndarray and g.flags.c_contiguous):
        return g
    return namespace(g).ascontiguousarray(g)


def _names_differ(given: set[str], wanted: set[str]) -> str:
    parts = []
    if missing := sorted(wanted - given):
        parts.append(f"missing cores {', '.join(missing[:5])}" + (f" and {len(missing) - 5} more" * (len(missing) > 5)))
    if extra := sorted(str(name) for name in given - wanted):
        parts.append(f"cores it has not: {', '.join(extra[:5])}" + (f" and {len(extra) - 5} more" * (len(extra) > 5)))
    return "; ".join(parts)


def backend_name(params: Params) -> str:
    """Return the backend that holds parameters, or what their variables wrap."""
    return backend_of(stop_gradient(next(iter(params.values())))).name


def require_here(what: str, x: Array, params: Params) -> None:
    """Refuse a cotangent or inputs of another backend than the parameters."""
    core = stop_gradient(next(iter(params.values())))
    require_together([("the weight", core), (what, stop_gradient(x))])


def placed(params: Params, backend: str | None, dtype: str) -> Params:
    """Return parameters drawn on the host in a dtype, C-contiguous, on the backend that was chosen."""
    target = choose_backend(backend)
    return {name: move(np.ascontiguousarray(core, dtype=dtype), target) for name, core in params.items()}


def check_init(dtype: str, std: float | None, backend: str | None) -> None:
    """Refuse a dtype, a standard deviation or a backend that parameters cannot be drawn with."""
    choose_backend(backend)
    if dtype not in REAL:
        raise DTypeError(f"parameters are drawn in {' or '.join(REAL)}, got {dtype!r}")
    if std is not None and not (_is_number(std) and 0 < std < np.inf):
        raise SpecError(f"std must be positive and finite, got {std!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)
