"""The programs in docs/examples agree, as modules and as programs, in Python and in C++."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from verify_cases import COMPLEX, RANK, Case, case_of, known

import adntn_ref as ar
from adntn_ref.ad import ACTIVATIONS
from adntn_ref.validation.verify import CommandCandidate, verify

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
WALLS = [
    *(
        case_of(f"brickwall/{name}", ar.BrickWall((3, 4), 3, activation=name), seed)
        for seed, name in enumerate(ACTIVATIONS)
    ),
    case_of("brickwall/odd", ar.BrickWall((5, 5), 2, activation="silu", activation_every="column")),
    case_of("brickwall/trainable", ar.BrickWall((2, 12), 2, (2, 3, 4), boundary="trainable", activation="gelu")),
    case_of("brickwall/two", ar.BrickWall((3,), 3, (2, 2), activation="sin", activation_every="column")),
    case_of("brickwall/ones", ar.BrickWall((6,), 2, (1, 3, 1, 2), boundary="trainable")),
]
AXES = case_of("brickwall/axes", ar.BrickWall((3, 4), 2, layout="axes"))
TRAIN = case_of("tt/padded", ar.TensorTrain((3, 5), 3))
TURNED = case_of("brickwall/complex", ar.BrickWall((3, 4), 2, activation="identity"), dtype="complex128")


def test_the_plain_example_as_a_module() -> None:
    cases = known(*WALLS, TRAIN, COMPLEX, TURNED, AXES, RANK)
    report = verify(str(EXAMPLES / "candidate_plain.py"), cases=cases, random=40, time_limit=600)
    assert report.failed == []
    assert report.unsupported == ["brickwall/axes", "lowrank/small"]
    assert report.random is not None
    assert report.random.judged == 40


def test_the_plain_example_as_a_program() -> None:
    command = shlex.join([sys.executable, str(EXAMPLES / "candidate_plain.py")])
    report = verify(CommandCandidate(command), cases=known(WALLS[0], TRAIN, AXES, RANK), random=0)
    assert report.failed == []
    assert report.judged == [WALLS[0].name, TRAIN.name]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    if (compiler := shutil.which("g++")) is None:
        pytest.skip("no g++ on the PATH")
    program = tmp_path_factory.mktemp("compiled") / "candidate"
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    subprocess.run([compiler, *flags, "-o", str(program), str(EXAMPLES / "candidate.cpp")], check=True)
    return shlex.quote(str(program))


def verdicts(compiled: str, *cases: Case, dtype: str = "float64") -> tuple[list[str], list[str], list[str]]:
    report = verify(CommandCandidate(compiled), cases=known(*cases), random=0, dtype=dtype)
    return [f"{row.case} {row.quantity} {row.detail}" for row in report.failed], report.judged, report.unsupported


def test_the_c_plus_plus_example(compiled: str) -> None:
    failed, judged, unsupported = verdicts(compiled, *WALLS, AXES, TRAIN, TURNED)
    assert failed == []
    assert judged == [case.name for case in WALLS]
    assert unsupported == ["brickwall/axes", "tt/padded", "brickwall/complex"]
    assert verdicts(compiled, WALLS[0], dtype="float32")[2] == [WALLS[0].name]


def test_the_c_plus_plus_example_on_random_cases(compiled: str) -> None:
    report = verify(CommandCandidate(compiled), cases=known(*WALLS), random=25, time_limit=600)
    assert report.failed == []
    assert report.random is not None
    assert report.random.judged == 25


def test_the_c_plus_plus_example_says_what_it_cannot_read(compiled: str, tmp_path: Path) -> None:
    program = shlex.split(compiled)[0]
    for text in ("", "{", '{"spec": {"network": "brickwall"', '{"spec": 3}'):
        (tmp_path / "request.json").write_text(text, encoding="utf8")
        done = subprocess.run([program, str(tmp_path / "request.json")], capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1


def test_the_c_plus_plus_example_stays_short() -> None:
    assert len((EXAMPLES / "candidate.cpp").read_text(encoding="utf8").splitlines()) < 250
