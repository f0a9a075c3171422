"""Models as JSON-able descriptions, and back: layers by their class's name and its fields.

A description says what a :class:`~adntn_ref.nn.models.Sequential` is made of and nothing else, so reading one runs no
code but the layers' own checks.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from adntn_ref.errors import AdntnError, SpecError
from adntn_ref.nn.attention import EncoderLayer, MeanToken, PositionEmbedding, Tokens
from adntn_ref.nn.layers import Activation, AvgPool, Conv2d, Dropout, Flatten, Layer, Linear, MaxPool
from adntn_ref.nn.models import Sequential
from adntn_ref.nn.normalisation import BatchNorm, LayerNorm, LocalResponseNorm

LAYERS: dict[str, type[Any]] = {
    layer.__name__: layer
    for layer in (
        *(Linear, Conv2d, MaxPool, AvgPool, Flatten, Activation, Dropout, BatchNorm, LayerNorm, LocalResponseNorm),
        *(EncoderLayer, Tokens, PositionEmbedding, MeanToken),
    )
}
"""Every layer that a description may name."""

MAX_LAYERS = 100_000
KEYS = {"name": "activation"}
"""What a field is called beside the layer's own name."""


def describe(model: Sequential) -> dict[str, Any]:
    """Return ``{"in_shape": [...], "layers": [{"name": ..., "kind": "Conv2d", ...}, ...]}``.

    Raises
    ------
    SpecError
        For a layer of another class than those of :data:`LAYERS`.

    Examples
    --------
    >>> describe(Sequential((3,), (("fc", Linear(3, 2, bias=False)),)))["layers"]
    [{'name': 'fc', 'kind': 'Linear', 'inputs': 3, 'outputs': 2, 'bias': False}]
    """
    layers = []
    for name, layer in model.layers:
        if LAYERS.get(type(layer).__name__) is not type(layer):
            raise SpecError(f"layer {name} is a {type(layer).__name__}; a description may hold {', '.join(LAYERS)}")
        known: Any = layer
        values = {KEYS.get(f.name, f.name): _plain(getattr(layer, f.name)) for f in fields(known)}
        layers.append({"name": name, "kind": type(layer).__name__, **values})
    return {"in_shape": list(model.in_shape), "layers": layers}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def model_from(description: Mapping[str, Any]) -> Sequential:
    """Return the model of a description.

    Raises
    ------
    SpecError
        For what :func:`describe` never returns: unknown layers and fields, values of a wrong kind.
    ArrayError
        If a layer cannot take what the one before it makes.

    Examples
    --------
    >>> model = Sequential((3,), (("fc", Linear(3, 2)),))
    >>> model_from(describe(model)) == model
    True
    """
    shape, layers = (description.get(key) for key in ("in_shape", "layers"))
    if not isinstance(shape, list) or not shape or not all(type(n) is int and n > 0 for n in shape):
        raise SpecError(f"in_shape of a model must be a list of integers >= 1, got {shape!r}")
    if not isinstance(layers, list) or len(layers) > MAX_LAYERS:
        raise SpecError(f"layers of a model must be a list, of at most {MAX_LAYERS:,}, got {type(layers).__name__}")
    return Sequential(tuple(shape), tuple(_layer(k, facts) for k, facts in enumerate(layers)))


def _layer(k: int, facts: Any) -> tuple[str, Layer]:
    texts = isinstance(facts, dict) and all(isinstance(facts.get(key), str) for key in ("name", "kind"))
    if not texts or facts["kind"] not in LAYERS:
        raise SpecError(f"layer {k} must be a table with a name and a kind of {', '.join(LAYERS)}, got {facts!r:.200}")
    name, made = facts["name"], LAYERS[facts["kind"]]
    values = {key: value for key, value in facts.items() if key not in ("name", "kind")}
    known = {KEYS.get(field.name, field.name): field for field in fields(made)}
    unknown = sorted(values.keys() - known.keys())
    missing = sorted(key for key, field in known.items() if field.default is MISSING and key not in values)
    if unknown or missing:
        raise SpecError(f"layer {name!r}, {facts['kind']}: unknown {unknown}, missing {missing}")
    for key, value in values.items():
        kind: Any = known[key].type
        if not _fits(value, kind):
            what = getattr(kind, "__name__", str(kind))
            raise SpecError(f"layer {name!r}, {facts['kind']}: {key} must be {what}, got {value!r:.200}")
    arguments = {known[key].name: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    try:
        return name, made(**arguments)
    except AdntnError as error:
        raise SpecError(f"layer {name!r}: {error}") from error


def _fits(value: Any, kind: Any) -> bool:
    """Whether a JSON value is of a field's annotated kind: a number, a word, or one integer or two."""
    if kind in (int, bool, str):
        return type(value) is kind
    if kind is float:
        return type(value) in (int, float)
    whole = isinstance(value, list) and len(value) == 2 and all(type(n) is int for n in value)
    return whole or type(value) is int
