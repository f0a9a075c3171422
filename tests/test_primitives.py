"""Every primitive and composed function, through the harness; and that the harness would notice a wrong rule."""

from collections.abc import Callable

import elsewhere
import harness
import harness_cases
import harness_linalg
import harness_nn
import numpy as np
import pytest
from elsewhere import there
from harness import Case

from adntn_ref import ad
from adntn_ref.ad.activations import ACTIVATIONS
from adntn_ref.ad.ops import PRIMITIVES
from adntn_ref.ad.tape import FUNCTIONS
from adntn_ref.errors import ArrayError, DTypeError, SpecError
from adntn_ref.validation import complex_step_directional

CASES = [*harness_cases.CASES, *harness_linalg.CASES, *harness_nn.CASES]
EVERY = pytest.mark.parametrize("case", CASES, ids=str)


def test_every_function_stands_in_the_harness_and_the_other_way_round() -> None:
    assert set(PRIMITIVES) <= set(FUNCTIONS)
    assert {case.name for case in CASES} == set(FUNCTIONS)


def test_names_of_cases_are_unique() -> None:
    assert len({str(case) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("name", sorted(PRIMITIVES))
def test_every_primitive_has_a_rule(name: str) -> None:
    made = PRIMITIVES[name]
    assert made.joint_rule is not None or any(rule is not None for rule in made.rules), f"{name} has no rule"
    assert repr(made) == f"<primitive {name}>"


@EVERY
def test_first_derivatives(case: Case) -> None:
    harness.check_first(case)


@EVERY
def test_second_derivatives(case: Case) -> None:
    harness.check_second(case)


@pytest.mark.parametrize("case", [case for case in CASES if case.third], ids=str)
def test_third_derivatives(case: Case) -> None:
    harness.check_third(case)


@pytest.mark.parametrize("case", [case for case in CASES if case.complex_too], ids=str)
def test_complex_gradients(case: Case) -> None:
    harness.check_complex(case)


@EVERY
def test_dtypes_are_kept(case: Case) -> None:
    harness.check_dtypes(case)


@EVERY
def test_layouts_do_not_matter(case: Case) -> None:
    harness.check_layouts(case)


@EVERY
def test_inputs_are_not_changed(case: Case) -> None:
    harness.check_unchanged(case)


# The harness itself


def wrong_exp(g, y, x):
    return g * y * 1.0000001


def unconjugated_exp(g, y, x):
    return g * y


def unrecorded_exp(g, y, x):
    return g * np.conj(ad.stop_gradient(y))


def twice_exp(g, y, x):
    raw = ad.stop_gradient(x)
    return g * np.exp(raw) * (1 + x - raw)


def widening_exp(g, y, x):
    return g * ad.conj(y) * np.ones(y.shape)


def writing_exp(g, y, x):
    raw = ad.stop_gradient(x)
    raw *= 1.0
    return g * ad.conj(y)


def order_reading_exp(g, y, x):
    strides = np.array(ad.stop_gradient(x).strides)
    return g * ad.conj(y) * (1 if (np.diff(strides) < 0).all() and (strides > 0).all() else 2)


@pytest.mark.parametrize(
    ("rule", "check"),
    [
        (wrong_exp, harness.check_first),
        (unconjugated_exp, harness.check_complex),
        (unrecorded_exp, harness.check_second),
        (twice_exp, harness.check_third),
        (widening_exp, harness.check_dtypes),
        (writing_exp, harness.check_unchanged),
        (order_reading_exp, harness.check_layouts),
    ],
)
def test_the_harness_notices_a_wrong_rule(
    monkeypatch: pytest.MonkeyPatch, rule: Callable[..., object], check: Callable[[Case], None]
) -> None:
    monkeypatch.setattr(elsewhere, "chosen", "numpy")  # the rules planted are NumPy's
    case = next(case for case in CASES if case.name == "exp" and case.inputs[0].shape == (2, 3))
    check(case)
    monkeypatch.setattr(PRIMITIVES["exp"], "rules", (rule,))
    with pytest.raises((AssertionError, ValueError)):
        check(case)


# Values by definition, at the kinks and ties that differences cannot see


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_derivatives(name: str) -> None:
    activation = ad.get_activation(name)
    z = np.array([-3.0, -1.1, -0.2, 0.3, 1.7, 4.0])
    one = np.ones_like(z)
    x = activation.sigma(z)
    np.testing.assert_allclose(
        there(activation.first)(z, x), complex_step_directional(activation.sigma, z, one), rtol=1e-13
    )

    def slope(w):
        return activation.first(w, activation.sigma(w)) + 0j

    np.testing.assert_allclose(
        there(activation.second)(z, x), complex_step_directional(slope, z, one), rtol=1e-12, atol=1e-15
    )
    assert activation.analytic == (name not in ("relu", "leaky_relu"))


def test_unknown_activation() -> None:
    with pytest.raises(SpecError, match=r"no activation is called 'softsign'; allowed: identity, relu"):
        ad.get_activation("softsign")


def test_conventions_at_kinks() -> None:
    assert ad.grad(ad.relu)(0.0) == 0.0
    assert ad.grad(ad.leaky_relu)(0.0) == 0.01
    assert ad.grad(ad.abs)(0.0) == 0.0
    assert ad.grad(ad.abs)(0j) == 0.0
    assert ad.grad(lambda x: ad.power(x, 0))(0.0) == 0.0
    assert ad.grad(lambda x: ad.power(x, np.array(0.0)))(0.0) == 0.0
    assert ad.grad(lambda b: ad.power(0.0, b))(2.0) == 0.0
    assert ad.grad(lambda a, b: ad.power(a, b), argnums=(0, 1))(0.0, 2.0) == (0.0, 0.0)
    assert ad.grad(ad.grad(lambda x: x**2))(0.0) == 2.0


@pytest.mark.parametrize("function", [ad.maximum, ad.minimum])
def test_ties_are_shared(function: Callable[..., object]) -> None:
    assert ad.grad(lambda a, b: function(a, b), argnums=(0, 1))(1.0, 1.0) == (0.5, 0.5)
    assert ad.grad(lambda a: function(a, 1.0))(1.0) == 0.5


def test_ties_of_max_are_shared() -> None:
    x = np.array([[1.0, 2.0, 2.0], [3.0, 0.0, 3.0]])
    expected = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5]])
    np.testing.assert_array_equal(there(ad.grad(lambda x: ad.sum(ad.max(x, axis=1))))(x), expected)
    np.testing.assert_array_equal(there(ad.grad(lambda x: ad.max(x)))(x), np.array([[0, 0, 0], [0.5, 0, 0.5]]))


