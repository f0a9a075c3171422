"""einsum and tensordot: values against NumPy, gradients against differences, notation, and the bugs of others."""

import string
from typing import Any

import numpy as np
import pytest
from elsewhere import place, there
from hypothesis import given
from hypothesis import strategies as st

from adntn_ref import ad
from adntn_ref.ad.einsum import contract
from adntn_ref.errors import ArrayError
from adntn_ref.validation import check_gradient, check_vjp


def drawn(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [rng.normal(size=shape) for shape in shapes]


def check(subscripts: str, *shapes: tuple[int, ...]) -> None:
    """Compare the value with NumPy's, and the gradient of a sum of squares with differences."""
    xs = drawn(*shapes)
    np.testing.assert_allclose(there(ad.einsum)(subscripts, *xs), np.einsum(subscripts, *xs), rtol=1e-13, atol=1e-13)

    def loss(xs: Any) -> Any:
        y = ad.einsum(subscripts, *xs)
        return ad.sum(y * y)

    check_gradient(there(loss), there(ad.grad(loss)), xs)


def test_autograd_115_trace() -> None:
    """HIPS/autograd#115: no gradient of a trace."""
    check("ii->", (2, 2))
    np.testing.assert_array_equal(there(ad.grad(lambda x: ad.einsum("ii->", x)))(np.ones((3, 3))), np.eye(3))


def test_autograd_115_crazy_traces() -> None:
    """The worst trace that HIPS/autograd#115 names."""
    check("ijji,kji,jj->kj", (2, 3, 3, 2), (2, 3, 2), (3, 3))


def test_autograd_376_broadcast_labels() -> None:
    """HIPS/autograd#376: an axis of length 1 against n, named and under dots, in either operand, summed and kept."""
    np.testing.assert_array_equal(ad.grad(lambda x: ad.einsum("i, i", x, np.full(1, 2.0)))(np.ones(2)), [2.0, 2.0])
    for first, second in (((2, 1), (3, 2)), ((2, 3), (1, 2)), ((1, 3), (3, 1)), ((2, 1), (1, 2)), ((1, 1), (3, 2))):
        for output in ("ik", "ijk", "k", "j", ""):
            check(f"ij,jk->{output}", first, second)
    check("...ij,...jk->...ik", (1, 2, 3), (4, 3, 2))
    check("...ij,...jk->ik...", (4, 1, 2, 3), (1, 3, 3, 2))


def test_autograd_510_repeated_label_of_a_matrix() -> None:
    """HIPS/autograd#510: a diagonal of one operand against another operand."""
    w, x = np.arange(16.0).reshape(4, 4), np.arange(8.0).reshape(4, 2)
    gradient = there(ad.grad(lambda w: ad.sum(ad.einsum("nd,nn->d", place(x), w))))(w)
    np.testing.assert_array_equal(gradient, np.diag(x.sum(axis=1)))
    check("nd,nn->d", (4, 2), (4, 4))


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ii->i", ((3, 3),)),
        ("iij->j", ((3, 3, 2),)),
        ("iji,jk->k", ((2, 3, 2), (3, 2))),
        ("iijj->", ((2, 2, 3, 3),)),
        ("iii->", ((3, 3, 3),)),
        ("ii,ii->", ((3, 3), (3, 3))),
        ("ijk->", ((2, 3, 2),)),
        ("ijk,j->", ((2, 3, 2), (3,))),
        ("abcd->bd", ((3, 2, 3, 2),)),
        ("zy,yx", ((2, 3), (3, 2))),
        ("ba", ((2, 3),)),
        ("ii", ((3, 3),)),
        ("i...j,j", ((2, 2, 3), (3,))),
        ("...", ((2, 3),)),
        ("...->...", ((),)),
        (" i j , j k -> i k ", ((2, 3), (3, 2))),
        ("Ab,bA->A", ((2, 3), (3, 2))),
        ("i,i->i", ((0,), (0,))),
        ("ij,jk->ik", ((2, 0), (0, 3))),
    ],
)
def test_against_numpy(subscripts: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    check(subscripts, *shapes)


@pytest.mark.parametrize(
    ("subscripts", "shapes", "phrase"),
    [
        ("ij,jk->ik", ((2, 3),), "names 2 operands, got 1"),
        ("ij->ij", ((2,),), "'ij' names 2 axes of an operand with 1"),
        ("i->i", ((2, 3),), "'i' names 1 axes of an operand with 2"),
        ("i...j->", ((2,),), "names 2 axes of an operand with 1"),
        ("ij->ii", ((2, 3),), "each output label must be an input label, named once"),
        ("ij->k", ((2, 3),), "each output label must be an input label, named once"),
        ("ij,jk->i,k", ((2, 3), (3, 2)), "each output label must be"),
        ("ij,jk->ik", ((2, 3), (4, 2)), r"one label has lengths \[3, 4\]"),
        ("ii->i", ((1, 3),), r"one label has lengths \[1, 3\]"),
        ("i.j->", ((2, 3),), "cannot be read at 'i.j'"),
        ("......->", ((2, 3),), "cannot be read"),
        ("ij->i->j", ((2, 3),), "cannot be read at 'i->j'"),
        ("i-j->i", ((2, 3),), "cannot be read at 'i-j'"),
        ("...i->i", ((2, 3),), "names 1 axes"),
    ],
)
def test_refusals(subscripts: str, shapes: tuple[tuple[int, ...], ...], phrase: str) -> None:
    with pytest.raises(ArrayError, match=phrase):
        ad.einsum(subscripts, *drawn(*shapes))


def test_numbers_are_operands_without_axes() -> None:
    np.testing.assert_array_equal(ad.grad(lambda x: ad.sum(ad.einsum("i,->i", x, 2.0)))(np.ones(3)), [2.0, 2.0, 2.0])


def labels(count: int) -> str:
    """Return ``count`` different characters that mean nothing to the notation."""
    return (string.ascii_letters + "".join(chr(0x3B1 + i) for i in range(count)))[:count]


def test_a_chain_of_sixty_matrices() -> None:
    """61 labels: the value is a product of matrices, the gradient the product of what is left and right."""
    matrices = [x / 1.5 for x in drawn(*((2, 2),) * 60)]
    names = labels(61)
    subscripts = ",".join(names[i : i + 2] for i in range(60)) + "->" + names[0] + names[60]
    value, pullback = there(ad.vjp)(lambda *xs: ad.einsum(subscripts, *xs), *matrices)
    np.testing.assert_allclose(value, np.linalg.multi_dot(matrices), rtol=1e-12)
    g = np.array([[1.0, -2.0], [0.5, 3.0]])
    pulled = pullback(g)
    for k in (0, 1, 30, 58, 59):
        left = np.linalg.multi_dot([np.eye(2), np.eye(2), *matrices[:k]])
        right = np.linalg.multi_dot([np.eye(2), np.eye(2), *matrices[k + 1 :]])
        np.testing.assert_allclose(pulled[k], left.T @ g @ right.T, rtol=1e-11)


def test_many_labels_of_every_kind() -> None:
    """Above 52 labels a diagonal, an axis of length 1, sums in one operand and a batch label do what few labels do.

    The first operand's axes 6 .. 29 and the second's 4 .. 28 have length 1; without them NumPy can do the sum.
    """
    a, b = drawn((2, 2, 3, 1, 4, 2, *(1,) * 24), (3, 5, 4, 2, *(1,) * 25))
    inputs = ((0, 0, 1, 2, 3, 4, *range(10, 34)), (1, 2, 3, 5, *range(34, 59)))
    output = (5, 1, 2, 0)

    def with_many(a: Any, b: Any) -> Any:
        return contract(a, b, inputs=inputs, output=output)

    def with_few(a: Any, b: Any) -> Any:
        return ad.einsum(
            "aabcde,bcdf->fbca", ad.reshape(a, shape=(2, 2, 3, 1, 4, 2)), ad.reshape(b, shape=(3, 5, 4, 2))
        )

    value, pullback = ad.vjp(with_many, a, b)
    expected, expected_pullback = ad.vjp(with_few, a, b)
    np.testing.assert_allclose(
        value, np.einsum("aabcde,bcdf->fbca", a.reshape(2, 2, 3, 1, 4, 2), b.reshape(3, 5, 4, 2)), rtol=1e-13
    )
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    g = np.asarray(drawn(value.shape)[0])
    for got, wanted in zip(pullback(g), expected_pullback(g), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)
    check_vjp(lambda xs: with_many(*xs), lambda v: list(pullback(v)), [a, b], method="central")


def test_one_operand_of_many_labels_and_a_bad_length() -> None:
    x = drawn((2, *(1,) * 30))[0]
    y = drawn((3, *(1,) * 30))[0]
    inputs = (tuple(range(31)), tuple(range(31, 62)))
    np.testing.assert_allclose(contract(x, y, inputs=inputs, output=(31, 0)), np.outer(y.ravel(), x.ravel()))
    with pytest.raises(ArrayError, match=r"one label has lengths \[2, 3\]"):
        contract(x, y, inputs=(inputs[0], (0, *inputs[1][1:])), output=(0,))


def test_a_label_three_times_among_many() -> None:
    x = drawn((2, 2, 2, *(1,) * 27))[0]
    y = drawn((3, *(1,) * 29))[0]
    got = contract(x, y, inputs=((0, 0, 0, *range(1, 28)), tuple(range(28, 58))), output=(0, 28))
    np.testing.assert_allclose(got, np.outer(np.einsum("iii->i", x.reshape(2, 2, 2)), y.ravel()))


@st.composite
def contractions(draw: st.DrawFn) -> tuple[str, list[tuple[int, ...]]]:
    """Draw operands with repeated labels, axes of length 1 in place of n, and any output."""
    sizes = {name: draw(st.integers(1, 3)) for name in "abcd"}
    terms, shapes = [], []
    for _ in range(draw(st.integers(1, 3))):
        term = draw(st.text("abcd", min_size=0, max_size=3))
        ones = draw(st.sets(st.sampled_from("abcd"), max_size=2))
        terms.append(term)
        shapes.append(tuple(1 if name in ones else sizes[name] for name in term))
    known = sorted(set("".join(terms)))
    output = "".join(draw(st.permutations(known))[: draw(st.integers(0, len(known)))]) if known else ""
    return ",".join(terms) + "->" + output, shapes


@given(contractions())
def test_drawn_contractions(drawing: tuple[str, list[tuple[int, ...]]]) -> None:
    subscripts, shapes = drawing
    check(subscripts, *shapes)


@given(contractions())
def test_pair_by_pair_equals_numpy(drawing: tuple[str, list[tuple[int, ...]]]) -> None:
    """The same sums with 53 more labels, all of length 1 and in one operand of their own."""
    subscripts, shapes = drawing
    left, _, right = subscripts.partition("->")
    more = labels(300)[52:105]
    xs = [*drawn(*shapes), np.ones((1,) * 53)]
    got = there(ad.einsum)(f"{left},{more}->{right}", *xs)
    np.testing.assert_allclose(got, np.einsum(subscripts, *xs[:-1]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("shapes", "axes"),
    [
        (((2, 3, 4), (3, 4, 2)), 2),
        (((2, 3), (3, 2)), 1),
        (((2,), (3,)), 0),
        (((2, 3, 4), (4, 2, 3)), ([2, 0], [0, 1])),
        (((2, 3, 4), (4, 2, 3)), ([-1, 0], [0, -2])),
        (((2, 3), (3, 2)), (1, 0)),
        (((2, 3), (2, 3)), ((0, 1), (0, 1))),
    ],
)
def test_tensordot_against_numpy(shapes: tuple[tuple[int, ...], ...], axes: Any) -> None:
    a, b = drawn(*shapes)
    np.testing.assert_allclose(there(ad.tensordot)(a, b, axes), np.tensordot(a, b, axes), rtol=1e-13)


@pytest.mark.parametrize(
    ("shapes", "axes"),
    [
        (((3,), (3, 3)), 2),
        (((2, 3), (3, 3)), ([5], [0])),
        (((2, 3), (3, 3)), ([-3], [0])),
        (((2, 3), (3, 3)), ([1], [2])),
        (((2, 3), (3, 3)), ([1, 1], [0, 1])),
        (((2, 3), (3, 3)), ([0, 1], [0])),
        (((2, 3), (3, 3)), ([0], [0])),
        (((2, 3), (1, 3)), ([1], [0])),
        (((2, 3), (3, 3)), ([0], [0], [0])),
    ],
)
def test_tensordot_refuses(shapes: tuple[tuple[int, ...], ...], axes: Any) -> None:
    with pytest.raises(ArrayError, match="tensordot cannot sum over axes"):
        ad.tensordot(*drawn(*shapes), axes)
