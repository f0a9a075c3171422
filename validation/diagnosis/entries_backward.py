"""Known mistakes of the backward pass: the weight is right, the gradient is not."""

from .entry import Mistake

_ENVIRONMENT = r"$\mathrm{d}A[a,b,c,e] = \sum_{\text{others}} G[.., a, b, ..]\, \overline{X[.., c, e, ..]}$"
_DERIVATIVE = r"$G_Z = \overline{\sigma'(Z)} \odot G$, Z the state before the activation"
_COMPLEX = r"the gradient is $\partial L/\partial\,\mathrm{Re} + i\,\partial L/\partial\,\mathrm{Im}$"
_WHOLE = r"the gradient of $\langle G, W\rangle = \mathrm{Re} \sum \overline{G}\, W$, a sum with factor 1"


def _backward(name: str, sentence: str, right: str, wrong: str) -> Mistake:
    return Mistake(name, sentence, right, wrong, "The backward pass", "brickwall.md", backward=True)


BACKWARD = (
    _backward(
        "gradient-doubled",
        "the gradient doubled",
        _WHOLE,
        "The 2 of a squared error, or a gradient accumulated twice.",
    ),
    _backward("gradient-halved", "the gradient halved", _WHOLE, "The 1/2 of a squared error."),
    _backward(
        "gradient-mean",
        "the gradient divided by the number of weights",
        _WHOLE,
        "`mean()` stands where `sum()` belongs.",
    ),
    _backward("gradient-negative", "the sign of the gradient turned", _WHOLE, "The descent direction is returned."),
    _backward(
        "gradient-clipped",
        "the gradient scaled down to norm 1",
        _WHOLE,
        "A training helper's clipping of the norm of all gradients together is still on.",
    ),
    _backward(
        "gradient-conjugated",
        "the gradient conjugated",
        _COMPLEX,
        "JAX returns the conjugate; take `conj` of what `jax.grad` or `jax.vjp` gives.",
    ),
    _backward(
        "cotangent-conjugated",
        "the cotangent conjugated",
        _COMPLEX + r", with $G$ itself as the cotangent of $W$",
        "`vdot` conjugates its first argument, `sum(G * W)` conjugates none: one of them is on the wrong side.",
    ),
    _backward(
        "adjoint-without-conjugate",
        "no conjugates in the adjoint",
        r"$G_X = A^{\mathsf{H}} G$ and " + _ENVIRONMENT,
        "The transpose stands where the conjugate transpose belongs; for real numbers they are the same.",
    ),
    _backward(
        "cotangent-ones",
        "ones in place of the cotangent",
        _WHOLE,
        "`W.sum().backward()`: the given cotangent is not used.",
    ),
    _backward(
        "cotangent-fortran",
        "the cotangent flattened in Fortran order",
        "the cotangent is read as the weight is written, in C order",
        "Column-major on the way back alone.",
    ),
    _backward(
        "padding-cotangent",
        "1 instead of 0 as the cotangent of the padding",
        "the padding takes no part in any loss: its cotangent is 0",
        "The generated vector's cotangent starts as ones instead of zeros.",
    ),
    _backward(
        "relu-at-zero-one",
        "relu'(0) = 1",
        "relu'(0) = 0",
        "`z >= 0` stands where `z > 0` belongs (leaky_relu: slope 1 instead of 0.01). Seen where a Z is exactly 0.",
    ),
    _backward(
        "relu-at-zero-half",
        "relu'(0) = 1/2",
        "relu'(0) = 0",
        "`maximum(z, 0)` halves the gradient of a tie (JAX, PyTorch); `relu` does not. Seen where a Z is exactly 0.",
    ),
    _backward(
        "derivative-missing",
        "no sigma' in the backward pass",
        _DERIVATIVE,
        "The cotangent goes through the activation unchanged, a straight-through estimator.",
    ),
    _backward(
        "derivative-at-output",
        "sigma' taken at X = sigma(Z) instead of Z",
        _DERIVATIVE,
        "The state after the activation was kept instead of the one before. Not seen with relu.",
    ),
    _backward(
        "derivative-formula-at-input",
        "Z in the formulas of tanh' and sigmoid' that take X = sigma(Z)",
        r"$\tanh' = 1 - X^2$ and $\mathrm{sigmoid}' = X (1 - X)$ with $X = \sigma(Z)$",
        "Z stands in them.",
    ),
    _backward(
        "gradient-stops-at-activation",
        "no gradient through the activation",
        _DERIVATIVE,
        "sigma was computed outside the graph (`detach`, `stop_gradient`, NumPy): cores before it have zero gradients.",
    ),
    _backward(
        "stale-state",
        "each environment taken with the state after the brick instead of before it",
        _ENVIRONMENT + ", X the input of the step",
        "The list of states is read one place too late, or the state was overwritten in place.",
    ),
    _backward(
        "environment-transposed",
        "the environment of each brick with inputs and outputs swapped",
        _ENVIRONMENT,
        "`dA[c, e, a, b]` is stored.",
    ),
    _backward(
        "environment-one-entry",
        "each environment taken at the first entry of the other indices instead of summed over them",
        _ENVIRONMENT,
        "The other indices act as a batch, and only its first element is used.",
    ),
    _backward(
        "adjoint-not-transposed",
        "the cotangent carried back by each brick itself instead of its transpose",
        r"$G_X[.., c, e, ..] = \sum_{a,b} \overline{A[a,b,c,e]}\, G[.., a, b, ..]$",
        "The forward function is called on the cotangent.",
    ),
    _backward(
        "start-detached",
        "zero gradients for the start: start vectors, slices of the first column, the root",
        "the factors of the start state are cores like the others",
        "They were copied into the start state outside the graph.",
    ),
    _backward(
        "untouched-half-not-zero",
        "the gradient of the half brick that meets no start entry equal to that of the other half",
        "constant boundary, odd Q: the half of `layer0.brick{Q-2}` that reads the second unit vector has gradient zero",
        "The start vector of the last mode was broadcast in the backward pass, as if it were ones.",
    ),
    _backward(
        "delta-alpha-missing-backward",
        "the factor alpha of the change left out of the gradient",
        r"Delta: the cotangent of the network's weight is $\alpha G$",
        "The weight is scaled, the cotangent is not.",
    ),
)
