"""The tape: reverse-mode automatic differentiation over any array library that autoray knows.

Functions of arrays and variables stand here by their usual names (``ad.exp``, ``ad.einsum``, ...), the transforms beside
them (``ad.grad``, ``ad.vjp``, ...).
"""

from adntn_ref.ad import rules
from adntn_ref.ad.activations import ACTIVATIONS, Activation, get_activation
from adntn_ref.ad.einsum import einsum, tensordot
from adntn_ref.ad.nn_ops import avg_pool2d, conv2d, max_pool2d
from adntn_ref.ad.ops import (
    PRIMITIVES,
    abs,
    add,
    astype,
    broadcast_to,
    concatenate,
    conj,
    cos,
    cross_entropy,
    divide,
    erf,
    exp,
    gelu,
    getitem,
    imag,
    leaky_relu,
    log,
    log_softmax,
    logsumexp,
    matmul,
    max,
    maximum,
    mean,
    minimum,
    multiply,
    negative,
    positive,
    power,
    real,
    relu,
    reshape,
    scatter_add,
    sigmoid,
    silu,
    sin,
    sqrt,
    square,
    stack,
    subtract,
    sum,
    tanh,
    transpose,
    where,
)
from adntn_ref.ad.tape import Var, stop_gradient
from adntn_ref.ad.transforms import checkpoint, grad, hvp, jacobian, jvp, value_and_grad, vjp
