"""Counting false alarms: honest adapters raise none, and every kind of wrong answer would be counted."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import adapter_cases
import numpy as np
import pytest
from hypothesis import settings

import adntn_ref as ar
from adntn_ref.validation.adapters import counts, own_adapter
from adntn_ref.validation.adapters.__main__ import main
from adntn_ref.validation.strategies import case_of

CASES = max(10, settings().max_examples // 3)


@pytest.mark.parametrize("name", ["own", "torch", "autograd"])
def test_no_false_alarm(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    adapter_cases.adapter(name)
    code = main([name, "--cases", str(CASES), "--limit", "64"])
    lines = capsys.readouterr().out.splitlines()
    assert code == 0, lines
    assert [line.split()[:4] for line in lines[1:]] == [[name, d, str(CASES), "0"] for d in ("float64", "float32")]


def test_no_false_alarm_in_jax() -> None:
    adapter_cases.adapter("jax")
    (found,) = counts.count(("jax",), 4, ("float32",), 1, 32, ("weight", "gradient"))
    assert (found.cases, found.alarms) == (4, [])
    assert found.compared > 8


def case() -> Any:
    net = ar.BrickWall((5, 3), layers=2)
    params = {name: np.ones(shape, np.float32) for name, shape in net.core_shapes.items()}
    return case_of(net, params, np.ones((5, 3), np.float32))


def spoilt(**changes: Any) -> SimpleNamespace:
    """The package as an adapter, with one function replaced."""
    honest = {name: getattr(own_adapter, name) for name in ("generate", "vjp", "states", "adjoint_states")}
    return SimpleNamespace(**honest | changes)


def changed(index: str, value: Any) -> Any:
    def vjp(spec: Any, params: Any, cotangent: Any) -> Any:
        found = own_adapter.vjp(spec, params, cotangent)
        return {name: value(g) if name == index else g for name, g in found.items() if value or name != index}

    return vjp


WRONG: dict[str, Any] = {
    "a weight off by 1e-4": {"generate": lambda spec, params: own_adapter.generate(spec, params) * np.float32(1.0001)},
    "a weight in double precision": {"generate": lambda s, p: own_adapter.generate(s, p).astype(np.float64)},
    "NaN in a gradient": {"vjp": changed("layer1.brick0", lambda g: g * np.float32(np.nan))},
    "a gradient of another size": {"vjp": changed("layer1.brick0", lambda g: g[:1])},
    "a gradient that is missing": {"vjp": changed("layer1.brick0", None)},
    "a state without its last": {"states": lambda s, p: dict(list(own_adapter.states(s, p).items())[:-1])},
    "adjoints doubled": {
        "adjoint_states": lambda s, p, g: {k: 2 * x for k, x in own_adapter.adjoint_states(s, p, g).items()}
    },
}


@pytest.mark.parametrize("what", [None, *WRONG])
def test_what_is_wrong_is_counted(what: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "import_module", lambda name: spoilt(**({} if what is None else WRONG[what])))
    monkeypatch.setattr(counts, "random_cases", lambda visit, *_: visit(case()))
    (found,) = counts.count(("mine",), 1, ("float32",), 0, 64, counts.QUANTITIES)
    assert found.cases == 1
    assert bool(found.alarms) == (what is not None)
    assert (found.worst > 1) == (what is not None)


def test_what_is_not_supported_is_counted_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> Any:
        raise NotImplementedError

    monkeypatch.setattr(counts, "import_module", lambda name: spoilt(generate=refuse))
    assert main(["own", "--cases", "3", "--dtypes", "float64"]) == 2
    assert capsys.readouterr().out.splitlines()[1].split()[:4] == ["own", "float64", "0", "3"]
    monkeypatch.setattr(counts, "import_module", lambda name: spoilt(**WRONG["a weight off by 1e-4"]))
    assert main(["own", "--cases", "3", "--dtypes", "float32"]) == 1
    assert "times the allowed error, spec {'network'" in capsys.readouterr().out


def test_cases_are_the_same_every_time() -> None:
    """The figures in the documentation can be had again."""
    found: list[list[str]] = [[], []]
    for names in found:
        counts.random_cases(lambda case, names=names: names.append(case.name), 12, 5, "float32", 64)
    assert found[0] == found[1]
    assert len(found[0]) == 12
    assert len(set(found[0])) > 6


def test_command() -> None:
    command = [sys.executable, "-m", "adntn_ref.validation.adapters", "own", "--cases", "2", "--dtypes", "float64"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1].startswith("own       float64           2")


def test_an_unknown_adapter_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["own", "tensorflow", "--cases", "2"])
    assert stop.value.code == 2
    assert "no adapter is called tensorflow; ready: own, torch" in capsys.readouterr().err
