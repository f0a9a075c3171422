"""Generated weights that are kept until their cores change."""

from typing import Any

import numpy as np

from adntn_ref.ad.arrays import Array, backend_of
from adntn_ref.ad.tape import is_raw
from adntn_ref.ad.trees import leaves
from adntn_ref.nn.models import Model, Params

Key = tuple[Any, ...]


class CachedWeights:
    """The dense parameters of a model, generated again only where cores have changed.

    Whether they have is seen from their numbers, byte by byte, not from which arrays they are: cores that were changed
    in place give a new weight, equal cores in other arrays the old one. Cores are small, so that this costs little
    beside a product with the weight. NumPy weights are handed out read-only, for they are the cache's own.

    Calls with tape variables go past the cache.

    Parameters
    ----------
    model : generated or dense model

    Examples
    --------
    >>> import adntn_ref as ar
    >>> model = ar.Generated(ar.fc2(hidden=8), {"fc1.weight": ar.BrickWall((8, 784), layers=2)})
    >>> params = {**model.model.init(0), "fc1.weight": model.networks[0][1].init(0, dtype="float32")}
    >>> cached = CachedWeights(model)
    >>> first = cached.expand(params)["fc1.weight"]
    >>> cached.expand(params)["fc1.weight"] is first
    True
    >>> params["fc1.weight"]["layer1.brick0"] *= 2.0
    >>> cached.expand(params)["fc1.weight"] is first
    False
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._networks = dict(getattr(model, "networks", ()))
        self._kept: dict[str, tuple[Key, Array]] = {}

    def expand(self, params: Params) -> Params:
        """Return the dense model's parameters; like :meth:`Generated.expand`, which see for errors."""
        if not is_raw(*leaves(params)):
            return self.model.expand(params)
        return {name: self._weight(name, value) if name in self._networks else value for name, value in params.items()}

    def __call__(self, params: Params, x: Array) -> Array:
        """Apply the model to a batch."""
        return getattr(self.model, "model", self.model)(self.expand(params), x)

    def put(self, params: Params, dense: Params) -> None:
        """Keep weights that were generated elsewhere from these cores."""
        for name in self._networks.keys() & params.keys():
            self._keep(name, _key(params[name]), dense[name])

    def take(self, params: Params) -> Params:
        """Return what :meth:`expand` does, and keep nothing any longer."""
        dense = self.expand(params)
        self.forget()
        return dense

    def forget(self) -> None:
        """Let go of all weights."""
        self._kept.clear()

    def _weight(self, name: str, cores: Params) -> Array:
        network = self._networks[name]
        network.check_params(cores)
        key = _key(cores)
        if name in self._kept and self._kept[name][0] == key:
            return self._kept[name][1]
        self._kept.pop(name, None)  # two weights at once would take twice the memory
        return self._keep(name, key, network.generate(cores))

    def _keep(self, name: str, key: Key, weight: Array) -> Array:
        if isinstance(weight, np.ndarray):
            weight = weight.view()
            weight.flags.writeable = False
        self._kept[name] = (key, weight)
        return weight


def _key(cores: Params) -> Key:
    """Return names, dtypes and bytes of cores; shapes are the network's."""
    hosts = ((name, backend_of(core).to_host(core)) for name, core in cores.items())
    return tuple((name, host.dtype.str, host.tobytes()) for name, host in sorted(hosts, key=lambda pair: pair[0]))
