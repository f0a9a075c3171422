"""How the vectors are made: arithmetic in 100 digits, comparisons that fail, losses, starts and fits in plain NumPy."""

import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref.validation import oracle
from adntn_ref.validation.case import cores_of
from adntn_ref.validation.vectors import agreement, build, cli, decimals, fit_case, generate, load, store
from adntn_ref.validation.vectors.agreement import Agreement, VectorsDisagree
from adntn_ref.validation.vectors.cases import Entry, entries, made
from adntn_ref.validation.vectors.decimals import ACTIVATIONS, Complex, digits, exact, rounded

VECTORS = load()
ENTRIES = {entry.name: entry for entry in entries()}


def close(got: Any, expected: Any, tolerance: float = 1e-12) -> None:
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    off, size = np.max(np.abs(got - expected), initial=0), np.max(np.abs(expected), initial=0)
    assert off <= tolerance * size, f"off by {off:.3g} of {size:.3g}"


# ---- Decimals

KNOWN = {
    decimals.sine: "0.84147098480789650665250232163029899962256306079837",
    decimals.cosine: "0.54030230586813971740093660744297660373231042061792",
    decimals.tanh: "0.76159415595576488811945828260479359041276859725794",
    decimals.erf: "0.84270079294971486934122063508260925929606699796630",
}


def test_pi() -> None:
    with digits(60):
        assert decimals.pi() == Decimal("3.14159265358979323846264338327950288419716939937510582097494")


@pytest.mark.parametrize(("function", "value"), KNOWN.items(), ids=lambda x: getattr(x, "__name__", ""))
def test_functions_at_one_to_fifty_digits(function: Callable[[Decimal], Decimal], value: str) -> None:
    with digits():
        assert abs(function(Decimal(1)) - Decimal(value)) < Decimal("1e-49")
        assert abs(function(Decimal(-1))) == abs(function(Decimal(1)))


