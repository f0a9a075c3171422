"""The command ``draw``."""

import argparse
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from adntn_ref.cli.networks import add_network_options, network_for
from adntn_ref.cli.output import Output
from adntn_ref.compression.atomic import require_new
from adntn_ref.compression.files import load_compressed
from adntn_ref.compression.jsontext import parse_json
from adntn_ref.errors import FileFormatError, SpecError
from adntn_ref.experiments.scene_picture import SUFFIXES, draw_network
from adntn_ref.experiments.scene_text import network_text
from adntn_ref.networks.base import Network
from adntn_ref.networks.registry import NETWORKS, from_spec, size_field

Made = tuple[argparse.ArgumentParser, Any]
SIZES: dict[str, Any] = {"layers": 2, "chi": 4, "rank": 3, "ranks": [2]}
"""Sizes of what is drawn unless told."""


def add(subparsers: Any) -> Made:
    """Describe ``draw``."""
    parser = subparsers.add_parser(
        "draw",
        help="draw a network, in the terminal or to a file",
        description="Draw a network with the sizes of its bonds, the weight's modes at the top.",
        epilog="examples:\n  adntn-ref draw mera\n  adntn-ref draw brickwall --shape 120 84 --layers 3 -o wall.svg\n"
        "  adntn-ref draw small.safetensors",
    )
    parser.add_argument(
        "what", metavar="NETWORK", help=f"{', '.join(NETWORKS)}; a compressed file; or a JSON file of a specification"
    )
    parser.add_argument(
        "--shape", type=int, nargs="+", default=[16, 16], metavar="N", help="shape of the weight (default 16 16)"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help=f"picture to write: {', '.join(SUFFIXES)}")
    parser.add_argument("--ascii", action="store_true", help="no characters beyond ASCII in the terminal")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")
    add_network_options(parser, named=False)
    return parser, run


def run(options: argparse.Namespace, output: Output) -> int:
    """Run ``draw``."""
    networks = _networks(options)
    plain = options.ascii or "utf" not in (sys.stdout.encoding or "").lower()
    drawings = {name: network_text(network, plain) for name, network in networks.items()}
    written = _write(networks, options) if options.output else []
    if not written:
        for name, drawing in drawings.items():
            output.line(f"{name}: {drawing}\n" if name else drawing)
    else:
        output.line(f"written: {', '.join(written)}")
    found = [
        {"name": name, "spec": networks[name].to_spec(), "parameters": networks[name].parameter_count, "text": text}
        for name, text in drawings.items()
    ]
    output.result({"networks": found, "written": written})
    return 0


def _networks(options: argparse.Namespace) -> dict[str, Network]:
    """Return what is to be drawn, by the name of its tensor where it has one."""
    path = Path(options.what)
    if options.what in NETWORKS:
        options.network = options.what
        size = size_field(options.what)
        if getattr(options, size) is None and options.parameters is None:
            setattr(options, size, SIZES[size])
        return {"": network_for(options, tuple(options.shape))}
    if not path.is_file():
        raise SpecError(f"no file and no network is called {options.what!r}; networks: {', '.join(NETWORKS)}")
    if path.suffix == ".json":
        try:
            return {"": from_spec(parse_json(path.read_text(encoding="utf8")))}
        except (OSError, ValueError) as error:
            if isinstance(error, SpecError):
                raise
            raise FileFormatError(f"{path} is no JSON file: {error}") from error
    return {name: entry.network for name, entry in load_compressed(path).entries.items()}


def _write(networks: dict[str, Network], options: argparse.Namespace) -> list[str]:
    """Write the picture; of several networks one each, with the tensor's name in the file's."""
    target = Path(options.output)
    paths = (
        [target]
        if len(networks) == 1
        else [target.with_stem(f"{target.stem}-{quote(name, safe=' ')}") for name in networks]
    )
    for path in paths:
        require_new(path, options.force)
    for path, network in zip(paths, networks.values(), strict=True):
        draw_network(network, path)
    return [str(path) for path in paths]
