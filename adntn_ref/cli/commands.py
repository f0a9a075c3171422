"""The commands on files and specifications: compress, expand, cost, info."""

import argparse
from typing import Any

from adntn_ref.ad.arrays import REAL
from adntn_ref.cli.networks import add_network_options, network_for
from adntn_ref.cli.output import Output, count, size
from adntn_ref.compression.atomic import require_new
from adntn_ref.compression.axes import ORDERS
from adntn_ref.compression.files import load_compressed, read_header
from adntn_ref.compression.method import STEPS
from adntn_ref.compression.pretrained import destination, write_config
from adntn_ref.compression.sources import open_tensors
from adntn_ref.compression.tensorfile import write_tensors
from adntn_ref.compression.weights import compress_file
from adntn_ref.errors import SpecError
from adntn_ref.networks.brickwall import BrickWall
from adntn_ref.networks.frozen import frozen_weights
from adntn_ref.networks.layer import LayerCost, layer_cost
from adntn_ref.program.cost import ITEM_BYTES
from adntn_ref.program.modes import matrix_shape

Made = tuple[argparse.ArgumentParser, Any]
FAR = 0.5
"""A relative error above this is explained beside the table."""


def add_compress(subparsers: Any) -> Made:
    """Describe ``compress``."""
    parser = subparsers.add_parser(
        "compress",
        help="fit a network to weights of a file (stage 1)",
        description="Fit a network to each selected weight by Euclidean distance and write the cores.",
        epilog='example:\n  adntn-ref compress model.safetensors --layer "fc*.weight" --layers 5 -o small.safetensors',
    )
    parser.add_argument("file", help="safetensors, npz or HDF5 file; an index, a folder, or a quoted glob of shards")
    parser.add_argument(
        "--layer", action="append", required=True, metavar="GLOB", help="which tensors; may be repeated"
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="safetensors or npz file to write, or a folder"
    )
    parser.add_argument(
        "--order",
        choices=ORDERS,
        default="oihw",
        help="axes of the file's weights: oihw and (outputs, inputs), as PyTorch's (default); hwio and (inputs,"
        " outputs), as Keras's, which are fitted as (outputs, inputs, ...) and expand to the file's order again",
    )
    parser.add_argument(
        "--optimiser",
        default="adam",
        choices=tuple(STEPS),
        help="als is for networks without activations (default adam)",
    )
    parser.add_argument("--steps", type=int, help="steps of the fit (default 500; lbfgs 300; als 30 sweeps)")
    parser.add_argument(
        "--rate", type=float, help="highest learning rate, of adam and sgd (default 0.01, less if deep)"
    )
    parser.add_argument(
        "--start-share",
        type=float,
        metavar="S",
        help="deviation of the first weight over the target's (default 1/sqrt(weights), at most 0.1)",
    )
    parser.add_argument("--restarts", type=int, default=1, metavar="K", help="starts of each fit, the best kept")
    parser.add_argument("--cores-only", action="store_true", help="leave the other tensors of the file out")
    parser.add_argument("--widen", action="store_true", help="read float16 and bfloat16 as float32")
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    add_network_options(parser)
    return parser, run_compress


def run_compress(options: argparse.Namespace, output: Output) -> int:
    """Run ``compress``."""
    target, config = destination(options.file, options.output, options.force)
    facts = compress_file(
        options.file,
        target,
        options.layer,
        lambda shape: network_for(options, shape),
        order=options.order,
        steps=options.steps,
        rate=options.rate,
        optimiser=options.optimiser,
        start_share=options.start_share,
        restarts=options.restarts,
        seed=options.seed,
        cores_only=options.cores_only,
        widen=options.widen,
        force=options.force,
        progress=output.talks,
    )
    if config is not None:
        write_config(target.parent, config)
    rows = [
        [
            row["name"],
            " x ".join(map(str, row["shape"])),
            count(row["weights"]),
            count(row["parameters"]),
            f"{row['ratio']:.4g}",
            f"{row['relative_error']:.4f}",
            f"{row['seconds']:.1f}",
        ]
        for row in facts["layers"]
    ]
    columns = ("layer", "shape", "weights", "parameters", "ratio", "relative error", "seconds")
    turned = "; hwio, fitted as (outputs, inputs, ...)" if options.order == "hwio" else ""
    output.table(f"stage 1, seed {options.seed}{turned}", columns, rows)
    if any(row["relative_error"] > FAR for row in facts["layers"]):
        output.line(
            "relative error: |W - T| / |T|, 1 is no better than a weight of zeros; a trained weight stays near 1, and"
        )
        output.line("the accuracy comes from training the cores on (stage 2): ar.compress, or interop.torch.compress_")
    output.line(f"written to {options.output}")
    output.result(facts)
    return 0


