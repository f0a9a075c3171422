"""Generated weights in JAX: a network as a function of a pytree of cores.

>>> import jax
>>> import adntn_ref as ar
>>> from adntn_ref.interop.jax import generator, to_jax
>>> net = ar.BrickWall((6, 4), layers=2)
>>> weight = generator(net)
>>> params = to_jax(net.init(rng=0, dtype="float32"))
>>> loss = lambda params, x: (x @ weight(params)).sum()
>>> jax.jit(jax.grad(loss))(params, jax.numpy.ones((2, 6)))["layer1.brick0"].shape
(2, 2, 2, 2)

Forward and backward are recorded operations (:mod:`adntn_ref.interop.recording`) that JAX traces as its own: ``jit``,
``grad`` to any order and ``vmap`` go through. Needs JAX (extra ``peers``).
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import COMPLEX, REAL
from adntn_ref.errors import DTypeError, ParameterError, SpecError
from adntn_ref.extras import need
from adntn_ref.interop.recording import Arrays, Recording, Step, play, record
from adntn_ref.networks.base import Network
from adntn_ref.networks.stack import Stack

jax: Any = need("jax", "peers")
jnp: Any = need("jax.numpy", "peers")

Array = Any
Params = dict[str, Array]
WAYS = ("closed", "autograd")

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": jnp.add,
    "subtract": jnp.subtract,
    "multiply": jnp.multiply,
    "divide": jnp.divide,
    "negative": jnp.negative,
    "greater": jnp.greater,
    "maximum": lambda a, b: jnp.where(a <= b, b, a),  # at a tie the slope of b: relu'(0) = 0
    "exp": jnp.exp,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "tanh": jnp.tanh,
    "erf": jax.scipy.special.erf,
    "conj": jnp.conj,
    "real": jnp.real,
    "astype": lambda x, dtype: x.astype(dtype),
    # On a GPU or a TPU JAX would multiply single precision in fewer digits, unless told otherwise.
    "matmul": lambda a, b: jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST),
    "sum": lambda x, axis, keepdims: jnp.sum(x, axis=axis, keepdims=keepdims),
    "reshape": lambda x, shape: jnp.reshape(x, shape),
    "transpose": lambda x, axes: jnp.transpose(x, axes),
    "broadcast_to": lambda x, shape: jnp.broadcast_to(x, shape),
    "concatenate": lambda *arrays, axis: jnp.concatenate(arrays, axis=axis),
    "getitem": lambda x, index: x[index],
    "scatter": lambda values, index, shape: jnp.zeros(shape, values.dtype).at[index].set(values),
    "contiguous": lambda x: x,
    "copy": lambda x: x,
}


def generator(network: Network, backward: str = "closed") -> Callable[[Params], Any]:
    """Return the function from cores to the weight.

    Parameters
    ----------
    network : any
    backward : ``"closed"``, the closed-form adjoint, as a ``jax.custom_vjp`` (reverse mode alone: JAX has no forward
        mode of such functions); or ``"autograd"``, JAX's own derivative of the forward pass, in both modes

    Returns
    -------
    function
        ``weight(params)`` with ``params`` a dict from core name to array, float32 or float64 (complex too for linear
        networks); the weight, or for a stack a dict of weights. It raises ParameterError and DTypeError for parameters
        that are not the network's. Gradients with respect to complex cores are JAX's, the conjugates of ours.

    Raises
    ------
    SpecError
        For what is no network, or an unknown way.

    Examples
    --------
    >>> from adntn_ref.networks import MPO
    >>> net = MPO((4, 4), chi=2)
    >>> jax.jit(generator(net, backward="autograd"))(to_jax(net.init(dtype="float32"))).shape
    (4, 4)
    """
    if not isinstance(network, Network):
        raise SpecError(f"a generator needs a network, got a {type(network).__name__}")
    if backward not in WAYS:
        raise SpecError(f"backward must be one of {', '.join(WAYS)}, got {backward!r}")
    return _generator(network, backward)


@lru_cache(maxsize=256)
def _generator(network: Network, backward: str) -> Callable[[Params], Any]:
    """Return one function a network, so that JAX compiles it once."""

    def recorded(params: Params) -> Recording:
        dtype = check_params(network, params)
        network.require_memory(dtype, backward=True)
        return record(network, dtype)

    def plain(params: Params) -> Any:
        return _weights(network, recorded(params), params)

    if backward == "autograd":
        return plain

    def ahead(params: Params) -> tuple[Any, Any]:
        recording = recorded(params)
        values = _play(recording, recording.forward, _given(network, recording, params), params)
        weights = {name: values[number] for name, number in recording.weights}
        kept = [values[number] for number in recording.kept]
        return weights if isinstance(network, Stack) else weights[""], (params, kept)

    def back(residual: Any, cotangent: Any) -> tuple[Params]:
        params, kept = residual
        recording = recorded(params)
        several = cotangent if isinstance(network, Stack) else {"": cotangent}
        values = _given(network, recording, params) | dict(zip(recording.kept, kept, strict=True))
        for (name, _), number in zip(recording.weights, recording.cotangents, strict=True):
            values[number] = jnp.conj(several[name])  # JAX multiplies by the transpose, we by the conjugate transpose
        found = _play(recording, recording.backward, values, params)
        gradients = zip(network.core_shapes, recording.gradients, strict=True)
        return ({name: jnp.conj(found[number]) for name, number in gradients},)

    weight = jax.custom_vjp(plain)
    weight.defvjp(ahead, back)
    return weight  # type: ignore[no-any-return]


def _given(network: Network, recording: Recording, params: Params) -> Arrays:
    """Return the cores by their numbers."""
    return {number: params[name] for name, number in zip(network.core_shapes, recording.cores, strict=True)}


def _play(recording: Recording, steps: tuple[Step, ...], values: Arrays, params: Params) -> Arrays:
    """Run recorded steps in the dtype of the parameters."""
    dtype = next(iter(params.values())).dtype
    functions = {
        **FUNCTIONS,
        "eye": lambda shape: jnp.eye(*shape, dtype=dtype),
        "constant": lambda number: jnp.asarray(recording.constants[number], dtype=dtype),
    }
    return play(steps, functions, values)


def _weights(network: Network, recording: Recording, params: Params) -> Any:
    values = _play(recording, recording.alone, _given(network, recording, params), params)
    weights = {name: values[number] for name, number in recording.weights}
    return weights if isinstance(network, Stack) else weights[""]


def check_params(network: Network, params: Params) -> str:
    """Refuse parameters that are not a network's; return their dtype.

    Raises
    ------
    ParameterError, DTypeError
    """
    if not isinstance(params, Mapping):
        raise ParameterError(f"parameters must be a dict from core name to array, got a {type(params).__name__}")
    shapes, allowed = network.core_shapes, (*REAL, *COMPLEX) if network.linear else REAL
    if set(params) != set(shapes):
        missing, extra = sorted(set(shapes) - set(params)), sorted(map(str, set(params) - set(shapes)))
        raise ParameterError(f"{network!r}: missing cores {missing[:5]}, cores it has not {extra[:5]}")
    found = ""
    for name, shape in shapes.items():
        core = params[name]
        if tuple(getattr(core, "shape", ())) != shape or not hasattr(core, "dtype"):
            raise ParameterError(f"core {name} has shape {getattr(core, 'shape', None)}; {network!r} needs {shape}")
        dtype = str(core.dtype)
        if dtype not in allowed:
            raise DTypeError(f"core {name} has dtype {dtype}; allowed: {', '.join(allowed)}")
        if found and dtype != found:
            raise DTypeError(f"core {name} has dtype {dtype}, those before it {found}; all must have one")
        found = dtype
    return found


def to_jax(tree: Any) -> Any:
    """Return a pytree of NumPy arrays as one of JAX arrays of the same dtypes.

    Parameters
    ----------
    tree : what ``net.init`` returns, the ``params`` of an entry of a compressed file, or any nest of such

    Raises
    ------
    DTypeError
        For float64 and complex128 where JAX is not told to have them, by
        ``jax.config.update("jax_enable_x64", True)``: it would round them without a word.
    """

    def move(x: Any) -> Any:
        if jax.dtypes.canonicalize_dtype(x.dtype) != x.dtype:
            raise DTypeError(
                f"JAX would turn {x.dtype} into {jax.dtypes.canonicalize_dtype(x.dtype)}: draw parameters with"
                ' dtype="float32", or call jax.config.update("jax_enable_x64", True) first'
            )
        return jnp.asarray(x)

    return jax.tree.map(move, tree)


def from_jax(tree: Any) -> Any:
    """Return a pytree of JAX arrays as one of NumPy arrays, of the same dtypes and bits."""
    return jax.tree.map(np.array, tree)
