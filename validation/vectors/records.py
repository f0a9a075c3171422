"""The vectors as they are read: cases with what is expected, starts, losses and fits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adntn_ref.errors import NothingSelected

from ..case import Array, Case
from .store import SECTIONS, Index, read

FOLDER = Path(__file__).parent


@dataclass(frozen=True, eq=False)
class Record:
    """One entry of the index with its arrays; ``facts`` is the entry, ``arrays`` are by their names in it."""

    section: str
    facts: dict[str, Any]
    arrays: dict[str, Array]

    @property
    def name(self) -> str:
        """The unique name."""
        return str(self.facts["name"])

    def under(self, *groups: str) -> dict[str, Array]:
        """Return the arrays of some groups, ``params`` say, by their names without the group."""
        return {
            name.removeprefix(f"{group}/"): array
            for group in groups
            for name, array in self.arrays.items()
            if name.startswith(f"{group}/")
        }

    @property
    def case(self) -> Case:
        """The case of an entry of ``cases``: what a candidate is given."""
        cotangent = self.arrays.get("cotangent")
        given = self.under("cotangent") if cotangent is None else cotangent
        return Case(self.name, self.facts["spec"], self.under("params"), given, self.facts["note"])

    @property
    def expected(self) -> dict[str, Array]:
        """Every quantity of a case: ``weight``, ``gradient/CORE``, ``state/STEP``, ``adjoint/STEP``."""
        given = ("params/", "cotangent")
        return {name: array for name, array in self.arrays.items() if not name.startswith(given)}


class Vectors:
    """The vectors; iterating gives (case, expected quantities) for every network case.

    ``cases``, ``starts``, ``losses`` and ``fits`` are tuples of :class:`Record`; ``vectors[name]`` finds one by name.
    """

    def __init__(self, index: Index, arrays: Mapping[str, Array]) -> None:
        self.index = index
        self._records: dict[str, Record] = {}
        for section in SECTIONS:
            for facts in index[section]:
                own = {name: arrays[f"{facts['name']}/{name}"] for name in facts["arrays"]}
                self._records[facts["name"]] = Record(section, facts, own)

    def _section(self, section: str) -> tuple[Record, ...]:
        return tuple(record for record in self._records.values() if record.section == section)

    @property
    def records(self) -> tuple[Record, ...]:
        """Every entry, in the order of the index."""
        return tuple(self._records.values())

    @property
    def cases(self) -> tuple[Record, ...]:
        """The network cases."""
        return self._section("cases")

    @property
    def starts(self) -> tuple[Record, ...]:
        """The starts: normal numbers, and the cores that they become."""
        return self._section("starts")

    @property
    def losses(self) -> tuple[Record, ...]:
        """The losses."""
        return self._section("losses")

    @property
    def fits(self) -> tuple[Record, ...]:
        """The fits, with every step."""
        return self._section("fits")

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[tuple[Case, dict[str, Array]]]:
        return ((record.case, record.expected) for record in self.cases)

    def __getitem__(self, name: str) -> Record:
        if name not in self._records:
            raise NothingSelected(f"there is no vector {name!r}; python -m adntn_ref.validation.vectors list shows all")
        return self._records[name]


def load(folder: str | Path | None = None) -> Vectors:
    """Read the vectors that are shipped, or those of another folder, and verify every array by its sha256.

    Raises
    ------
    FileFormatError
        For files that are missing, truncated, altered, or of a newer format version.

    Examples
    --------
    >>> vectors = load()
    >>> case, expected = next(iter(vectors))
    >>> case.name, sorted(expected)
    ('brickwall/one-brick', ['adjoint/layer0.even', 'gradient/layer0.brick0', 'state/layer0.even', 'weight'])
    """
    return Vectors(*read(FOLDER if folder is None else folder))
