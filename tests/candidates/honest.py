"""Computes everything right, by the package itself, states and adjoints too."""

from typing import Any

from adntn_ref.networks import ProgramNetwork
from adntn_ref.validation.case import cores_of, network_of


def generate(spec: dict[str, Any], params: dict[str, Any]) -> Any:
    return network_of(spec, params).generate(cores_of(params))


def vjp(spec: dict[str, Any], params: dict[str, Any], cotangent: Any) -> Any:
    return network_of(spec, params).vjp(cores_of(params))[1](cotangent)


def states(spec: dict[str, Any], params: dict[str, Any]) -> Any:
    net = network_of(spec, params)
    if not isinstance(net, ProgramNetwork):
        raise NotImplementedError
    return net.forward_states(cores_of(params))


def adjoint_states(spec: dict[str, Any], params: dict[str, Any], cotangent: Any) -> Any:
    net = network_of(spec, params)
    if not isinstance(net, ProgramNetwork):
        raise NotImplementedError
    return net.adjoint_states(cores_of(params), cotangent)
