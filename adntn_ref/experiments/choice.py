"""A network chosen in a configuration, for weights whose shapes are known later."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adntn_ref.errors import ConfigError
from adntn_ref.experiments.checks import check_table, count, one_of, text
from adntn_ref.networks.base import Network
from adntn_ref.networks.combination import MAX_PARTS
from adntn_ref.networks.combine import Split, Sum
from adntn_ref.networks.registry import NETWORKS, from_spec, size_field
from adntn_ref.networks.sizes import at_most

COMBINE = ("split", "sum")
_OURS = ("name", "row", "parameters", "parts", "combine", "layer")


@dataclass(frozen=True)
class Choice:
    """A network by name with the entries of its specification, but the shape.

    Parameters
    ----------
    name : as in specifications, ``"brickwall"`` for instance
    row : what its row is called, by default the name
    entries : of the specification: size, layout, activation, ...
    parameters : the most parameters a weight may have, instead of a size
    parts, combine : so many networks for each weight, which each make a chunk of it (``"split"``) or are added
        (``"sum"``)
    layer : weight -> entries for this weight alone
    """

    name: str
    row: str = ""
    entries: Mapping[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    parts: int = 1
    combine: str = "split"
    layer: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "row", self.row or self.name)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict that :func:`choice_of` reads back."""
        found: dict[str, Any] = {"name": self.name, "row": self.row, **self.entries}
        if self.parameters is not None:
            found["parameters"] = self.parameters
        if self.parts > 1:
            found.update(parts=self.parts, combine=self.combine)
        if self.layer:
            found["layer"] = {name: dict(entries) for name, entries in self.layer.items()}
        return found

    @property
    def label(self) -> str:
        """Name and size, ``brickwall 5``; "at equal count" where the size follows from another network's."""
        size = self.entries.get(size_field(self.name))
        if size is None:
            size = f"<= {self.parameters:,}" if self.parameters else "at equal count"
        return f"{self.name} {size}" + (f", {self.combine} of {self.parts}" if self.parts > 1 else "")

    def network(self, weight: str, shape: tuple[int, ...], parameters: int | None = None) -> Network:
        """Return the network for a weight; one without a size has at most ``parameters`` parameters.

        Raises
        ------
        SpecError
            If there is no such network for this shape.
        """
        entries = {**self.entries, **self.layer.get(weight, {})}
        limit = entries.pop("parameters", self.parameters) or parameters
        if size_field(self.name) in entries:
            limit = None
        elif limit is None:
            raise ConfigError(f"the network {self.row} has neither {size_field(self.name)} nor parameters")

        def make(piece: tuple[int, ...]) -> Network:
            if limit is not None:
                return at_most(self.name, piece, parameters=max(1, limit // self.parts), **entries)
            return from_spec({"network": self.name, "shape": list(piece), **entries})

        if self.parts == 1:
            return make(shape)
        if self.combine == "sum":
            return Sum(*[make(shape)] * self.parts)
        return Split(shape, self.parts, make)


def choice_of(place: str, table: Any, needs_size: bool = False) -> Choice:
    """Read a table of a configuration.

    Raises
    ------
    ConfigError
        For an unknown network, entries it does not have, or (``needs_size``) no size at all.
    """
    if not isinstance(table, Mapping) or "name" not in table:
        raise ConfigError(f"{place} must be a table with a name, one of {', '.join(NETWORKS)}")
    name = one_of("network", NETWORKS)(f"{place}.name", table["name"])
    own = tuple(key for key in NETWORKS[name][1] if key != "shape")
    check_table(place, table, (*_OURS, *own), ())
    layer, least = table.get("layer", {}), count(1)
    check_table(f"{place}.layer", layer, tuple(layer) if isinstance(layer, Mapping) else (), ())
    for weight, entries in layer.items():
        check_table(f"{place}.layer.{weight}", entries, ("parameters", *own), ())
        if "parameters" in entries:
            least(f"{place}.layer.{weight}.parameters", entries["parameters"])
    size = size_field(name)
    if size in table and "parameters" in table:
        raise ConfigError(f"{place} has both {size} and parameters; give one")
    if needs_size and size not in table and "parameters" not in table:
        raise ConfigError(f"{place} needs {size} or parameters")
    if (parts := least(f"{place}.parts", table.get("parts", 1))) > MAX_PARTS:
        raise ConfigError(f"{place}.parts must be at most {MAX_PARTS:,}, got {parts}")
    return Choice(
        name,
        _row(place, table),
        {key: table[key] for key in own if key in table},
        least(f"{place}.parameters", table["parameters"]) if "parameters" in table else None,
        parts,
        one_of("way to combine", COMBINE)(f"{place}.combine", table.get("combine", "split")),
        {weight: dict(entries) for weight, entries in layer.items()},
    )


def _row(place: str, table: Mapping[str, Any]) -> str:
    """Return the row's name, which becomes a file's name too."""
    row = text(f"{place}.row", table.get("row", table["name"]))
    if not row or len(row) > 100 or not all(c.isalnum() or c in "_-+." for c in row) or row.startswith("."):
        raise ConfigError(f"{place}.row must consist of letters, digits and _-+., 100 at most, got {row!r}")
    return row
