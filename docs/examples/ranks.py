"""Print the rank that a matrix made by a network has, by family and layout, at about equal numbers.

    python docs/examples/ranks.py [SIDE]

Square matrices at each network's own random start, three of each; SIDE is a power of two, 256 unless given. *rank*
counts singular values above 1e-10 of the largest; *effective* is Roy and Vetterli's (EUSIPCO 2007), exp of the entropy
of the singular values' shares: about how many directions a layer with that weight tells apart.
"""

import sys

import numpy as np

import adntn_ref as ar

Rank = tuple[int, float]


def ranks(weight: np.ndarray) -> Rank:
    """Return the numerical rank of a matrix (rows, columns) and its effective rank."""
    singular = np.linalg.svd(weight, compute_uv=False)
    shares = singular[singular > 1e-10 * singular[0]] / singular.sum()
    return shares.size, float(np.exp(-(shares * np.log(shares)).sum()))


def networks(side: int) -> dict[str, ar.Network]:
    """Return the networks of the table by their names."""
    shape = (side, side)
    found: dict[str, ar.Network] = {}
    for layers in (1, 2, 3, 5):
        for layout in ("flat", "interleaved"):
            found[f"brick-wall, {layers} layer{'s' * (layers > 1)}, {layout}"] = ar.BrickWall(
                shape, layers=layers, layout=layout
            )
    for layout in ("flat", "interleaved"):
        found[f"TTN, bond 4, {layout}"] = ar.TTN(shape, chi=4, layout=layout)
        found[f"MERA, bond 2, {layout}"] = ar.MERA(shape, chi=2, layout=layout)
    found["MPO, bond 2"] = ar.MPO(shape, chi=2)
    found["MPO, bond 4"] = ar.MPO(shape, chi=4)
    found["low rank, 1"] = ar.LowRank(shape, rank=1)
    return found


def main(side: int) -> None:
    """Print a line a network."""
    print(f"{'network':32} {'numbers':>8} {'rank':>12} {'effective':>10}   of {side}")
    for name, network in networks(side).items():
        found = [ranks(network.generate(network.init(rng=seed))) for seed in range(3)]
        whole = sorted({rank for rank, _ in found})
        span = str(whole[0]) if len(whole) == 1 else f"{whole[0]} - {whole[-1]}"
        print(f"{name:32} {network.parameter_count:8,} {span:>12} {np.mean([e for _, e in found]):10.0f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 256)
