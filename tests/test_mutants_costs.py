"""Costs as numbers, counted by hand: each entry of each kind of step, and the peaks put together from parts."""

import pytest

import adntn_ref as ar
from adntn_ref.ad.activations import get_activation
from adntn_ref.errors import SpecError
from adntn_ref.program.cost import Cost
from adntn_ref.program.steps import Activate, Factor, Product

SHAPE = (2, 3)
LOW = ar.LowRank(SHAPE, 1)


def entries(cost: Cost, name: str) -> list[int]:
    """Operations forward and backward, bytes moved forward and backward, bytes of the state, bytes kept."""
    (step,) = [step for step in cost.steps if step.step == name]
    moved = [step.bytes_forward, step.bytes_backward]
    return [step.flops_forward, step.flops_backward, *moved, step.state_bytes, step.kept_bytes]


def peaks(cost: Cost) -> tuple[int, int, int]:
    return cost.peak_bytes_forward, cost.peak_bytes_backward, cost.largest_state_bytes


@pytest.mark.parametrize(
    "net",
    [
        ar.BrickWall(SHAPE, 2),
        LOW,
        ar.Tucker((4, 6), (2, 3), modes=(4, 6)),
        ar.TensorTrain((6,), 2),
        ar.Sum(LOW, LOW),
        ar.Split(SHAPE, 2, lambda chunk: ar.LowRank((3, 1), 1)),
        ar.Stack({"a": (6,)}, LOW),
    ],
)
def test_counts_are_whole_numbers(net: ar.Network) -> None:
    counts = net.cost("complex64").to_dict()
    assert (counts["weights"], counts["parameters"]) == (net.weights, net.parameter_count)
    for entry in [counts, *counts["steps"]]:
        assert all(
            type(value) is int for key, value in entry.items() if key not in ("dtype", "schedule", "step", "steps")
        )


def test_a_product_of_two_factors() -> None:
    """6 sums of one product; nothing is read but cores. Held: the weight, its cotangent, the gradients of 5 numbers."""
    cost = LOW.cost("float64")
    assert (cost.dtype, cost.schedule, cost.parameters, cost.weights) == ("float64", "keep", 5, 6)
    assert entries(cost, "product") == [12, 24, 48, 96, 48, 48]
    assert peaks(cost) == (48, 48 + 48 + 40, 48)
    assert LOW.cost("float32").peak_bytes_backward == 68
    assert entries(LOW.cost("complex64"), "product")[:2] == [48, 96]


def test_a_sum_adds_each_further_weight() -> None:
    """Two additions a weight for three parts, two entries read and one written for each; the sum, a part and the
    next part are held at once.
    """
    cost = ar.Sum(LOW, LOW, LOW).cost("float64")
    assert entries(cost, "sum") == [12, 0, 8 * 36, 8 * 36, 48, 0]
    assert [step.step for step in cost.steps] == ["0.product", "1.product", "2.product", "sum"]
    assert peaks(cost) == (144, 3 * (48 + 40) + 48 + 48, 48)
    assert (cost.dtype, cost.schedule) == ("float64", "keep")
    assert entries(ar.Sum(LOW).cost("float64"), "sum") == [0, 0, 0, 0, 48, 0]
    assert peaks(ar.Sum(LOW).cost("float64")) == peaks(LOW.cost("float64"))


def test_complex_additions_count_twice() -> None:
    assert entries(ar.Sum(LOW, LOW).cost("complex64"), "sum")[:2] == [12, 0]
    delta = ar.Delta(ar.LowRank(SHAPE, 1).generate(LOW.init()), LOW, 2.0)
    assert entries(delta.cost("complex128"), "delta")[:3] == [24, 12, 16 * 30]


def test_a_delta_multiplies_and_adds() -> None:
    """A product with alpha and an addition an entry.

    Held: alpha times the network's weight, W0 and the sum; backward the network's record, the sum, its cotangent and
    alpha times it, and 5 gradients.
    """
    delta = ar.Delta(LOW.generate(LOW.init()), LOW, 2.0)
    cost = delta.cost("float64")
    assert entries(cost, "delta") == [12, 6, 8 * 30, 8 * 30, 48, 0]
    assert peaks(cost) == (8 * 18, 4 * 48 + 40, 48)


def test_a_part_that_holds_as_much_as_the_whole() -> None:
    """Nothing is held before the inner delta runs, so the outer one's peak is its own, no entry more."""
    inner = ar.Delta(LOW.generate(LOW.init()), LOW, 2.0)
    assert ar.Delta(inner.base, inner, 3.0).cost("float64").peak_bytes_forward == 8 * 18


def test_factors_larger_than_what_they_make() -> None:
    """Rank 5 on four modes of 2: two halves of 20 entries are held for 16."""
    assert ar.CP((2, 2, 2, 2), 5, modes=(2, 2, 2, 2)).cost("float64").peak_bytes_forward == 8 * (20 + 20 + 16)


@pytest.mark.parametrize("net", [ar.Sum(LOW), ar.Stack({"a": (6,)}, LOW), ar.BrickWall((8,), 1), LOW])
def test_there_is_one_schedule(net: ar.Network) -> None:
    with pytest.raises(SpecError, match="twice"):
        net.cost(schedule="twice")


def test_a_stack_cuts() -> None:
    cost = ar.Stack({"a": (2,), "b": (2, 2)}, LOW).cost("float64")
    assert entries(cost, "stack") == [0, 0, 8 * 12, 8 * 12, 48, 0]
    assert peaks(cost) == (48, 3 * 48 + 40, 48)  # the pieces are views; their cotangents are laid end to end


