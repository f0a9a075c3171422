"""A configuration made concrete: the model, and the networks of every row. Everything is checked here, before work."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

from adntn_ref.errors import ConfigError, NothingSelected, SpecError
from adntn_ref.experiments.catalogue import check_folder, make_model
from adntn_ref.experiments.config import Config
from adntn_ref.networks.base import Network
from adntn_ref.nn.models import Sequential, select


@dataclass(frozen=True)
class Plan:
    """What an experiment does.

    Parameters
    ----------
    config : the configuration
    model : the dense model
    networks : row -> weight -> network; the first row is the experiment's own, the others its rivals
    """

    config: Config
    model: Sequential
    networks: dict[str, dict[str, Network]]

    @property
    def row(self) -> str:
        """The experiment's own row."""
        return self.config.network.row

    @property
    def layers(self) -> tuple[str, ...]:
        """The weights that are generated, in the order of compression."""
        return tuple(self.networks[self.row])

    @cached_property
    def weights(self) -> int:
        """The number of generated entries."""
        return sum(prod(self.model.param_shapes[name]) for name in self.layers)

    def parameters(self, row: str) -> int:
        """Return the numbers that a row makes them from: all of them for the dense row, none for the frozen one."""
        if row in self.networks:
            return sum(network.parameter_count for network in self.networks[row].values())
        return self.weights if row == "dense" else 0

    def model_parameters(self, row: str) -> int:
        """Return all numbers that a row's model is stored with; frozen random weights are stored as a seed."""
        return self.model.parameter_count - self.weights + self.parameters(row)

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows of the table."""
        return ("dense", *self.networks, "frozen_random")

    def label(self, row: str) -> str:
        """Return what people call a row."""
        labels = {choice.row: choice.label for choice in (self.config.network, *self.config.rivals)}
        labels.update(dense="dense", frozen_random="frozen at random (control)")
        given = {choice.row: choice.row != choice.name for choice in (self.config.network, *self.config.rivals)}
        return f"{row} ({labels[row]})" if given.get(row) else labels[row]


def make_plan(config: Config, data_too: bool = True) -> Plan:
    """Check a configuration against its model and data set, and make the networks.

    ``data_too=False`` leaves the data's folder unchecked, to look at an experiment whose data are elsewhere.

    Raises
    ------
    ConfigError, SpecError
        For weights that the model does not have, networks that cannot make them, a data folder that is missing.
    """
    model = make_model(config.model.name, config.data.name, config.model.options, config.data.size)
    if data_too:
        check_folder(config.data.name, config.data.folder)
    layers: list[str] = []
    try:
        for pattern in config.compress.layers:
            layers += [name for name in select(model.param_shapes, [pattern]) if name not in layers]
        select(model.param_shapes, config.stage2.frozen)
    except NothingSelected as error:
        raise ConfigError(f"the model {config.model.name}: {error}") from error
    for choice in (config.network, *config.rivals):
        if unknown := [name for name in choice.layer if name not in layers]:
            raise ConfigError(f"{choice.row}.layer: {', '.join(unknown)} is not compressed; {', '.join(layers)} are")
    networks: dict[str, dict[str, Network]] = {}
    for choice in (config.network, *config.rivals):
        row: dict[str, Network] = {}
        for name in layers:
            most = networks[config.network.row][name].parameter_count if networks else None
            try:
                row[name] = choice.network(name, model.param_shapes[name], most)
            except SpecError as error:
                raise ConfigError(f"{choice.row} cannot make {name}: {error}") from error
        networks[choice.row] = row
    return Plan(config, model, networks)
