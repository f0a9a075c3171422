"""What a benchmark finds: rows of figures with their samples, numbers derived from them, and goals beside them."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Row:
    """One piece of work.

    Attributes
    ----------
    label : how the row is called
    facts : what the work is: ``q``, ``layers``, ``dtype``, ...
    values : column -> figure in the table's unit
    samples : column -> what the figure is the median of
    numbers : name -> number derived from the values, such as ``"ours / torch author"``
    left_out : column -> why there is no figure
    """

    label: str
    facts: dict[str, Any]
    values: dict[str, float] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def ratios_to(self, mine: str, others: list[str] | None = None, name: str = "ours") -> None:
        """Add ``"ours / other"`` for every other column there is a figure for."""
        for other in self.values if others is None else others:
            if other != mine and other in self.values and mine in self.values:
                self.numbers[f"{name} / {other}"] = self.values[mine] / self.values[other]


@dataclass
class Table:
    """Rows of one subject.

    Attributes
    ----------
    name : what ``--table`` calls it
    title : one line
    unit : of the values: ``"ms"``, ``"x output"``
    first : head of the column of labels
    columns : the columns in order; more are added as rows have them
    shown : derived numbers that get a column of their own
    notes : lines below the table
    """

    name: str
    title: str
    unit: str
    first: str
    rows: list[Row] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """The columns that some row has a figure for, or a reason for none, in the order in which they first come."""
        return list(dict.fromkeys(name for row in self.rows for name in (*row.values, *row.left_out)))
