"""Where each entry of the weight stands in the generated tensor, right and wrong."""

from collections.abc import Sequence
from math import prod
from typing import Any

from .parts import Impossible, Positions, Wrong, numbers


def places_of(spec: dict[str, Any], dims: Sequence[int], wrong: Wrong) -> Positions:
    """Return the place of each entry of the weight in the last state, read in C order.

    Parameters
    ----------
    spec : specification with ``shape``, and ``modes`` or ``row_modes`` and ``col_modes``
    dims : sizes of the last state's indices
    wrong : names of mistakes
    """
    tensor = numbers(dims)
    if "modes-reversed" in wrong:
        tensor = tensor.transpose()
    vector = tensor.reshape(-1)
    shape = tuple(spec["shape"])
    if spec["network"] == "mpo":  # its modes stand interleaved, whatever is said of layouts
        kept = tuple(name for name in wrong if name != "interleaved-column-first")
        return _block(_matrix(spec, vector, "interleaved", kept), shape, wrong)
    layout = spec.get("layout", "flat")
    if layout == "flat" or "layout-as-flat" in wrong:
        return _flat(vector, shape, wrong)
    return _block(_matrix(spec, vector, layout, wrong), shape, wrong)


def _fill(vector: Positions, shape: tuple[int, ...], wrong: Wrong) -> Positions:
    return vector.reshape(shape, order="F" if "fortran-order" in wrong else "C")


def _flat(vector: Positions, shape: tuple[int, ...], wrong: Wrong) -> Positions:
    """Return the first N numbers, reshaped."""
    count = prod(shape)
    if "padding-front" in wrong:
        return _fill(vector[len(vector) - count :], shape, wrong)
    if "padding-per-row" in wrong and len(shape) > 1:
        rows, columns = shape[0], prod(shape[1:])
        wide = len(vector) // rows
        return vector[: rows * wide].reshape(rows, wide)[:, :columns].reshape(shape)
    return _fill(vector[:count], shape, wrong)


def _matrix(spec: dict[str, Any], vector: Positions, layout: str, wrong: Wrong) -> Positions:
    """Return the matrix of all row modes times all column modes."""
    rows, columns = tuple(spec["row_modes"]), tuple(spec["col_modes"])
    if layout == "interleaved" and "interleaved-as-axes" not in wrong:
        places = _interleaved(len(rows), len(columns), "interleaved-column-first" in wrong)
        sizes = (*rows, *columns)
        order = sorted(range(len(sizes)), key=lambda mode: places[mode])
        if tuple(sizes[mode] for mode in order) != tuple(sizes[mode] for mode in _right_order(rows, columns)):
            raise Impossible("row and column modes differ in size")
        vector = vector.reshape([sizes[mode] for mode in order]).transpose(places).reshape(-1)
    return _fill(vector, (prod(rows), prod(columns)), wrong)


def _interleaved(rows: int, columns: int, column_first: bool) -> list[int]:
    """Return for each row mode, then each column mode, its place in row, column, row, column, ..."""
    turns = sorted(
        [(k, column_first, "row", k) for k in range(min(rows, columns))]
        + [(k, not column_first, "column", k) for k in range(min(rows, columns))]
    )
    order = [(kind, k) for _, _, kind, k in turns]
    order += [("row", k) for k in range(columns, rows)] + [("column", k) for k in range(rows, columns)]
    modes = [("row", k) for k in range(rows)] + [("column", k) for k in range(columns)]
    return [order.index(mode) for mode in modes]


def _right_order(rows: tuple[int, ...], columns: tuple[int, ...]) -> list[int]:
    places = _interleaved(len(rows), len(columns), False)
    return sorted(range(len(places)), key=lambda mode: places[mode])


def _block(matrix: Positions, shape: tuple[int, ...], wrong: Wrong) -> Positions:
    """Return the first rows and columns, those of the weight."""
    rows, columns = shape[0], prod(shape[1:])
    if "padding-front" in wrong:
        return matrix[matrix.shape[0] - rows :, matrix.shape[1] - columns :].reshape(shape)
    return matrix[:rows, :columns].reshape(shape)
