"""The vectors: a versioned set of cases with every intermediate number, shipped as ``index.json`` and ``arrays.npz``.

``load()`` reads and verifies them; ``python -m adntn_ref.validation.vectors generate`` makes them anew, ``check``
compares with what is shipped. The format is described in ``docs/vectors.md``; nothing of this package is needed to
read it.
"""

from .records import FOLDER, Record, Vectors, load

__all__ = ["FOLDER", "Record", "Vectors", "generate", "load"]


def generate(folder: str) -> Vectors:
    """Make the vectors anew, compare every number with its other derivations, and write both files into a folder.

    Raises
    ------
    VectorsDisagree
        If two derivations differ by more than rounding; nothing is written then.
    """
    from .build import generate as build_and_write

    built = build_and_write(folder)
    return Vectors(built.index, built.arrays)