def test_nothing_overflows() -> None:
    x = np.array([-1000.0, 0.0, 1000.0])
    for function in (ad.sigmoid, ad.silu, ad.gelu, ad.tanh, ad.log_softmax, ad.logsumexp):
        value, gradient = there(ad.value_and_grad(lambda x, function=function: ad.sum(function(x))))(x)
        assert np.isfinite(value), function
        assert np.isfinite(gradient).all(), function


# Refusals


@pytest.mark.parametrize(
    ("logits", "labels", "error", "phrase"),
    [
        (np.ones(3), np.array([0]), ArrayError, r"logits \(batch, classes\) and labels \(batch,\), got \(3,\)"),
        (np.ones((2, 3)), np.array([0]), ArrayError, r"got \(2, 3\) and \(1,\)"),
        (np.ones((0, 3)), np.zeros(0, int), ArrayError, r"got \(0, 3\)"),
        (np.ones((1, 3)), np.array([0.0]), DTypeError, "labels have dtype float64; allowed: integers"),
        (np.ones((1, 3)), np.array([3]), ArrayError, r"labels run from 3 to 3; allowed: 0 .. 2"),
        (np.ones((1, 3)), np.array([-1]), ArrayError, r"labels run from -1 to -1"),
    ],
)
def test_cross_entropy_refuses(logits: object, labels: object, error: type[Exception], phrase: str) -> None:
    with pytest.raises(error, match=phrase):
        ad.cross_entropy(logits, labels)


def test_cross_entropy_is_the_mean_of_minus_log_probability() -> None:
    logits = np.array([[0.0, np.log(3.0)], [np.log(4.0), 0.0]])
    np.testing.assert_allclose(ad.cross_entropy(logits, np.array([1, 1])), (-np.log(0.75) - np.log(0.2)) / 2)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,)])
