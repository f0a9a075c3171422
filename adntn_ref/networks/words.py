"""The verdict on a layer with a generated weight, in sentences: what is said before anything runs."""

from typing import Any

SMALL_PRODUCTS = 5
"""How many times as long an operation takes in the small products site by site, as measured in docs/when-it-pays.md."""


def times(number: int, other: int) -> str:
    """Write a ratio with three digits, ``1.53 times``; a large one as a whole number.

    Examples
    --------
    >>> times(153, 100), times(1, 3000), times(20000, 1)
    ('1.53 times', '0.000333 times', '20,000 times')
    """
    ratio = number / other
    return f"{ratio:,.0f} times" if ratio >= 1000 else f"{ratio:.3g} times"


def sentences(layer: Any) -> tuple[str, ...]:
    """Return the verdict on a :class:`~adntn_ref.networks.layer.LayerCost`."""
    return (_generated(layer), _cached(layer), *_sites(layer), _closing(layer))


def _generated(layer: Any) -> str:
    dense, every, cross = layer["dense"], layer["generate"], layer.crossover
    text = (
        f"Generated at every product, this layer takes {times(every.flops, dense.flops)} the operations of the dense"
        f" layer at a batch of {layer.batch:,}, {times(every.training_flops, dense.training_flops)} with the backward"
        " pass: it is slower than the dense layer."
    )
    return f"{text} From a batch of {cross.generate_batch:,} on it takes at most twice the dense layer's."


def _cached(layer: Any) -> str:
    dense, cached, cross = layer["dense"], layer["cached"], layer.crossover
    products = "1 product" if layer.uses == 1 else f"{layer.uses:,} products"
    needed = "1 product" if cross.cached_uses == 1 else f"{cross.cached_uses:,} products"
    both = times(cached.training_flops, dense.training_flops)
    return (
        f"Generated once for {products} between two updates it takes {times(cached.flops, dense.flops)} the dense"
        f" layer's operations, {both} with the backward pass; at most twice from {needed} an update on (forward)."
    )


def _sites(layer: Any) -> list[str]:
    if layer.sites_refusal:
        return [f"There is no product site by site, without the weight: {layer.sites_refusal}."]
    dense, sites, cross = layer["dense"], layer["sites"], layer.crossover
    text = f"Site by site, without the weight, it takes {times(sites.flops, dense.flops)} the dense layer's operations"
    text += f" and {times(sites.peak_bytes, dense.peak_bytes)} its memory: "
    text += _verdict(sites.flops, dense.flops)
    found = [text]
    if cross.bond is not None:
        none = f"It takes more than the dense layer at every {cross.bond}."
        some = f"It takes no more than the dense layer up to {cross.bond} = {cross.sites_bond:,}."
        found.append(some if cross.sites_bond else none)
    if cross.sites_until_batch is not None:
        found.append(
            f"Above a batch of {cross.sites_until_batch:,} even generating the weight at every product takes no more."
        )
    return found


def _verdict(sites: int, dense: int) -> str:
    if sites > dense:
        return "it does not pay against a dense or cached weight."
    if SMALL_PRODUCTS * sites > dense:
        return f"fewer, but in small products; with less than a {SMALL_PRODUCTS}-fold saving it may well be slower."
    return "it can pay."


def _closing(layer: Any) -> str:
    return (
        "These are counts, not seconds: an operation in small products was measured to take 2 to 15 times as long as"
        " one in the dense product (docs/when-it-pays.md). For inference the weight can be folded into a dense layer"
        " once, which then costs what a dense layer costs."
    )
