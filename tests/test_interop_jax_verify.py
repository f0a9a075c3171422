"""Networks in JAX against verify: every kind, every activation, several sets of numbers for one compilation."""

from typing import Any

import peers
import pytest
from verify_cases import case_of, known

import adntn_ref as ar
from adntn_ref.ad.activations import ACTIVATIONS
from adntn_ref.networks.registry import COMBINATIONS, NETWORKS
from adntn_ref.validation.verify import Verdict, verify

peers.need("jax")

from adntn_ref.validation.adapters.interop_jax import InJax, compiled  # noqa: E402

SEEDS = 4
LOW, WALL = ar.LowRank((3, 2), 2), ar.BrickWall((3, 2), 2, activation="sin")
KINDS: dict[str, Any] = {
    "brickwall": ar.BrickWall((5, 3), 2, modes=(3, 5), boundary="trainable", activation="gelu"),
    "brickwall columns": ar.BrickWall((3, 2), 2, activation_every="column", activation="silu"),
    "brickwall axes": ar.BrickWall((3, 4), 2, layout="axes", row_modes=(3,), col_modes=(2, 2)),
    "ttn": ar.TTN((3, 4), 2, modes=(3, 2, 2), activation="sigmoid"),
    "ttn nodes": ar.TTN((3, 4), 2, modes=(3, 2, 2), activation_site="node"),
    "attn": ar.ATTN((2, 3, 2, 2), 2, modes=(2, 3, 2, 2)),
    "mera": ar.MERA((2, 4), 2, activation="relu"),
    "mera periodic": ar.MERA((3, 4), 3, modes=(2, 3, 2), periodic=True),
    "lowrank": ar.LowRank((3, 2, 4), 2),
    "tt interleaved": ar.TensorTrain((3, 4), 2, layout="interleaved"),
    "mpo": ar.MPO((6, 5), 3, row_modes=(3, 2), col_modes=(2, 3)),
    "cp": ar.CP((5, 3), 2),
    "tucker": ar.Tucker((4, 6), (1, 2, 2), layout="axes", row_modes=(4,), col_modes=(3, 2)),
    "sum": ar.Sum(LOW, WALL),
    "split": ar.Split((7,), 3, lambda shape: ar.CP(shape, 2)),
    "stack": ar.Stack({"b": (2,), "a": (2, 2)}, ar.Sum(LOW, LOW)),
    "delta": ar.Delta(case_of("W0", LOW).cotangent, LOW, 0.5),  # type: ignore[arg-type]
}
CURVED = {f"brickwall {name}": ar.BrickWall((2, 2), 3, activation=name) for name in ACTIVATIONS}
CURVED |= {f"mera {name}": ar.MERA((3, 2), 2, modes=(3, 2), activation=name) for name in ACTIVATIONS}
CASES = KINDS | CURVED


def test_every_kind_and_every_activation_is_there() -> None:
    assert {net.to_spec()["network"] for net in KINDS.values()} == NETWORKS.keys() | COMBINATIONS.keys()
    assert {net.activation for net in CURVED.values()} == set(ACTIVATIONS)
    assert SEEDS * len(CASES) > 100


@pytest.mark.parametrize("name", CASES)
def test_the_reference_agrees(name: str) -> None:
    """What ``python -m adntn_ref.validation --against`` does, in float64, on several cases of one network."""
    before = compiled.cache_info().misses
    cases = known(*(case_of(f"{name}/{seed}", CASES[name], seed) for seed in range(SEEDS)))
    report = verify(InJax("closed"), cases=cases, random=0, time_limit=600)
    assert len(report.judged) == SEEDS
    assert {row.verdict for row in report.rows} == {Verdict.AGREES}
    assert {row.quantity.partition("/")[0] for row in report.rows} == {"weight", "gradient"}
    assert compiled.cache_info().misses == before + 1
