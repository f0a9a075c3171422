"""The command ``export``: a model, or the weights of a compressed file, as ONNX."""

import argparse
from pathlib import Path
from typing import Any

from adntn_ref.ad.arrays import REAL
from adntn_ref.cli.output import Output
from adntn_ref.compression.files import load_compressed, read_header
from adntn_ref.compression.jsontext import parse_json
from adntn_ref.compression.modelfile import load_model
from adntn_ref.compression.onnxfile import export_onnx, update_onnx
from adntn_ref.compression.pretrained import load_pretrained
from adntn_ref.compression.sources import open_tensors
from adntn_ref.errors import SpecError
from adntn_ref.nn.models import Model, Params
from adntn_ref.nn.zoo import MODELS, model


def add(subparsers: Any) -> tuple[argparse.ArgumentParser, Any]:
    """Describe ``export``."""
    parser = subparsers.add_parser(
        "export",
        help="write a model as ONNX, or weights into an ONNX file",
        description="Generate every weight and write a model as ONNX; or, with --into, write the generated weights of"
        " a compressed file into an ONNX file that is there, by the names of its initializers.",
        epilog="examples:\n  adntn-ref export folder -o model.onnx\n"
        "  adntn-ref export small.safetensors --model alexnet --set size=32 --set narrow=4 -o model.onnx\n"
        "  adntn-ref export small.safetensors --into theirs.onnx -o ours.onnx",
    )
    parser.add_argument("file", help="folder of save_pretrained, or a file of weights, dense or compressed")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="ONNX file to write")
    parser.add_argument("--model", metavar="NAME", help=f"whose weights a file holds: {', '.join(MODELS)}")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="option of the model")
    parser.add_argument("--into", metavar="FILE", help="ONNX file that gets the generated weights")
    parser.add_argument("--dtype", choices=REAL, help="cast to this (default: as it is)")
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    return parser, run


def run(options: argparse.Namespace, output: Output) -> int:
    """Run ``export``."""
    if options.into is not None:
        if options.model is not None or options.set:
            raise SpecError("--into takes the model from the ONNX file; leave --model and --set out")
        return _into(options, output)
    made, params = _model(options)
    export_onnx(made, params, options.output, dtype=options.dtype, force=options.force)
    output.line(f"{len(params)} parameters and buffers in {options.output}")
    output.result({"output": str(options.output), "parameters": list(params)})
    return 0


def _into(options: argparse.Namespace, output: Output) -> int:
    weights = {name: entry.generate() for name, entry in load_compressed(options.file).entries.items()}
    if options.dtype is not None:
        weights = {name: weight.astype(options.dtype) for name, weight in weights.items()}
    written = update_onnx(options.into, weights, options.output, force=options.force)
    output.line(f"{', '.join(written)} of {options.into} written anew in {options.output}")
    output.result({"output": str(options.output), "written": written})
    return 0


def _model(options: argparse.Namespace) -> tuple[Model, Params]:
    if options.model is None:
        if options.set:
            raise SpecError("--set goes with --model")
        if Path(options.file).is_file():
            known = ", ".join(MODELS)
            raise SpecError(f"{options.file} does not say what the model is: name it with --model, one of {known}")
        return load_pretrained(options.file)
    made = model(options.model, **dict(_option(text) for text in options.set))
    if read_header(open_tensors(options.file)) is None:
        return made, load_model(made, options.file)
    held = load_compressed(options.file).expand()
    made.check_params(held)
    return made, {name: held[name] for name in made.state_shapes}


def _option(text: str) -> tuple[str, Any]:
    """Read KEY=VALUE; the value is a number, true or false, or else a word."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise SpecError(f"--set takes KEY=VALUE, got {text!r}")
    try:
        read = parse_json(value)
    except ValueError:
        read = value
    return key, read