def test_a_split_holds_the_chunks_made() -> None:
    """Chunks of 2, 2 and 2 entries, then all of them and the weight."""
    net = ar.Split(SHAPE, 3, lambda chunk: ar.LowRank((2, 1), 1))
    cost = net.cost("float64")
    assert entries(cost, "split") == [0, 0, 8 * 12, 8 * 12, 48, 0]
    assert peaks(cost) == (8 * 12, 3 * 48 + 3 * 24, 48)  # backward: the chunks, the weight, its cotangent, gradients


def test_padding_is_held_with_the_chunks() -> None:
    net = ar.Split((6,), 2, lambda chunk: ar.BrickWall(chunk, 1))  # each makes 4 numbers for 3
    each = ar.BrickWall((3,), 1).cost("float64")
    assert net.cost("float64").peak_bytes_forward == max(8 * 4 + each.peak_bytes_forward, 8 * 14)


def test_a_large_part_after_small_ones() -> None:
    """The peak counts what is held while a part runs, so the order of the parts matters."""
    wide = ar.LowRank((64, 64), 1)
    first = ar.Split((2 * 4096,), 2, lambda chunk: wide).cost("float64")
    assert first.peak_bytes_forward == 8 * 4 * 4096
    assert first.peak_bytes_backward == 8 * (3 * 2 * 4096 + 2 * 128)


@pytest.mark.parametrize(
    ("modes", "read", "written"),
    [((2, 3), [0], [6]), ((2, 2, 3), [2, 4], [4, 12]), ((2, 2, 2, 2), [2, 6, 8], [4, 4, 16])],
)
def test_products_of_a_cp_network(modes: tuple[int, ...], read: list[int], written: list[int]) -> None:
    """Rank 1: Khatri-Rao products of the halves, the second while the first is held, then the matrix product.

    A half of a single factor is that factor, no state; where one is multiplied its entries are read.
    """
    cost = ar.CP(modes, rank=1, modes=modes).cost("float64")
    assert [step.bytes_forward for step in cost.steps] == [8 * (r + w) for r, w in zip(read, written, strict=True)]
    if len(modes) == 4:
        assert [step.step for step in cost.steps] == ["factor1", "factor3", "product"]
        assert [step.flops_forward for step in cost.steps] == [4, 4, 32]


def test_products_of_a_cp_network_of_two_terms() -> None:
    cost = ar.CP((2, 2, 2, 2), rank=2, modes=(2, 2, 2, 2)).cost("float64")
    assert [step.flops_forward for step in cost.steps] == [8, 8, 2 * 16 * 2]
    assert [step.bytes_forward for step in cost.steps] == [8 * (4 + 8), 8 * (8 + 4 + 8), 8 * (8 + 8 + 16)]


def test_products_of_a_tucker_network() -> None:
    cost = ar.Tucker((4, 6), ranks=(2, 3), modes=(4, 6)).cost("float64")
    assert [step.flops_forward for step in cost.steps] == [2 * 12 * 2, 2 * 24 * 3]
    assert [step.bytes_forward for step in cost.steps] == [8 * (6 + 12), 8 * (12 + 24)]


def test_products_of_a_tensor_train() -> None:
    cost = ar.TensorTrain((8,), chi=2).cost("float64")
    assert [step.flops_forward for step in cost.steps] == [0, 2 * 8 * 2, 2 * 8 * 2]
    assert [step.bytes_forward for step in cost.steps] == [8 * 4, 8 * (4 + 8), 8 * (8 + 8)]


def test_copies_for_the_order_and_the_padding() -> None:
    """A train of 8 numbers: states of 8 and 8, a cotangent of 8, those of two states (8 and 4), gradients (4 and 8).

    For 6 weights: a cotangent of 6 besides the 8 with zeros in the padding, which are let go before the first state's.
    With interleaved modes the weight is a copy, and so is the cotangent in the train's own order.
    """
    plain, padded = ar.TensorTrain((8,), 2).cost("float64"), ar.TensorTrain((6,), 2).cost("float64")
    assert plain.peak_bytes_backward == 8 * (16 + 8 + 8 + 4 + 4 + 8)
    assert padded.peak_bytes_backward == 8 * (16 + 6 + 8 + 4 + 4 + 8)
    woven = ar.TensorTrain((4, 2), 2, layout="interleaved").cost("float64")
    assert woven.peak_bytes_forward == 8 * (8 + 8)
    assert woven.peak_bytes_backward == plain.peak_bytes_backward + 8 * 8


def test_a_start_of_many_factors() -> None:
    """Factors of 2, 3, 5 and 7 entries, the second a unit vector.

    Forward 5 * 7, 3 * 35 and 2 * 105 products. Adjoint: the products of the last two and of the last three factors
    again, and for each factor but the last one matrix product to go on, and one for its environment where it has one.
    """
    factors = (Factor("a", (2,)), Factor(None, (3,)), Factor("b", (5,)), Factor("c", (7,)))
    forward, backward = Product("start", factors).flops()
    assert forward == 35 + 105 + 210
    assert backward == (35 + 105) + 2 * (210 + 105 + 35) + 2 * (210 + 35)


def test_an_activation_holds_nothing_more() -> None:
    step = Activate("a", (2, 3), get_activation("tanh"))
    assert (step.flops(), step.sizes(), step.scratch()) == ((6, 12), [(6, 6)], [0])
    assert step.core_names == ()
