"""Every error a user can meet.

Each says what was got and what is allowed. All derive from :class:`AdntnError` and from the built-in exception that a
caller would expect, so that ``except ValueError`` keeps working. ``exit_code`` is what the command line returns:
2 for input that cannot be used, 1 for work that was begun and failed.

What a message quotes may come from a file that anybody wrote: it is shown without what a terminal would obey, and a
message of more than 3,000 characters is cut.
"""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 3000
"""Characters of a message that are shown."""


def printable(text: str) -> str:
    r"""Return a text without what a terminal would obey; lines stay lines.

    Examples
    --------
    >>> printable("a\x1b[2Jb") == "a\ufffd[2Jb"
    True
    """
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


class AdntnError(Exception):
    """Base of every error raised on purpose by adntn_ref."""

    exit_code = 2

    def __str__(self) -> str:
        """Return the message, fit to be printed."""
        text = super().__str__()
        shown = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
        return printable(shown)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return words that propose at most three known names for an unknown one; empty where none is like it.

    Examples
    --------
    >>> nearest("fc1.weigth", ["conv1.weight", "fc1.weight"])
    '; did you mean fc1.weight?'
    >>> nearest("fc1", ["conv1.weight", "fc1.weight"])
    '; did you mean fc1.weight?'
    """
    names = list(known)
    found = [other for other in names if name and name in other] or get_close_matches(name, names, 3, 0.8)
    return f"; did you mean {', '.join(found[:3])}?" if found else ""


class SpecError(AdntnError, ValueError):
    """A specification that describes no network: shape, modes, layers, names."""


class ConfigError(AdntnError, ValueError):
    """A configuration of an experiment or a sweep that has something unknown, missing or of a wrong kind."""


class RecordError(AdntnError, ValueError):
    """A record on disk that is of another experiment, in use by another process, or broken."""


class SweepError(AdntnError, RuntimeError):
    """A sweep that cannot go on: its workers are lost, or a task fails again and again; what is done is recorded."""

    exit_code = 1


class ParameterError(AdntnError, ValueError):
    """Parameters that do not fit their network: missing, extra or misnamed cores, wrong shapes."""


class ArrayError(AdntnError, ValueError):
    """An array of a wrong shape, or one that is empty where it must not be."""


class DTypeError(AdntnError, TypeError):
    """An array of a dtype that is not allowed here; nothing is ever cast silently."""


class NonFiniteError(AdntnError, ValueError):
    """NaN or infinity where only finite numbers make sense."""


class TapeError(AdntnError, TypeError):
    """A tape variable used in a way that would lose its gradient."""


class StartError(AdntnError, ValueError):
    """No start keeps this network alive: some state is zero for every parameter drawn."""


class DivergedError(AdntnError, ArithmeticError):
    """A fit whose loss or gradient stopped being finite; ``best`` holds the best parameters before that."""

    exit_code = 1
    best: object = None


class MemoryLimitError(AdntnError, MemoryError):
    """Planned work that would not fit the memory limit; raised before anything is allocated."""


class DeviceMemoryError(AdntnError, MemoryError):
    """A device whose memory was full in the middle of work; the message says what was planned."""

    exit_code = 1


class BackendUnavailable(AdntnError, RuntimeError):
    """An array backend that is unknown, not installed, or without its device."""


class MissingExtra(AdntnError, ImportError):
    """An optional package is needed; the message names the extra that installs it."""


class DataError(AdntnError, ValueError):
    """A data set that is missing, truncated or not what it claims to be."""


class TestPartReopened(AdntnError, RuntimeError):
    """The test part of a data set was asked for twice in one experiment."""

    __test__ = False  # not a pytest class, whatever its name


class FileFormatError(AdntnError, ValueError):
    """A file that is truncated, of another kind, of a newer format version, or inconsistent."""


class OutputError(AdntnError, OSError):
    """An output path that exists already or cannot be written."""


class WriteError(OutputError):
    """A disk that is full or fails in the middle of work; what was there before is untouched."""

    exit_code = 1


class NothingSelected(AdntnError, LookupError):
    """A glob or a name that matches no tensor."""


class CandidateError(AdntnError, RuntimeError):
    """An implementation to be verified that cannot be started, or lacks the functions or files asked for."""


class DisagreementError(AdntnError, ArithmeticError):
    """A benchmark's candidate that computes something else than the package; it is not timed."""

    exit_code = 1
