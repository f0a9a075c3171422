"""The models in torch: modules of ``torch.nn``, generated weights put in their parameters' places."""

from collections import OrderedDict
from typing import Any

from adntn_ref.nn.layers import Activation, Conv2d, Flatten, Layer, Linear, MaxPool
from adntn_ref.nn.models import Generated, Model, Sequential

from ..adapters.torch_adapter import torch
from .candidate import Prepared
from .torch_side import Author
from .workload import Answer, Array


def module(layer: Layer) -> Any:
    """Return torch's module of a layer."""
    nn = torch.nn
    if isinstance(layer, Conv2d):
        sizes = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation, "groups": layer.groups}
        return nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel, bias=layer.bias, **sizes)
    if isinstance(layer, Linear):
        return nn.Linear(layer.inputs, layer.outputs, bias=layer.bias)
    if isinstance(layer, MaxPool):
        return nn.MaxPool2d(layer.kernel, layer.stride, layer.padding)
    if isinstance(layer, Flatten):
        return nn.Flatten()
    if isinstance(layer, Activation) and layer.name == "relu":
        return nn.ReLU()
    raise NotImplementedError(f"{layer!r} in torch")


def sequential(model: Sequential) -> Any:
    """Return a model's ``torch.nn.Sequential``; its parameters have the same names."""
    return torch.nn.Sequential(OrderedDict((name, module(layer)) for name, layer in model.layers))


def prepare(model: Model, params: dict[str, Any], images: Array, labels: Array, rate: float) -> Prepared:
    """Return a training step with ``torch.optim.Adam``, as it is by default."""
    networks = {name: net.to_spec() for name, net in model.networks} if isinstance(model, Generated) else {}
    net = sequential(model.model if isinstance(model, Generated) else model)
    if images.dtype == "float64":
        net = net.double()
    dense = {name: value for name, value in params.items() if name not in networks}
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name in dense:
                parameter.copy_(torch.from_numpy(dense[name]))
    trained = {name: p for name, p in net.named_parameters() if name in dense}
    cores = {
        weight: {name: torch.tensor(core, requires_grad=True) for name, core in params[weight].items()}
        for weight in networks
    }
    trained |= {f"{weight}/{name}": core for weight, each in cores.items() for name, core in each.items()}
    optimiser = torch.optim.Adam(list(trained.values()), lr=rate)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)

    def run() -> Any:
        optimiser.zero_grad()
        made = {name: Author().weight(spec, cores[name]) for name, spec in networks.items()}
        logits = torch.func.functional_call(net, made, (x,)) if made else net(x)
        loss = torch.nn.functional.cross_entropy(logits, y)
        loss.backward()
        optimiser.step()
        return loss

    def answer(loss: Any) -> Answer:
        return Answer(float(loss.detach()), {name: p.grad.numpy().copy() for name, p in trained.items()})

    return Prepared(run, answer)
