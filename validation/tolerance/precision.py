"""What a working precision is: unit roundoff, smallest and largest numbers."""

from dataclasses import dataclass

from adntn_ref.errors import DTypeError


@dataclass(frozen=True)
class Precision:
    """A binary floating-point format, rounding to nearest.

    Attributes
    ----------
    name : name of the dtype
    unit : unit roundoff u: the result of one operation is off by at most u times itself
    least : largest absolute error of a result too small for that. Where subnormal numbers are commonly flushed to
        zero (single precision and bfloat16, on many devices) this is the smallest normal number, else half the
        smallest subnormal one
    most : largest finite number
    complex : whether its numbers are complex
    """

    name: str
    unit: float
    least: float
    most: float
    complex: bool = False


_SINGLE = (2.0**-24, 2.0**-126, (2 - 2.0**-23) * 2.0**127)
_DOUBLE = (2.0**-53, 2.0**-1022, (2 - 2.0**-52) * 2.0**1023)

PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision("float64", *_DOUBLE),
        Precision("complex128", *_DOUBLE, complex=True),
        Precision("float32", *_SINGLE),
        Precision("complex64", *_SINGLE, complex=True),
        Precision("float16", 2.0**-11, 2.0**-25, 65504.0),
        Precision("bfloat16", 2.0**-8, 2.0**-126, (2 - 2.0**-7) * 2.0**127),
    )
}
"""The precisions by name."""


def precision_of(dtype: str) -> Precision:
    """Return the precision called ``dtype``.

    Raises
    ------
    DTypeError
        For another name.

    Examples
    --------
    >>> precision_of("bfloat16").unit == 2**-8
    True
    """
    if dtype not in PRECISIONS:
        raise DTypeError(f"no rounding model for dtype {dtype!r}; there is one for {', '.join(PRECISIONS)}")
    return PRECISIONS[dtype]