def test_mean_of_nothing_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ArrayError, match="mean of an array without entries"):
        ad.mean(np.ones(shape), axis=0)


def test_stack_refuses_different_shapes() -> None:
    with pytest.raises(ArrayError, match=r"stack needs arrays of one shape, got \[\(2,\), \(3,\)\]"):
        ad.stack([np.ones(3), np.ones(2)])


@pytest.mark.parametrize(
    ("call", "error", "phrase"),
    [
        (lambda x: ad.normalise(x, 1.0, 0.0, axes=()), ArrayError, r"over the axes \(\) of an array of shape \(2, 3\)"),
        (lambda x: ad.normalise(x, 1.0, 0.0, axes=(2,)), ArrayError, r"over the axes \(2,\)"),
        (lambda x: ad.normalise(x[:0], 1.0, 0.0, axes=(0,)), ArrayError, r"over no entries: axes \(0,\)"),
        (lambda x: ad.normalise(x, 1.0, 0.0, axes=(0,), eps=0.0), SpecError, "eps must be positive, got 0.0"),
        (lambda x: ad.local_response_norm(x[0], 2), ArrayError, r"needs channels \(N, C, ...\), got shape \(3,\)"),
        (lambda x: ad.local_response_norm(x, 0), SpecError, "size must be at least 1, got 0"),
    ],
)
def test_normalisation_refuses(call: Callable[..., object], error: type[Exception], phrase: str) -> None:
    for run in (call, lambda x: ad.vjp(call, x)):
        with pytest.raises(error, match=phrase):
            run(np.ones((2, 3)))


@pytest.mark.parametrize("other", [2.0, np.array(2.0)])
def test_matmul_refuses_numbers(other: object) -> None:
    with pytest.raises(ArrayError, match=r"matmul needs arrays with axes, got shapes \(3,\) and \(\)"):
        ad.grad(lambda x: x @ other)(np.ones(3))


@pytest.mark.parametrize("dtype", ["int64", "bool", "float16"])
def test_a_cast_that_loses_the_gradient_is_refused(dtype: str) -> None:
    with pytest.raises(DTypeError, match=f"astype to {dtype}, which has no gradient; allowed: float32"):
        ad.grad(lambda x: x.astype(dtype).astype("float64"))(1.5)


def test_where_has_no_derivative_by_its_condition() -> None:
    with pytest.raises(TypeError, match="where has no derivative with respect to its argument 0"):
        ad.grad(lambda x: ad.where(x, x, 0.0))(1.0)


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_units_have_the_dtype_of_their_model(dtype: str) -> None:
    like = np.ones(2, dtype)
    for found, expected in ((ad.ops.unit_vector(3, like), [1, 0, 0]), (ad.ops.unit_matrix(2, like), [[1, 0], [0, 1]])):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == dtype


def test_soft_cross_entropy_is_the_divergence_and_the_entropy() -> None:
    rng = np.random.default_rng(3)
    logits, said = rng.standard_normal((2, 5, 4))
    p, q = ad.softmax(said), ad.softmax(logits)
    wanted = (p * np.log(p / q)).sum(axis=1).mean() - (p * np.log(p)).sum(axis=1).mean()
    np.testing.assert_allclose(ad.soft_cross_entropy(logits, p), wanted, rtol=1e-13)
    gradient = ad.grad(lambda x: ad.soft_cross_entropy(x, p))(logits)
    np.testing.assert_allclose(gradient, (q - p) / 5, atol=1e-15)
    sure = np.eye(4)[[0, 3, 1, 1, 2]]
    np.testing.assert_allclose(ad.soft_cross_entropy(logits, sure), ad.cross_entropy(logits, np.array([0, 3, 1, 1, 2])))


@pytest.mark.parametrize("other", [np.ones((2, 4)), np.ones(3), np.ones((3, 2))])
def test_soft_cross_entropy_refuses(other: np.ndarray) -> None:
    with pytest.raises(ArrayError, match=r"two arrays \(batch, classes\), got \(2, 3\)"):
        ad.soft_cross_entropy(np.ones((2, 3)), other)
