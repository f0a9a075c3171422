"""What an honest implementation may be off by: the exact run, and the corners of each precision."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adntn_ref.errors import DTypeError, SpecError
from adntn_ref.networks import ATTN, MERA, TTN, BrickWall, LowRank
from adntn_ref.validation import strategies, tolerance
from adntn_ref.validation.case import Case, cores_of, reference
from adntn_ref.validation.tolerance import allowed_errors, precision_of
from adntn_ref.validation.tolerance.allowed import ROWS, SAFETY, run
from adntn_ref.validation.tolerance.honest import Way, honest, rounded
from adntn_ref.validation.tolerance.margins import ratio
from adntn_ref.validation.tolerance.noise import Noise
from adntn_ref.validation.tolerance.signs import Signs
from adntn_ref.validation.tolerance.tape import Slot

LEFT = Way("left")


def normal_case(net, seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    params = {name: rng.standard_normal(shape) * 0.7 for name, shape in net.core_shapes.items()}
    params = {name: x.astype(np.float32).astype(dtype) for name, x in params.items()}
    g = rng.standard_normal(net.placement.shape).astype(np.float32).astype(dtype)
    return Case("normal", net.to_spec(), params, g)


@given(strategies.cases(), st.sampled_from(["float32", "float64"]))
def test_the_exact_row_is_the_reference_and_every_quantity_has_a_bound_of_its_shape(case, dtype):
    expected = reference(case)
    rows = run(case.network, cores_of(case.params), case.cotangent, Noise(precision_of("float32"), 2, SAFETY))
    bounds = allowed_errors(case.spec, case.params, case.cotangent, dtype)
    assert rows.keys() == expected.keys() == bounds.keys()
    for name, right in expected.items():
        np.testing.assert_allclose(rows[name][0], right, rtol=1e-10, atol=1e-11, err_msg=name)
        assert bounds[name].shape == right.shape
        assert bounds[name].dtype == np.float64
        assert (bounds[name] > 0).all()


@given(strategies.cases(dtype="complex128"))
def test_complex_networks_have_bounds_for_the_modulus_of_the_error(case):
    expected = reference(case)
    rows = run(case.network, cores_of(case.params), case.cotangent, Noise(precision_of("complex64"), 2, SAFETY))
    bounds = allowed_errors(case.spec, case.params, case.cotangent, "complex64")
    for name, right in expected.items():
        np.testing.assert_allclose(rows[name][0], right, rtol=1e-10, atol=1e-11, err_msg=name)
        assert bounds[name].dtype == np.float64


def test_bounds_are_the_same_every_time_and_leave_the_global_generator_alone():
    case = normal_case(BrickWall((4, 8), 3))
    state = np.random.get_state()[1].tolist()  # noqa: NPY002 (that is what is looked at)
    first = allowed_errors(case.spec, case.params, case.cotangent, "float32")
    second = allowed_errors(case.spec, case.params, case.cotangent, "float32")
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_only_the_quantities_asked_for_in_their_order():
    case = normal_case(LowRank((3, 4), 2))
    wanted = ["gradient/right", "weight"]
    assert list(allowed_errors(case.spec, case.params, case.cotangent, "float32", wanted)) == wanted
    with pytest.raises(SpecError, match="no quantity state/start; it has weight, gradient/left"):
        allowed_errors(case.spec, case.params, case.cotangent, "float32", ["state/start"])


def test_an_unknown_precision_is_refused():
    case = normal_case(LowRank((3, 4), 2))
    with pytest.raises(DTypeError, match="no rounding model for dtype 'float8'"):
        allowed_errors(case.spec, case.params, case.cotangent, "float8")


@pytest.mark.parametrize("kind", [TTN, ATTN, MERA])
def test_deep_networks_stay_sharp_where_a_bound_by_absolute_values_would_not(kind):
    nets = [kind((16, 32), 4), BrickWall((16, 32), 20), BrickWall((16, 32), 20, activation="gelu")]
    for net in nets:
        params = net.init(3)
        g = np.random.default_rng(0).standard_normal(net.placement.shape)
        bound = allowed_errors(net.to_spec(), params, g, "float32")
        weight = net.generate(params)
        assert np.max(bound["weight"]) < 5e-5 * np.max(np.abs(weight))


def test_the_bound_grows_with_the_unit_roundoff():
    case = normal_case(BrickWall((4, 8), 3, activation="tanh"))
    sizes = {}
    for dtype in ("float64", "float32", "float16"):
        bound = allowed_errors(case.spec, case.params, case.cotangent, dtype)["weight"]
        sizes[dtype] = np.median(bound) / precision_of(dtype).unit
    assert 0.5 < sizes["float16"] / sizes["float32"] < 2
    assert 1 < sizes["float64"] / sizes["float32"] < 4  # the reference errs as well


def test_a_number_that_is_stored_in_lower_precision_fails_in_the_higher():
    case = normal_case(BrickWall((4, 8), 3, activation="tanh"))
    right = reference(case)
    bound = allowed_errors(case.spec, case.params, case.cotangent, "float32")
    assert ratio(right["weight"].astype(np.float32), right["weight"], bound["weight"]) < 0.5
    assert ratio(right["weight"].astype(np.float16), right["weight"], bound["weight"]) > 10


# Kinks


def kinked_case(entry):
    """A brick-wall on two sites, of which one argument of relu is 0.3 ``entry``, the others are not near 0."""
    net = BrickWall((4,), 2, modes=(2, 2), boundary="trainable")
    brick = np.array([[0.1, -0.1, 0.0, 0.0], [0.4, 0.2, 0.3, 0.3], [0.7, 0.1, 0.2, 0.1], [0.1, 0.9, 0.2, 0.3]])
    brick[0, 2] = entry
    cores = {"start0": np.array([0.7, 1.0]), "start1": np.array([0.3, 0.3])}
    last = np.random.default_rng(0).standard_normal((2, 2, 2, 2))
    params = {**cores, "layer0.brick0": brick.reshape(2, 2, 2, 2), "layer1.brick0": last}
    return Case("kink", net.to_spec(), params, np.array([1.0, -0.5, 0.3, 0.8]))


def test_where_rounding_decides_on_the_side_of_a_kink_its_effect_is_allowed_and_nothing_else_is():
    case = kinked_case(0.0)  # 0.1 * 0.21 - 0.1 * 0.21: either 0 or a few u
    bound = allowed_errors(case.spec, case.params, case.cotangent, "float32")
    gradient = bound["gradient/layer0.brick0"].reshape(4, 4)
    assert (gradient[0] > 0.01).all()
    assert (gradient[1:] < 1e-5).all()
    assert (bound["gradient/start1"] > 0.01).all()
    assert np.max(bound["weight"]) < 1e-5
    assert np.max(bound["gradient/layer1.brick0"]) < 1e-5
    pushed = reference(kinked_case(1e-9))  # the argument is now truly positive, by less than its error
    exact = reference(case)
    for name, right in exact.items():
        assert ratio(pushed[name], right, bound[name]) < 0.5, name
    assert np.abs(pushed["gradient/layer0.brick0"] - exact["gradient/layer0.brick0"]).max() > 0.01


def test_away_from_the_kink_the_wrong_side_is_not_allowed():
    case = kinked_case(-1e-3)
    bound = allowed_errors(case.spec, case.params, case.cotangent, "float32")
    assert np.max(bound["gradient/layer0.brick0"]) < 1e-5


def test_an_argument_of_relu_that_is_zero_because_all_its_terms_are_is_no_kink_to_be_uncertain_about():
    net = BrickWall((4,), 2, modes=(2, 2))
    params = {"layer0.brick0": np.array([[0.0, 1.0], [0.5, -1.0]]), "layer1.brick0": np.ones((2, 2, 2, 2))}
    bound = allowed_errors(net.to_spec(), params, np.ones(4), "float32")
    gradient = net.vjp(params)[1](np.ones(4))["layer0.brick0"]
    assert gradient[0, 0] == 0  # relu'(0) = 0; with relu'(0) = 1 it is 4
    assert bound["gradient/layer0.brick0"][0, 0] < 1e-30


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_leaky_relu_near_its_kink(dtype):
    spec = {**kinked_case(0.0).spec, "activation": "leaky_relu"}
    case, pushed = kinked_case(0.0), kinked_case(2e-9 if dtype == "float32" else 2e-18)
    bound = allowed_errors(spec, case.params, case.cotangent, dtype)
    exact = reference(Case("leaky", spec, case.params, case.cotangent))
    moved = reference(Case("leaky", spec, pushed.params, case.cotangent))
    assert max(ratio(moved[name], right, bound[name]) for name, right in exact.items()) < 0.5
    assert np.max(bound["weight"]) < 1e-5


# Range


def test_where_float16_overflows_nothing_is_asked():
    net = LowRank((1, 2), 1)
    params = {"left": np.array([[300.0]]), "right": np.array([[300.0, 1.0]])}
    bound = allowed_errors(net.to_spec(), params, np.ones((1, 2)), "float16")
    assert np.isinf(bound["weight"][0, 0])
    assert bound["weight"][0, 1] < 3
    assert np.isfinite(allowed_errors(net.to_spec(), params, np.ones((1, 2)), "bfloat16")["weight"]).all()


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_what_comes_after_an_overflow_is_not_asked_either(activation):
    net = BrickWall((4,), 3, modes=(2, 2), activation=activation)
    params = {name: np.full(shape, 200.0) for name, shape in net.core_shapes.items()}
    bound = allowed_errors(net.to_spec(), params, np.ones(4), "float16")
    assert np.isinf(bound["weight"]).all()
    assert np.isinf(bound["gradient/layer0.brick0"]).all()


def test_where_errors_bend_an_activation_nothing_is_asked():
    net = BrickWall((4,), 3, modes=(2, 2), activation="sin")
    params = {name: np.full(shape, 90.0) for name, shape in net.core_shapes.items()}
    assert np.isinf(allowed_errors(net.to_spec(), params, np.ones(4), "bfloat16")["weight"]).all()
    assert np.isfinite(allowed_errors(net.to_spec(), params, np.ones(4), "float32")["weight"]).all()


@pytest.mark.parametrize(("dtype", "flushed"), [("float32", 1e-37), ("bfloat16", 1e-37), ("float16", 1e-7)])
def test_small_products_may_be_lost(dtype, flushed):
    net = LowRank((1, 1), 1)
    half = np.sqrt(flushed / 10)
    params = {"left": np.array([[half]]), "right": np.array([[half]])}
    bound = allowed_errors(net.to_spec(), params, np.ones((1, 1)), dtype)["weight"]
    assert flushed / 10 < bound[0, 0] < 1e3 * flushed


@pytest.mark.parametrize("sums", ["left", "right", "pairwise", "fma", "matmul"])
def test_sums_that_come_to_a_halt_in_float16(sums):
    net = LowRank((1, 1), 4096)
    params = {"left": np.ones((1, 4096)), "right": np.ones((4096, 1))}
    got = honest(net, params, np.ones((1, 1)), "float16", Way(sums))
    bound = allowed_errors(net.to_spec(), params, np.ones((1, 1)), "float16")
    assert got["weight"][0, 0] == (2048 if sums in ("left", "right", "fma") else 4096) or sums == "matmul"
    assert abs(float(got["weight"][0, 0]) - 4096) <= 0.75 * bound["weight"][0, 0]


@pytest.mark.parametrize("term", [0.1, 0.3, 0.7])
def test_equal_terms_added_one_by_one_err_to_one_side(term):
    n = 2**15
    net = LowRank((1, 1), n)
    params = {"left": np.full((1, n), term), "right": np.ones((n, 1))}
    params = {name: x.astype(np.float32).astype(np.float64) for name, x in params.items()}
    got = honest(net, params, np.ones((1, 1)), "float32", LEFT)["weight"]
    bound = allowed_errors(net.to_spec(), params, np.ones((1, 1)), "float32")["weight"]
    assert abs(got[0, 0] - net.generate(params)[0, 0]) <= 0.6 * bound[0, 0]


# Rounded inputs


def test_numbers_that_the_implementation_rounds_itself():
    net = LowRank((2, 2), 1)
    params = {"left": np.full((2, 1), 0.1), "right": np.full((1, 2), 0.1)}
    g = np.full((2, 2), 0.1)
    exact = allowed_errors(net.to_spec(), params, g, "float32")
    own = allowed_errors(net.to_spec(), params, g, "float32", inputs_rounded=True)
    for name in exact:
        assert (own[name] > exact[name]).all(), name


@given(strategies.cases())
def test_an_implementation_that_casts_what_it_is_given(case):
    right = reference(case)
    bound = allowed_errors(case.spec, case.params, case.cotangent, "float32", inputs_rounded=True)
    got = honest(case.network, cores_of(case.params), case.cotangent, "float32", Way("matmul"))
    for name, x in got.items():
        assert ratio(x, right[name], bound[name]) < 1, name


# The parts


def test_bfloat16_rounds_to_nearest_ties_to_even():
    given_numbers = np.array([1.0, 1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-20, -1 - 2.0**-8, np.inf, 3e38])
    expected = [1.0, 1.0, 1 + 2.0**-6, 1 + 2.0**-7, -1.0, np.inf, 226 * 2.0**120]
    np.testing.assert_allclose(rounded(given_numbers, "bfloat16"), expected, rtol=1e-7)


def test_signs_are_alike_for_equal_numbers_in_half_of_the_rows():
    signs = Signs(precision_of("float32"), 64)
    values = np.array([0.3, 0.3, -0.3, 0.3 * (1 + 1e-12), 0.4, 0.0, 0.0])
    found = signs.of(values, signs.key())
    assert set(np.unique(found)) == {-1.0, 1.0}
    first, second = found[:32], found[32:]
    np.testing.assert_array_equal(first[:, 0], first[:, 1])
    np.testing.assert_array_equal(first[:, 0], -first[:, 2])
    np.testing.assert_array_equal(first[:, 0], first[:, 3])
    for other in (4, 5):
        assert (first[:, 0] != first[:, other]).any()
    assert (first[:, 5] != first[:, 6]).any()
    assert (second[:, 0] != second[:, 1]).any()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_signs_of_different_numbers_are_fair(dtype):
    signs = Signs(precision_of(dtype), ROWS)
    values = np.linspace(0.5, 0.999, 100)
    found = np.concatenate([signs.of(values, signs.key())[: ROWS // 2] for _ in range(200)])
    assert np.abs(found.mean(axis=0)).max() < 0.1
    if dtype == "float32":
        together = found.T @ found / len(found)
        assert np.abs(together - np.eye(100)).max() < 0.12


def test_a_tensor_that_is_used_twice_is_refused():
    slot = Slot()
    slot.put(np.zeros(1))
    with pytest.raises(AssertionError, match="used twice"):
        slot.put(np.zeros(1))
    with pytest.raises(AssertionError, match="not used"):
        Slot().get()


def test_the_names_that_others_use():
    assert set(tolerance.__all__) == {"PRECISIONS", "Precision", "allowed_errors", "precision_of"}