PLAIN: dict[str, Callable[[float], float]] = {
    "identity": lambda z: z,
    "relu": lambda z: max(z, 0.0),
    "leaky_relu": lambda z: z if z > 0 else 0.01 * z,
    "tanh": math.tanh,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "gelu": lambda z: z * 0.5 * math.erfc(-z / math.sqrt(2)),
    "silu": lambda z: z / (1 + math.exp(-z)),
    "sin": math.sin,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_their_slopes(name: str) -> None:
    sigma, slope = ACTIVATIONS[name]
    with digits():
        for z in (-30.0, -6.5, -1.0, -1e-5, 1e-9, 0.3, 2.0, 11.0, 40.0):
            assert math.isclose(float(sigma(Decimal(z))), PLAIN[name](z), rel_tol=1e-12)
            h = Decimal("1e-18")
            difference = (sigma(Decimal(z) + h) - sigma(Decimal(z) - h)) / (2 * h)
            assert abs(difference - slope(Decimal(z))) < Decimal("1e-28")
        assert not sigma(Decimal(0)) or name == "sigmoid"


def test_numbers_are_taken_exactly_and_rounded_once() -> None:
    given = np.array([0.1, -0.0, 1e-300, 3.0])
    with digits():
        assert exact(given)[0] == Decimal("0.1000000000000000055511151231257827021181583404541015625")
        assert rounded(exact(given)).tobytes() == np.array([0.1, 0.0, 1e-300, 3.0]).tobytes()
        third = Decimal(1) / 3
        assert rounded(np.array(third, object)).shape == ()
        assert float(rounded(np.array(third, object))) == 1 / 3


TIES = (
    "brickwall/one-brick-trainable",
    "brickwall/one-layer",
    "brickwall/zeros-leaky_relu",
    "cp/rank3",
    "tt/complex64",
)


@pytest.mark.parametrize("name", TIES)
def test_more_digits_change_no_bit(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Some of these have entries exactly in the middle between two doubles; 50 digits do change a bit there."""
    different = []
    for count in (50, 140):
        monkeypatch.setattr(build, "DIGITS", count)
        monkeypatch.setattr(build, "EXACT", 50 if count == 50 else 700)
        arrays: dict[str, Any] = {}
        with digits(count):
            build._case(ENTRIES[name], Agreement(), arrays)
        same = [arrays[f"{name}/{key}"].tobytes() == array.tobytes() for key, array in VECTORS[name].arrays.items()]
        different.append(not all(same))
    assert different == [name.startswith("brickwall"), False]


def test_complex_arithmetic() -> None:
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3)) for _ in range(3))
    with digits():
        x, y, z = exact(a), exact(b), exact(c)
        close(rounded(x @ y - decimals.conj(z) * Decimal(2) + z), a @ b - 2 * c.conj() + c)
        close(float(decimals.inner(x, y)), np.vdot(a, b).real)
        assert isinstance((Decimal(2) * x[0, 0]), Complex)


# ---- Comparisons

SOME = {
    "brickwall/odd-q5-tanh": True,
    "mera/periodic-q4": True,
    "ttn/node-q5-tanh": True,
    "stack/two": True,
    "sum/two": True,
    "split/last-shorter": True,
    "tt/complex64": False,
    "tucker/interleaved": False,
    "mpo/mixed": False,
    "delta/lowrank": False,
}
"""Case -> whether it has a closed form that differs from the tape."""


def compared(name: str) -> dict[str, list[str]]:
    arrays: dict[str, Any] = {}
    with digits():
        found: dict[str, list[str]] = build._case(ENTRIES[name], Agreement(), arrays)["provenance"]
    return found


@pytest.mark.parametrize("name", SOME)
def test_what_a_case_is_compared_with(name: str) -> None:
    found = compared(name)
    assert found == VECTORS[name].facts["provenance"]
    assert found.keys() >= {"tape", "dense oracle", "differences"}
    assert ("closed form" in found) == SOME[name]
    assert ("adjoint" in found["differences"]) == (name in ("brickwall/odd-q5-tanh", "mera/periodic-q4"))


def test_every_case_agrees_with_at_least_two_derivations() -> None:
    for record in VECTORS.records:
        least = 1 if record.section in ("starts", "losses") else 2
        assert len(record.facts["provenance"]) >= least
        assert set(record.facts["provenance"]) <= set(VECTORS.index["derivations"])
    without = [r.name for r in VECTORS.cases if "differences" not in r.facts["provenance"]]
    assert without == ["brickwall/zeros-relu", "brickwall/zeros-leaky_relu", "mera/relu-zeros"]


def test_a_wrong_slope_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    sigma, slope = ACTIVATIONS["tanh"]
    monkeypatch.setitem(ACTIVATIONS, "tanh", (sigma, lambda z: slope(z) * (1 + Decimal("1e-12"))))
    with pytest.raises(VectorsDisagree, match="brickwall/odd-q5-tanh/gradient"):
        compared("brickwall/odd-q5-tanh")
    # In the last digit of a double only the differences see it.
    monkeypatch.setitem(ACTIVATIONS, "tanh", (sigma, lambda z: slope(z) * (1 + Decimal("1e-16"))))
    with pytest.raises(VectorsDisagree, match="differences is off by"):
        compared("brickwall/odd-q5-tanh")


@pytest.mark.parametrize(
    ("derivation", "where", "function"),
    [
        ("closed form", agreement, "reference"),
        ("dense oracle", oracle, "generate"),
        ("dense oracle", oracle, "vjp"),
        ("dense oracle", oracle, "states"),
    ],
)
def test_a_wrong_derivation_is_noticed(monkeypatch: Any, derivation: str, where: Any, function: str) -> None:
    right = getattr(where, function)

    def wrong(*args: Any) -> Any:
        found = right(*args)
        return {k: x * (1 + 1e-11) for k, x in found.items()} if isinstance(found, dict) else found * (1 + 1e-11)

    monkeypatch.setattr(where, function, wrong)
    with pytest.raises(VectorsDisagree, match=f"{derivation} is off by"):
        compared("brickwall/odd-q5-tanh")


def test_nan_is_a_disagreement() -> None:
    with pytest.raises(VectorsDisagree):
        Agreement().compare("x", "tape", {"weight": np.array([np.nan])}, {"weight": np.ones(1)})


def test_numbers_of_a_case_do_not_depend_on_the_others() -> None:
    case = made(ENTRIES["cp/rank3"])
    for name, array in case.params.items():
        np.testing.assert_array_equal(array, VECTORS["cp/rank3"].arrays[f"params/{name}"])
    other = made(Entry("cp/another", case.network, ""))
    assert not np.array_equal(other.params["factor0"], case.params["factor0"])


# ---- Losses, starts and fits in plain NumPy


def softmax(logits: Any, axis: int = -1) -> Any:
    e = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@pytest.mark.parametrize("record", VECTORS.losses, ids=lambda record: record.name)
def test_losses_by_plain_numpy(record: Any) -> None:
    given, axis = record.under("inputs"), record.facts["arguments"].get("axis", -1)
    if record.facts["loss"] == "cross_entropy":
        logits, labels = given["logits"], given["labels"]
        rows = np.arange(len(labels))
        top = logits.max(axis=1)
        value = np.mean(np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top - logits[rows, labels])
        gradient = (softmax(logits) - np.eye(logits.shape[1])[labels]) / len(labels)
    elif record.facts["loss"] == "logsumexp":
        x, g = given["x"], record.arrays["cotangent"]
        value = np.log(np.exp(x).sum(axis=axis))
        gradient = np.expand_dims(g, axis) * softmax(x, axis)
    elif record.facts["loss"] == "log_softmax":
        x, g = given["x"], record.arrays["cotangent"]
        value = np.log(softmax(x, axis))
        gradient = g - softmax(x, axis) * g.sum(axis=axis, keepdims=True)
    elif record.facts["loss"] == "euclidean":
        w, t = given["weight"], given["target"]
        value, gradient = np.sum((w - t) ** 2) / np.sum(t**2), 2 * (w - t) / np.sum(t**2)
    else:
        w, t = given["weight"], given["target"]
        whole = np.trace(t @ given["c00"] @ t.T)
        value = (np.trace(w @ given["cxx"] @ w.T) - 2 * np.trace(w @ given["cx0"] @ t.T) + whole) / whole
        gradient = 2 * (w @ given["cxx"] - t @ given["cx0"].T) / whole
    close(record.arrays["loss"], value)
    close(next(iter(record.under("gradient").values())), gradient)


@pytest.mark.parametrize("record", VECTORS.starts, ids=lambda record: record.name)
def test_starts_by_plain_numpy(record: Any) -> None:
    """QR by NumPy; and what calibration promises of every state and of the weight."""
    normal, start = record.under("normal"), record.under("start")
    net = ar.from_spec(record.facts["spec"])
    free = {"root"} | {name for name in normal if name.startswith("start") or normal[name].ndim == 2}
    for name, core in normal.items():
        matrix = core.reshape(-1, int(np.prod(core.shape[2:])) if name not in free else 1)
        wide = matrix.shape[0] < matrix.shape[1]
        q, r = np.linalg.qr(matrix.T if wide else matrix)
        q = q * np.sign(np.diag(r))
        made_ = {
            "normal": matrix / np.sqrt(matrix.shape[1]),
            "near_identity": np.eye(*matrix.shape) + 0.1 * matrix,
        }.get(record.facts["start"], q.T if wide else q)
        if name in free and record.facts["start"] != "near_identity":
            made_ = matrix
        got = start[name].reshape(matrix.shape)
        if record.facts["std"] is not None:  # up to the factor of calibration, which is positive
            got, made_ = got / np.linalg.norm(got), made_ / np.linalg.norm(made_)
        close(got, made_)
    if record.facts["std"] is not None:
        steps = [step for step in net.program.all_steps if step.core_names]  # type: ignore[attr-defined]
        states = oracle.states(record.facts["spec"], start)
        for step in steps[:-1]:
            close(np.mean(states[step.name] ** 2), 1.0)
        close(np.std(net.generate(start)), record.facts["std"])


def descend(record: Any, stage: str, objective: Callable[[int, dict[str, Any]], tuple[float, dict[str, Any]]]) -> None:
    """The loop of the page, in plain NumPy; every number of every step is compared."""
    plan, rows = record.facts["plans"][stage], record.under(stage)
    names = [name.removeprefix("params/") for name in rows if name.startswith("params/")]
    x = {name: rows[f"params/{name}"][0].copy() for name in names}
    memory: dict[str, dict[str, Any]] = {group: {n: 0.0 * x[n] for n in names} for group in ("m", "v")}
    for k in range(plan["steps"]):
        loss, g = objective(k, x)
        close(rows["loss"][k], loss)
        norm = math.sqrt(sum(float(np.sum(g[name] ** 2)) for name in names))
        close(rows["norm"][k], norm)
        rate = plan["rate"] * (min(1.0, (k + 1) / plan["warmup"]) if plan["warmup"] else 1.0)
        rate *= 0.5 * (1 + math.cos(math.pi * k / plan["steps"])) if plan["schedule"] == "cosine" else 1.0
        close(rows["rate"][k], rate)
        share = min(1.0, plan["clip"] / norm) if plan["clip"] is not None else 1.0
        for name in names:
            close(rows[f"params/{name}"][k], x[name])
            close(rows[f"gradient/{name}"][k], g[name])
            step, r = share * g[name], rate * plan["rates"].get(name, 1.0)
            m, v = memory["m"], memory["v"]
            if plan["optimiser"] == "adam":
                b1, b2 = plan["beta1"], plan["beta2"]
                m[name] = b1 * m[name] + (1 - b1) * step
                v[name] = b2 * v[name] + (1 - b2) * step**2
                close(rows[f"first/{name}"][k], m[name])
                close(rows[f"second/{name}"][k], v[name])
                root = np.sqrt(v[name] / (1 - b2 ** (k + 1)))
                x[name] = x[name] - r / (1 - b1 ** (k + 1)) * m[name] / (root + plan["epsilon"])
            else:
                m[name] = plan["momentum"] * m[name] + step
                close(rows[f"buffer/{name}"][k], m[name])
                x[name] = x[name] - r * m[name]
    for name in names:
        close(rows[f"params/{name}"][plan["steps"]], x[name])


@pytest.mark.parametrize("record", VECTORS.fits, ids=lambda record: record.name)
def test_first_stage_by_plain_numpy(record: Any) -> None:
    spec, target = record.facts["spec"], record.arrays["target"]

    def distance(step: int, cores: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        weight = oracle.generate(spec, cores)
        close(record.arrays["stage1/weight"][step], weight)
        whole = float(np.sum(target**2))
        gradients = oracle.vjp(spec, cores, 2 * (weight - target) / whole)
        return float(np.sum((weight - target) ** 2)) / whole, gradients

    descend(record, "stage1", distance)
    for name, core in record.under("start").items():
        np.testing.assert_array_equal(record.arrays[f"stage1/params/{name}"][0], core)
    assert np.all(np.diff(record.arrays["stage1/loss"]) < 0)


def test_second_stage_by_plain_numpy() -> None:
    record = VECTORS["fit/two-stages"]
    spec, given = record.facts["spec"], record.arrays

    def task(step: int, p: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        rows = given["rows"][step]
        x, labels = given["inputs"][rows], given["labels"][rows]
        cores = {name.removeprefix("fc1.weight/"): core for name, core in p.items() if name.startswith("fc1.weight/")}
        w1 = oracle.generate(spec, cores)
        close(given["stage2/weight"][step], w1)
        h = np.tanh(x @ w1.T + p["fc1.bias"])
        q = softmax(h @ p["fc2.weight"].T + p["fc2.bias"])
        g = (q - np.eye(3)[labels]) / len(labels)
        gz = (1 - h**2) * (g @ p["fc2.weight"])
        made_ = {f"fc1.weight/{name}": e for name, e in oracle.vjp(spec, cores, gz.T @ x).items()}
        rest = {"fc1.bias": gz.sum(axis=0), "fc2.weight": g.T @ h, "fc2.bias": g.sum(axis=0)}
        return float(-np.log(q[np.arange(len(labels)), labels]).mean()), made_ | rest

    descend(record, "stage2", task)
    plan = record.facts["plans"]["stage2"]
    assert (given["stage2/norm"] > plan["clip"]).any(), "clipping acts in some step"
    assert (given["stage2/norm"] < plan["clip"]).any(), "and in some not"
    for name in cores_of(record.under("start")):
        np.testing.assert_array_equal(given[f"stage2/params/fc1.weight/{name}"][0], given[f"stage1/params/{name}"][-1])


# ---- The command line


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Vectors of a few cases, in a folder; building makes these alone."""
    some = {name: ENTRIES[name] for name in ("lowrank/rank1", "cp/rank1-modes")}
    fits = fit_case.fit_cases()[1:]
    monkeypatch.setattr(build, "entries", lambda: list(some.values()))
    monkeypatch.setattr(fit_case, "fit_cases", lambda: fits)
    vectors = generate(str(tmp_path))
    assert [record.name for record in vectors.cases] == list(some)
    return tmp_path


def test_check_finds_nothing(few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--folder", str(few)]) == 0
    said = capsys.readouterr().out
    assert "all equal bit for bit" in said
    assert "dense oracle" in said


WEIGHT = "cp/rank1-modes/weight"


def one_bit(arrays: dict[str, Any]) -> None:
    arrays[WEIGHT][2, 1] *= 1 + 2**-50


def single(arrays: dict[str, Any]) -> None:
    arrays[WEIGHT] = arrays[WEIGHT].astype("float32")


def every(arrays: dict[str, Any]) -> None:
    arrays.update({name: array + 1 for name, array in arrays.items()})


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], list[str]]] = {
    "one bit": (one_bit, [f"{WEIGHT}: differs by", "at (2, 1):", "differences: 1"]),
    "dtype": (single, [f"{WEIGHT}: float32 (5, 3) in the file, float64 (5, 3) now"]),
    "lacking": (lambda arrays: arrays.pop(WEIGHT), [f"{WEIGHT}: in one of the two only"]),
    "every array": (every, ["and ", " more"]),
    "the index alone": (lambda arrays: None, ["the arrays are equal, the other entries are not"]),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=list(CHANGES))
