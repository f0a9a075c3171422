"""Has one of the two functions."""

from honest import generate

__all__ = ["generate"]
