"""Every family of networks fitted to real weights at equal parameter counts.

``python -m adntn_ref.validation.equal_count FILE --layer GLOB [--share 0.01]`` takes 2-D and 4-D tensors of a
safetensors, npz or HDF5 file, gives each family the largest member within the share of the weight's entries, and
prints relative errors ||W - T|| / ||T||. Families with a direct decomposition use it; the others are fitted by Adam
from one seed. An error of 1 is that of W = 0: a family above it has learned nothing.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adntn_ref import AdntnError, at_most, fit, relative_error
from adntn_ref.compression.h5file import open_tensors
from adntn_ref.compression.weights import check_weight
from adntn_ref.errors import SpecError
from adntn_ref.networks.registry import NETWORKS
from adntn_ref.nn.models import select

INTERLEAVED = ("brickwall", "ttn", "attn", "mera", "tt", "cp", "tucker")
"""Families that take a layout; interleaved modes keep rows and columns together where a network is cut."""


def compare(target: Any, parameters: int, families: Sequence[str], steps: int, seed: int) -> list[dict[str, Any]]:
    """Fit each family within ``parameters`` to one weight (float32 or float64) and return a JSON-able row for each.

    A family whose smallest member is too large gets a row without an error.
    """
    rows = []
    for name in families:
        options: dict[str, Any] = {"layout": "interleaved"} if name in INTERLEAVED else {}
        began = time.perf_counter()
        row: dict[str, Any] = {"family": name, "parameters": None, "relative_error": None, "how": "too large"}
        try:
            network: Any = at_most(name, target.shape, parameters=parameters, **options)
        except SpecError:
            rows.append({**row, "seconds": 0.0})
            continue
        row["parameters"] = network.parameter_count
        if hasattr(network, "decompose"):
            row["how"] = "decomposition"
            row["relative_error"] = relative_error(network.generate(network.decompose(target)), target)
        else:
            row["how"] = f"Adam, {steps} steps"
            row["relative_error"] = fit(network, target, steps=steps, rng=seed).relative_error
        rows.append({**row, "seconds": time.perf_counter() - began})
    return rows


def weight_of(file: Any, name: str, order: str) -> Any:
    """Read a weight as (outputs, inputs, ...), C order; ``order`` is ``"hwio"`` for Keras's convolutions."""
    check_weight(name, file.shapes[name], file.dtypes[name])
    weight = file.load(name)
    if weight.ndim == 4 and order == "hwio":
        weight = weight.transpose(3, 2, 0, 1)
    return np.ascontiguousarray(weight)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison and print it; exit code 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m adntn_ref.validation.equal_count", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--layer", action="append", required=True, metavar="GLOB", help="which tensors")
    parser.add_argument("--share", type=float, default=0.01, help="parameters over weights (default 0.01)")
    parser.add_argument("--order", choices=("oihw", "hwio"), default="oihw", help="axes of 4-D weights")
    parser.add_argument("--families", nargs="+", default=list(NETWORKS), metavar="NAME", help=", ".join(NETWORKS))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        if not 0 < options.share <= 1:
            raise SpecError(f"--share must be above 0 and at most 1, got {options.share}")
        file = open_tensors(options.file)
        found = []
        for name in select(file.names, options.layer):
            target = weight_of(file, name, options.order)
            most = max(1, round(options.share * target.size))
            rows = compare(target, most, options.families, options.steps, options.seed)
            facts = {"layer": name, "shape": list(target.shape), "weights": target.size, "most": most}
            found.append({**facts, "rows": rows})
            if not options.json:
                show(found[-1])
    except AdntnError as error:
        print(f"equal_count: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps(found))
    return 0


def show(layer: dict[str, Any]) -> None:
    """Print one layer's table."""
    shape = tuple(layer["shape"])
    print(f"{layer['layer']} {shape}: {layer['weights']:,} weights, at most {layer['most']:,} parameters")
    for row in layer["rows"]:
        error = "-" if row["relative_error"] is None else f"{row['relative_error']:.4f}"
        count = "-" if row["parameters"] is None else f"{row['parameters']:,}"
        print(f"  {row['family']:<10}{count:>9}{error:>9}{row['seconds']:>8.1f} s  {row['how']}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