def add_expand(subparsers: Any) -> Made:
    """Describe ``expand``."""
    parser = subparsers.add_parser(
        "expand",
        help="turn a compressed file back into dense weights",
        description="Generate every weight of a compressed file and write a file of dense tensors.",
        epilog="example:\n  adntn-ref expand small.safetensors -o dense.safetensors",
    )
    parser.add_argument("file", help="file or folder written by adntn-ref compress or demo")
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="safetensors or npz file to write, or a folder"
    )
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    return parser, run_expand


def run_expand(options: argparse.Namespace, output: Output) -> int:
    """Run ``expand``."""
    target, config = destination(options.file, options.output, options.force)
    require_new(target, options.force)
    compressed = load_compressed(options.file)
    tensors = compressed.expand()
    write_tensors(target, tensors, compressed.metadata, force=options.force)
    if config is not None:
        write_config(target.parent, config)
    output.line(f"{len(compressed.entries)} generated and {len(compressed.dense)} other tensors in {options.output}")
    output.result({"output": str(options.output), "generated": list(compressed.entries), "tensors": list(tensors)})
    return 0


WAYS = {
    "dense": "dense",
    "generate": "generated at every product",
    "cached": "generated once",
    "sites": "site by site",
}
"""The ways of a layer cost, as the table calls them."""


def add_cost(subparsers: Any) -> Made:
    """Describe ``cost``."""
    parser = subparsers.add_parser(
        "cost",
        help="count what a network costs, before anything runs",
        description="Count parameters, operations, bytes moved and bytes held, forward and backward, step by step.",
        epilog="examples:\n  adntn-ref cost --shape 4096 4096 --layers 1\n"
        "  adntn-ref cost --shape 1024 1024 --network mpo --chi 4 --batch 64 --uses 100",
    )
    parser.add_argument("--shape", type=int, nargs="+", required=True, metavar="N", help="shape of the weight")
    parser.add_argument("--batch", type=int, metavar="B", help="inputs a product: compare the layer with a dense one")
    parser.add_argument("--uses", type=int, metavar="N", help="with --batch: products between two updates (default 1)")
    parser.add_argument("--dtype", default="float32", metavar="NAME", help=f"{', '.join(ITEM_BYTES)} (default float32)")
    parser.add_argument(
        "--schedule",
        default="keep",
        metavar="NAME",
        help="keep (default), recompute, checkpoints:N, or auto: the fastest that fits the memory limit",
    )
    add_network_options(parser)
    return parser, run_cost


def run_cost(options: argparse.Namespace, output: Output) -> int:
    """Run ``cost``."""
    if options.uses is not None and options.batch is None:
        raise SpecError("--uses goes with --batch")
    network = network_for(options, tuple(options.shape))
    network.cost(options.dtype)  # a dtype that is not known is named before memory is spoken of
    chosen = network.choose_schedule(options.dtype) if options.schedule == "auto" else options.schedule
    cost = network.cost(options.dtype, chosen)
    uses = 1 if options.uses is None else options.uses
    layer = None if options.batch is None else layer_cost(network, options.batch, options.dtype, uses, chosen)
    rows = [
        [
            step.step,
            *(count(n) for n in (step.flops_forward, step.flops_backward)),
            *(size(n) for n in (step.bytes_forward, step.bytes_backward, step.state_bytes, step.kept_bytes)),
        ]
        for step in cost.steps
    ]
    rows.append(
        [
            "total",
            *(count(n) for n in (cost.flops_forward, cost.flops_backward)),
            *(size(n) for n in (cost.bytes_forward, cost.bytes_backward)),
            "",
            size(sum(step.kept_bytes for step in cost.steps)),
        ]
    )
    columns = ("step", "flops forward", "backward", "moved forward", "backward", "state", "kept")
    output.table(f"{options.network} for {tuple(options.shape)}, {cost.dtype}", columns, rows)
    ratio = network.compression_ratio
    output.line(f"{count(cost.weights)} weights from {count(cost.parameters)} parameters: ratio {ratio:,.1f}")
    peaks = f"{size(cost.peak_bytes_forward)} forward, {size(cost.peak_bytes_backward)} forward and backward"
    output.line(f"memory at the worst moment: {peaks} (schedule {cost.schedule})")
    facts = {"spec": network.to_spec(), "compression_ratio": ratio, **cost.to_dict()}
    if isinstance(network, BrickWall):
        facts["rank_at_most"] = network.rank_at_most
        if network.rank_at_most < min(matrix_shape(network.shape)):
            output.line(f"its matrix has rank {network.rank_at_most} at most: --layout interleaved has no such limit")
    if layer is None:
        output.line("A layer that generates its weight is slower than a dense one: --batch B says by how much.")
    else:
        show_layer(layer, output)
        facts["layer"] = layer.to_dict()
    output.result(facts)
    return 0


