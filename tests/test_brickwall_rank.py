"""The rank of a brick-wall's matrix: in flat modes one brick a layer crosses the border of rows and columns."""

import numpy as np
import pytest

import adntn_ref as ar


def _rank(shape: tuple[int, int], **options: object) -> int:
    net = ar.BrickWall(shape, activation="identity", **options)  # type: ignore[arg-type]
    return int(np.linalg.matrix_rank(net.generate(net.init(rng=5))))


@pytest.mark.parametrize(
    ("shape", "layers", "boundary", "most"),
    [
        ((32, 64), 1, "constant", 2),  # an even brick at the border: it acts on a product state
        ((64, 64), 1, "constant", 4),  # an odd one
        ((64, 16), 1, "constant", 4),
        ((64, 64), 2, "constant", 16),
        ((32, 128), 2, "constant", 8),
        ((32, 64), 1, "trainable", 2),
    ],
)
def test_rank_in_flat_modes(shape: tuple[int, int], layers: int, boundary: str, most: int) -> None:
    assert _rank(shape, layers=layers, boundary=boundary) == most


@pytest.mark.parametrize("shape", [(32, 64), (64, 64), (64, 16)])
def test_interleaved_modes_have_full_rank(shape: tuple[int, int]) -> None:
    assert _rank(shape, layers=1, layout="interleaved") == min(shape)


def test_modes_that_cross_the_border_are_not_bound_by_it() -> None:
    assert _rank((3, 21), layers=1) == 3  # 2 x 2 x ... modes, so that rows do not end at a mode
