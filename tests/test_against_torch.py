"""Gradients against PyTorch's, in double precision, real and complex; skipped without torch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import peers
import pytest
from elsewhere import place, there

from adntn_ref import ad

torch = peers.need("torch")

Function = Callable[..., Any]


def drawn(shape: tuple[int, ...], domain: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, *shape])
    if domain == "positive":
        return rng.uniform(0.5, 2.0, shape)
    x = rng.normal(size=shape)
    return x + 1j * rng.normal(size=shape) if domain == "complex" else x


def close(got: Any, expected: Any) -> None:
    expected = expected.numpy(force=True)
    scale = np.abs(expected).max(initial=1e-300)
    np.testing.assert_allclose(np.asarray(got), expected, rtol=0, atol=1e-12 * scale)


def compare(ours: Function, theirs: Function, inputs: list[np.ndarray]) -> None:
    """Compare values, pulled cotangents, and the gradient of a linear function of these."""
    tensors = [torch.tensor(x, requires_grad=True) for x in inputs]
    value, pullback = there(ad.vjp)(ours, *inputs)
    expected = theirs(*tensors)
    close(value, expected)
    g = drawn(np.shape(value), "complex" if np.iscomplexobj(value) else "normal", 99)
    first = torch.autograd.grad(expected, tensors, torch.tensor(g), create_graph=True)
    for got, wanted in zip(pullback(g), first, strict=True):
        close(got, wanted)

    us = [drawn(x.shape, "complex" if np.iscomplexobj(x) else "normal", 100 + k) for k, x in enumerate(inputs)]

    def form(*xs: Any) -> Any:
        return ad.transforms.inner(place(us), list(ad.vjp(ours, *xs)[1](place(g))))

    total = sum((torch.tensor(u).conj() * gx).real.sum() for u, gx in zip(us, first, strict=True))
    if not total.requires_grad:
        return
    second = torch.autograd.grad(total, tensors, allow_unused=True)
    found = there(ad.grad(form, tuple(range(len(inputs)))))(*inputs)
    for got, wanted, x in zip(found, second, tensors, strict=True):
        close(got, torch.zeros_like(x) if wanted is None else wanted)


UNARY: list[tuple[str, str, Function]] = [
    ("exp", "normal", torch.exp),
    ("log", "positive", torch.log),
    ("sqrt", "positive", torch.sqrt),
    ("sin", "normal", torch.sin),
    ("cos", "normal", torch.cos),
    ("tanh", "normal", torch.tanh),
    ("erf", "normal", torch.erf),
    ("abs", "normal", torch.abs),
    ("relu", "normal", torch.relu),
    ("leaky_relu", "normal", torch.nn.functional.leaky_relu),
    ("sigmoid", "normal", torch.sigmoid),
    ("gelu", "normal", torch.nn.functional.gelu),
    ("silu", "normal", torch.nn.functional.silu),
    ("exp", "complex", torch.exp),
    ("log", "complex", torch.log),
    ("sqrt", "complex", torch.sqrt),
    ("sin", "complex", torch.sin),
    ("cos", "complex", torch.cos),
    ("tanh", "complex", torch.tanh),
    ("abs", "complex", torch.abs),
    ("sigmoid", "complex", torch.sigmoid),
    ("conj", "complex", lambda z: z.conj().resolve_conj()),
    ("real", "complex", lambda z: z.real),
    ("imag", "complex", lambda z: z.imag),
    ("square", "complex", torch.square),
    ("negative", "complex", torch.neg),
]


@pytest.mark.parametrize(("name", "domain", "theirs"), UNARY, ids=[f"{name}-{domain}" for name, domain, _ in UNARY])
def test_elementwise(name: str, domain: str, theirs: Function) -> None:
    compare(getattr(ad, name), theirs, [drawn((3, 4), domain, 1)])


BINARY: list[tuple[str, Function]] = [
    ("add", torch.add),
    ("subtract", torch.subtract),
    ("multiply", torch.multiply),
    ("divide", torch.divide),
    ("power", torch.pow),
    ("matmul", torch.matmul),
]


@pytest.mark.parametrize(("name", "theirs"), BINARY, ids=[name for name, _ in BINARY])
@pytest.mark.parametrize("domains", [("positive", "normal"), ("complex", "complex"), ("positive", "complex")], ids=str)
@pytest.mark.parametrize("shapes", [((3, 3), (3, 3)), ((3, 3), (2, 3, 3)), ((2, 1, 3), (3, 1))], ids=str)
def test_pairs(name: str, theirs: Function, domains: tuple[str, str], shapes: tuple[tuple[int, ...], ...]) -> None:
    mixed = domains[0] != domains[1] and "complex" in domains
    if name == "matmul" and mixed:
        pytest.skip("torch multiplies matrices of one dtype only")
    inputs = [drawn(shape, domain, k) for k, (shape, domain) in enumerate(zip(shapes, domains, strict=True))]
    compare(getattr(ad, name), theirs, inputs)


EINSUMS = [
    ("ij,jk->ik", ((2, 3), (3, 4))),
    ("ii->i", ((3, 3),)),
    ("ii->", ((3, 3),)),
    ("iij->j", ((2, 2, 3),)),
    ("iji,jk->k", ((2, 3, 2), (3, 2))),
    ("ij,jk->ik", ((2, 1), (3, 4))),
    ("ij,jk->ik", ((2, 3), (1, 4))),
    ("bij,bjk,bkl->bil", ((2, 2, 3), (2, 3, 2), (2, 2, 2))),
    ("...i,...i->...", ((2, 3), (3,))),
    ("ij,k->", ((2, 3), (2,))),
]


@pytest.mark.parametrize(("subscripts", "shapes"), EINSUMS, ids=str)
@pytest.mark.parametrize("domain", ["normal", "complex"])
def test_einsum(subscripts: str, shapes: tuple[tuple[int, ...], ...], domain: str) -> None:
    inputs = [drawn(shape, domain, k) for k, shape in enumerate(shapes)]
    compare(lambda *xs: ad.einsum(subscripts, *xs), lambda *xs: torch.einsum(subscripts, *xs), inputs)


OTHERS: list[tuple[str, Function, Function, tuple[tuple[int, ...], ...]]] = [
    ("sum", lambda x: ad.sum(x, axis=1), lambda x: x.sum(1), ((3, 4),)),
    ("mean", lambda x: ad.mean(x, axis=0), lambda x: x.mean(0), ((3, 4),)),
    ("max", lambda x: ad.max(x, axis=1), lambda x: x.amax(1), ((3, 4),)),
    ("logsumexp", lambda x: ad.logsumexp(x), lambda x: torch.logsumexp(x, -1), ((3, 4),)),
    ("log_softmax", lambda x: ad.log_softmax(x), lambda x: torch.log_softmax(x, -1), ((3, 4),)),
    (
        "cross_entropy",
        lambda x: ad.cross_entropy(x, place(np.array([1, 3, 0]))),
        lambda x: torch.nn.functional.cross_entropy(x, torch.tensor([1, 3, 0])),
        ((3, 4),),
    ),
    (
        "soft_cross_entropy",
        lambda x, z: ad.soft_cross_entropy(x, ad.softmax(z)),
        lambda x, z: torch.nn.functional.cross_entropy(x, torch.softmax(z, -1)),
        ((3, 4), (3, 4)),
    ),
    ("maximum", ad.maximum, torch.maximum, ((3, 4), (4,))),
    ("minimum", ad.minimum, torch.minimum, ((3, 4), (4,))),
    (
        "where",
        lambda a, b: ad.where(place(np.eye(3) > 0), a, b),
        lambda a, b: torch.where(torch.eye(3) > 0, a, b),
        ((3, 3), (3,)),
    ),
    ("concatenate", lambda a, b: ad.concatenate([a, b], 1), lambda a, b: torch.cat([a, b], 1), ((2, 3), (2, 1))),
    ("stack", lambda a, b: ad.stack([a, b], -1), lambda a, b: torch.stack([a, b], -1), ((2, 3), (2, 3))),
    ("tensordot", lambda a, b: ad.tensordot(a, b, 2), lambda a, b: torch.tensordot(a, b, 2), ((2, 3, 4), (3, 4, 2))),
    ("getitem", lambda x: x[place(np.array([0, 0, 2])), 1:], lambda x: x[[0, 0, 2], 1:], ((3, 4),)),
    (
        "ties of max",
        lambda x: ad.max(ad.concatenate([x, x], 1), axis=1),
        lambda x: torch.cat([x, x], 1).amax(1),
        ((3, 4),),
    ),
    (
        "network",
        lambda w, v, x: ad.log_softmax(v @ ad.gelu(w @ ad.silu(x))),
        lambda w, v, x: torch.log_softmax(v @ torch.nn.functional.gelu(w @ torch.nn.functional.silu(x)), -1),
        ((4, 3), (2, 4), (3, 5)),
    ),
]


@pytest.mark.parametrize(("name", "ours", "theirs", "shapes"), OTHERS, ids=[name for name, *_ in OTHERS])
def test_others(name: str, ours: Function, theirs: Function, shapes: tuple[tuple[int, ...], ...]) -> None:
    compare(ours, theirs, [drawn(shape, "normal", k) for k, shape in enumerate(shapes)])


def changed(u: Any, s: Any, vh: Any) -> Any:
    """A matrix with other singular values: it has no phase that nothing fixes."""
    return (u * (s * s + s).reshape((*s.shape[:-1], 1, s.shape[-1]))) @ vh


FACTORS: list[tuple[str, Function, Function]] = [
    ("q", lambda x: ad.qr(x)[0], lambda x: torch.linalg.qr(x)[0]),
    ("r", lambda x: ad.qr(x)[1], lambda x: torch.linalg.qr(x)[1]),
    ("singular values", lambda x: ad.svd(x)[1], torch.linalg.svdvals),
    ("svd", lambda x: changed(*ad.svd(x)), lambda x: changed(*torch.linalg.svd(x, full_matrices=False))),
    ("norm", ad.norm, torch.linalg.norm),
    ("cumsum", lambda x: ad.cumsum(x, axis=-1), lambda x: torch.cumsum(x, -1)),
    ("diagonal", lambda x: ad.diagonal(x, 1, -2, -1), lambda x: torch.diagonal(x, 1, -2, -1)),
]


@pytest.mark.parametrize(("name", "ours", "theirs"), FACTORS, ids=[name for name, *_ in FACTORS])
@pytest.mark.parametrize("domain", ["normal", "complex"])
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 3, 2)], ids=str)
def test_matrices(name: str, ours: Function, theirs: Function, domain: str, shape: tuple[int, ...]) -> None:
    compare(ours, theirs, [drawn(shape, domain, 5)])


@pytest.mark.parametrize("domain", ["normal", "complex"])
@pytest.mark.parametrize("shapes", [((3, 3), (3, 2)), ((2, 3, 3), (3, 1)), ((3, 3), (3,))], ids=str)
def test_solve(domain: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    compare(ad.solve, torch.linalg.solve, [drawn(shape, domain, 6 + k) for k, shape in enumerate(shapes)])


def test_a_complex_loss_descends_the_same_way() -> None:
    """The gradient of a real loss of complex parameters is dL/dRe + i dL/dIm, as PyTorch's."""
    w, x = drawn((3, 3), "complex", 1), drawn((3,), "complex", 2)

    def ours(w: Any) -> Any:
        y = ad.tanh(w @ place(x)) * ad.conj(w[0])
        return ad.sum(ad.abs(y) ** 2) + ad.real(ad.sum(w * w))

    tensor = torch.tensor(w, requires_grad=True)
    y = torch.tanh(tensor @ torch.tensor(x)) * tensor[0].conj()
    loss = (y.abs() ** 2).sum() + (tensor * tensor).sum().real
    loss.backward()
    value, gradient = there(ad.value_and_grad(ours))(w)
    close(value, loss)
    close(gradient, tensor.grad)
    assert there(ours)(w - 1e-4 * gradient) < value