def show_layer(layer: LayerCost, output: Output) -> None:
    """Print a layer's ways beside the dense one, and the verdict."""
    dense = layer["dense"]
    rows = [
        [
            WAYS[way.way],
            count(way.flops),
            f"{way.flops / dense.flops:,.3g}",
            *(size(n) for n in (way.bytes_moved, way.peak_bytes)),
            count(way.training_flops),
            f"{way.training_flops / dense.training_flops:,.3g}",
            size(way.training_peak_bytes),
        ]
        for way in layer.ways
    ]
    products = "1 product" if layer.uses == 1 else f"{count(layer.uses)} products"
    title = f"{products} of {count(layer.batch)} inputs with a {layer.rows} x {layer.columns} weight, {layer.dtype}"
    columns = ("way", "flops", "/ dense", "moved", "peak", "flops, backward too", "/ dense", "peak")
    output.table(title, columns, rows)
    for sentence in layer.words:
        output.line(sentence)


def add_info(subparsers: Any) -> Made:
    """Describe ``info``."""
    parser = subparsers.add_parser(
        "info",
        help="say what a file holds",
        description="List the tensors of a file, and for a compressed file the networks that make its weights.",
        epilog="example:\n  adntn-ref info small.safetensors",
    )
    parser.add_argument("file", help="safetensors, npz or HDF5 file; an index, a folder, or a quoted glob of shards")
    return parser, run_info


def run_info(options: argparse.Namespace, output: Output) -> int:
    """Run ``info``; a compressed file is read whole and checked."""
    file = open_tensors(options.file)
    header = read_header(file)
    facts: dict[str, Any] = {
        "file": str(options.file),
        "compressed": header is not None,
        "tensors": {},
        "generated": {},
    }
    rows = []
    if header is not None:
        compressed = load_compressed(file.path)
        facts.update({key: header[key] for key in ("format_version", "library_version", "seed")})
        for name, entry in compressed.entries.items():
            net = entry.network
            numbers = {"parameters": net.parameter_count, "weights": net.weights, "ratio": net.compression_ratio}
            axes = {} if entry.axes is None else {"axes": list(entry.axes)}
            facts["generated"][name] = {"spec": net.to_spec(), "shape": list(entry.tensor_shape), **axes, **numbers}
            facts["generated"][name].update(entry.info)
            kept = " and a frozen weight" if frozen_weights(net) else f", ratio {net.compression_ratio:,.4g}"
            what = f"{net.to_spec()['network']}, {count(net.parameter_count)} numbers{kept}"
            rows.append([name, " x ".join(map(str, entry.tensor_shape)), what + (", axes turned" if axes else "")])
    for name in file.names if header is None else compressed.dense:
        facts["tensors"][name] = {"shape": list(file.shapes[name]), "dtype": file.dtypes[name]}
        note = "" if file.dtypes[name] in REAL else " (cannot be compressed in this dtype)"
        rows.append([name, " x ".join(map(str, file.shapes[name])), file.dtypes[name] + note])
    output.table(str(options.file), ("tensor", "shape", "what"), rows)
    if header is not None:
        writer = f"written by adntn_ref {header['library_version']}, seed {header['seed']}"
        output.line(f"format {header['format_version']}, {writer}")
    output.result(facts)
    return 0
