"""A generated weight as a parametrisation of a module's parameter, by ``torch.nn.utils.parametrize``."""

from collections.abc import Mapping
from typing import Any

from adntn_ref.compression.axes import inverse
from adntn_ref.errors import AdntnError, ParameterError
from adntn_ref.extras import need
from adntn_ref.interop.torch.generator import Generator
from adntn_ref.networks.frozen import frozen_weights, with_frozen

torch: Any = need("torch", "peers")
parametrize: Any = need("torch.nn.utils.parametrize", "peers")

Tensor = Any
Module = Any

FROZEN = "frozen."
"""Before the number of a frozen weight in a ``state_dict``."""


class Cores(torch.nn.Module):  # type: ignore[misc]
    """The cores of a network as parameters under their own names: ``layer0.brick0`` is ``brick0`` of ``layer0``."""

    def __init__(self, params: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.paths = tuple(tuple(name.split(".")) for name in params)
        for path, core in zip(self.paths, params.values(), strict=True):
            place = self
            for part in path[:-1]:
                if part not in place._modules:
                    place.add_module(part, torch.nn.Module())
                place = place._modules[part]
            place.register_parameter(path[-1], torch.nn.Parameter(core, requires_grad=core.requires_grad))

    def as_list(self) -> list[Tensor]:
        """Return the cores in the network's order."""
        found = []
        for path in self.paths:
            place = self
            for part in path:
                place = getattr(place, part)
            found.append(place)
        return found

    def as_dict(self) -> dict[str, Tensor]:
        """Return the cores by name."""
        return dict(zip((".".join(path) for path in self.paths), self.as_list(), strict=True))


class GeneratedWeight(torch.nn.Module):  # type: ignore[misc]
    """The parametrisation: it makes a module's weight from the cores that it holds.

    Parameters
    ----------
    generator : what makes the weight
    cores : its cores; a stack's are shared by all weights that it makes
    part : of a stack, which weight
    axes : axis k of the network's weight is axis ``axes[k]`` of the module's; None where they are the same
    info : JSON-able facts about its fit
    """

    def __init__(
        self,
        generator: Generator,
        cores: Cores,
        part: str = "",
        axes: tuple[int, ...] | None = None,
        info: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.generator, self.cores, self.axes, self.info = generator, cores, axes, info or {}
        self.part, self._number = part, generator.weights.index(part)
        self._turn = inverse(axes)
        self._placed = False

    @property
    def network(self) -> Any:
        """The network."""
        return self.generator.network

    def forward(self, original: Tensor) -> Tensor:
        """Return the weight; ``original`` is the place PyTorch keeps for what is parametrised, and is empty."""
        weight = self.generator.from_cores(self.cores.as_list())[self._number]
        return weight if self._turn is None else weight.permute(self._turn).contiguous()

    def right_inverse(self, value: Tensor) -> Tensor:
        """Return nothing to keep, once; later it refuses a weight that somebody assigns.

        Raises
        ------
        ParameterError
        """
        if self._placed:
            raise ParameterError(
                "a generated weight cannot be assigned: change its cores, or make it a dense one first (fold_)"
            )
        self._placed = True
        return value.new_empty(0)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Put the frozen weights of deltas into the state, beside the cores: without them it is none."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for k, weight in enumerate(frozen_weights(self.network)):
            destination[f"{prefix}{FROZEN}{k}"] = torch.tensor(weight)

    def _load_from_state_dict(
        self, state: dict[str, Any], prefix: str, metadata: Any, strict: bool, missing: Any, unknown: Any, errors: Any
    ) -> None:
        """Take the frozen weights from a state: the network that has them makes the weight from now on."""
        super()._load_from_state_dict(state, prefix, metadata, strict, missing, unknown, errors)
        held = frozen_weights(self.network)
        names = [f"{prefix}{FROZEN}{k}" for k in range(len(held))]
        unknown[:] = [name for name in unknown if name not in names]
        lacking = [name for name in names if name not in state]
        if lacking:
            missing.extend(lacking)
            return
        try:
            network = with_frozen(self.network, [state[name].detach().cpu().numpy() for name in names])
        except (AdntnError, TypeError) as error:  # TypeError: NumPy has no bfloat16
            errors.append(f"{prefix}{FROZEN}*: {error}")
            return
        if network != self.network:
            self.generator = Generator(network, self.generator.backward)

    def extra_repr(self) -> str:
        """Say what makes the weight."""
        part = f", part={self.part!r}" if self.part else ""
        return f"{self.network!r}, backward={self.generator.backward!r}{part}"


def place(module: Module, name: str, generated: GeneratedWeight) -> None:
    """Let a parameter of a module be generated from now on; the parameter itself stays whole for whoever holds it."""
    dense = module._parameters[name]
    _own_class(module)
    delattr(module, name)
    module.register_buffer(name, dense.detach())
    parametrize.register_parametrization(module, name, generated)
    held = module.parametrizations[name]
    held.register_buffer("original", held.original, persistent=False)  # empty: it belongs in no file


def unplace(module: Module, name: str) -> None:
    """Let a generated parameter of a module be a dense one, with the numbers that it has now, in its old place."""
    trained = any(core.requires_grad for core in module.parametrizations[name].parameters())
    before = [other for other in module._parameters if other != name]
    _own_class(module)
    parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    weight = getattr(module, name).detach().clone()
    delattr(module, name)
    module.register_parameter(name, torch.nn.Parameter(weight, requires_grad=trained))
    for other in before:  # a weight stands before its bias, which is how optimisers number them
        module._parameters[other] = module._parameters.pop(other)


def _own_class(module: Module) -> None:
    """Give a parametrised module a class of its own.

    PyTorch makes a class a parametrised module, with a property a weight, and copies of the module share it: a property
    added to one, or taken from one, would be added to and taken from all.
    """
    if parametrize.is_parametrized(module):
        shared = type(module)
        entries = {key: x for key, x in vars(shared).items() if key not in ("__dict__", "__weakref__")}
        module.__class__ = type(shared.__name__, shared.__bases__, entries)


def generated(model: Module) -> dict[str, GeneratedWeight]:
    """Return a model's generated weights by the parameter's name.

    Examples
    --------
    >>> import torch
    >>> from adntn_ref.networks import BrickWall
    >>> from adntn_ref.interop.torch import compress_
    >>> model = torch.nn.Sequential(torch.nn.Linear(6, 4))
    >>> _ = compress_(model, "0", BrickWall((4, 6), layers=2))
    >>> {name: weight.network.parameter_count for name, weight in generated(model).items()}
    {'0.weight': 104}
    """
    return {name: module.parametrizations[key][0] for name, (module, key) in places(model).items()}


def places(model: Module) -> dict[str, tuple[Module, str]]:
    """Return for each generated weight, by its name in the model, the module and its name there."""
    found = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        if parametrize.is_parametrized(module):
            for key, held in module.parametrizations.items():
                if isinstance(held[0], GeneratedWeight):
                    found[f"{prefix}.{key}" if prefix else key] = (module, key)
    return found
