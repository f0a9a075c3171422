"""Which parameters of a model a pattern names, and which network each of them gets."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from adntn_ref.errors import NothingSelected, SpecError
from adntn_ref.extras import need
from adntn_ref.interop.torch.gradients import check_dtype
from adntn_ref.interop.torch.runners import sharing
from adntn_ref.networks.base import Network
from adntn_ref.networks.stack import Stack

torch: Any = need("torch", "peers")
parametrize: Any = need("torch.nn.utils.parametrize", "peers")

Tensor = Any
Module = Any
Make = Callable[[tuple[int, ...]], Network]


@dataclass(frozen=True)
class Place:
    """A parameter: its module, its name there, and the tensor; None where it is parametrised already."""

    module: Module
    key: str
    tensor: Tensor


def parameters_of(model: Module) -> dict[str, Place]:
    """Return every parameter of a model, tied ones under each of their names, and what is parametrised already."""
    found = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        if "parametrizations" in prefix.split("."):
            continue
        names = {key: tensor for key, tensor in module._parameters.items() if tensor is not None}
        if parametrize.is_parametrized(module):
            names.update(dict.fromkeys(module.parametrizations))
        for key, tensor in names.items():
            found[f"{prefix}.{key}" if prefix else key] = Place(module, key, tensor)
    return found


def select(model: Module, patterns: Iterable[str]) -> dict[str, Place]:
    """Return the weights that globs name, by the parameter's name or by the module's that holds it.

    Biases and other vectors are passed over, where a pattern names a weight too.

    Raises
    ------
    NothingSelected
        For a pattern that names no weight of two axes or more.
    SpecError
        For a weight that is parametrised already, of a recurrent layer, not made yet, or tied to one that is not
        selected.
    """
    known, chosen = parameters_of(model), set()
    for pattern in patterns:
        found = {name for name in known if any(fnmatchcase(x, pattern) for x in (name, name.rpartition(".")[0]))}
        weights = {name for name in found if _is_weight(known[name].tensor)}
        if not weights:
            why = "vectors alone: " + ", ".join(sorted(found)) if found else "none of: " + ", ".join(known)
            raise NothingSelected(f"{pattern!r} names no weight of two axes or more; it matches {why}")
        chosen |= weights
    return by_name(model, chosen)


def by_name(model: Module, names: Iterable[str]) -> dict[str, Place]:
    """Return the weights of the given names, which the model has, in its order; it raises as :func:`select` does."""
    known, wanted = parameters_of(model), set(names)
    places = {name: place for name, place in known.items() if name in wanted}
    for name, place in places.items():
        _require_free(name, place)
    _require_tied_together(known, places)
    return places


def _is_weight(tensor: Tensor | None) -> bool:
    """Return whether a tensor has two axes or more, or cannot say: parametrised, or of a layer that is not made yet."""
    return tensor is None or torch.nn.parameter.is_lazy(tensor) or tensor.ndim > 1


def _require_free(name: str, place: Place) -> None:
    if place.tensor is None:
        raise SpecError(f"{name} is parametrised already; a generated weight is made dense again by fold_")
    if isinstance(place.module, torch.nn.RNNBase):
        raise SpecError(
            f"{name} belongs to a {type(place.module).__name__}, which reads its weights past parametrisations"
        )
    if torch.nn.parameter.is_lazy(place.tensor):
        raise SpecError(f"{name} has no shape before the model has seen an input; call it once first")


def _require_tied_together(known: Mapping[str, Place], places: Mapping[str, Place]) -> None:
    for name, place in places.items():
        for other, its in known.items():
            if its.tensor is place.tensor and other not in places:
                raise SpecError(f"{name} and {other} are one tensor (tied); select both, and both are generated as one")


def networks_for(places: Mapping[str, Place], network: Any, backward: str) -> dict[str, Network]:
    """Return the network of each selected weight, checked before anything is changed.

    ``network`` is one for all, a function of the shape, or a dict of these by the weights' names or globs of them.

    Raises
    ------
    NothingSelected, SpecError, DTypeError, MemoryLimitError, BackendUnavailable
    """
    if isinstance(network, Mapping):
        for key in network:
            if not any(key == name or fnmatchcase(name, key) for name in places):
                raise NothingSelected(f"a network was given for {key!r}; selected are {', '.join(places)}")
    if isinstance(network, Stack):
        _check_stack(network, places)
        found: dict[str, Network] = dict.fromkeys(places, network)
    else:
        found = {name: _network_for(name, tuple(place.tensor.shape), network) for name, place in places.items()}
    for name, net in found.items():
        tensor = places[name].tensor
        net.require_memory(check_dtype(net, tensor.dtype), backward=True)
        if backward == "closed":
            with sharing(tensor):
                pass  # a device that none of our runners knows is refused here
    return found


def _network_for(name: str, shape: tuple[int, ...], network: Any) -> Network:
    if isinstance(network, Mapping):
        keys = [key for key in network if key == name] or [key for key in network if fnmatchcase(name, key)]
        if not keys:
            raise SpecError(f"no network was given for {name}; given are those for {', '.join(network)}")
        network = network[keys[0]]
    made = network if isinstance(network, Network) or not callable(network) else network(shape)
    if not isinstance(made, Network):
        raise SpecError(f"{name} needs a network or a function from shape to network, got a {type(made).__name__}")
    if made.placement.shape != shape or isinstance(made, Stack):
        raise SpecError(f"{name} has shape {shape}, and {made!r} makes {made.placement.shape}")
    return made


def _check_stack(stack: Stack, places: Mapping[str, Place]) -> None:
    wanted = dict(stack.shapes)
    found = {name: tuple(place.tensor.shape) for name, place in places.items()}
    if found != wanted:
        raise SpecError(f"the stack makes {wanted}, selected are {found}")
    kinds = {(place.tensor.dtype, place.tensor.device) for place in places.values()}
    if len(kinds) > 1:
        raise SpecError(f"the weights of a stack need one dtype and device, got {sorted(map(str, kinds))}")