def test_check_says_what_differs(
    few: Path, capsys: pytest.CaptureFixture[str], change: Callable[[dict[str, Any]], Any], expected: list[str]
) -> None:
    vectors = load(few)
    arrays = {f"{r.name}/{name}": array for r in vectors.records for name, array in r.arrays.items()}
    change(arrays)
    for section in ("cases", "starts", "losses", "fits"):
        for facts in vectors.index[section]:
            own = {name: arrays.get(f"{facts['name']}/{name}") for name in facts["arrays"]}
            facts["arrays"] = {name: store.describe(array) for name, array in own.items() if array is not None}
    vectors.index["cases"][0]["note"] = "another note"
    store.write(few, vectors.index, arrays)
    assert cli.main(["check", "--folder", str(few)]) == 1
    said = capsys.readouterr().out
    for words in expected:
        assert words in said


def test_generate_writes_what_check_accepts(few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = [(few / name).read_bytes() for name in ("index.json", "arrays.npz")]
    assert cli.main(["generate", "--out", str(few)]) == 0
    assert "2 cases" in capsys.readouterr().out
    assert before == [(few / name).read_bytes() for name in ("index.json", "arrays.npz")]


def test_list_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(VECTORS.records)
    assert any(line.startswith("fit/two-stages") for line in lines)
    assert cli.main(["show", "brickwall/one-brick", "--numbers"]) == 0
    said = capsys.readouterr().out
    assert "params/layer0.brick0  float64 (2, 2)" in said
    assert str(VECTORS["brickwall/one-brick"].arrays["weight"]) in said
    assert cli.main(["show", "nothing"]) == 2
    assert "there is no vector 'nothing'" in capsys.readouterr().err
    assert cli.main(["list", "--folder", "/nowhere"]) == 2
