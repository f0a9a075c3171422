"""What importing costs, and which module may know which: read from the sources and from a fresh interpreter."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "adntn_ref").rglob("*.py"))
ALL = [*CORE, *sorted((ROOT / "backends").rglob("*.py")), *sorted((ROOT / "validation").rglob("*.py"))]
FLOORS = [
    ("errors", "_version", "extras", "ending"),
    ("backend",),
    ("ad",),
    ("program",),
    ("networks",),
    ("nn",),
    ("compression",),
    ("interop",),
    ("experiments",),
    ("cli",),
]
HEAVY = (
    "rich",
    "matplotlib",
    "safetensors",
    "sklearn",
    "mlxtend",
    "pandas",
    "scipy.special",
    "torch",
    "jax",
    "cupy",
    "hypothesis",
    "cotengra",
    "quimb",
    "onnx",
    "onnxruntime",
    "adntn_ref.validation",
)


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in CORE}


def imports_of(path: Path) -> set[str]:
    """The modules a file imports, of adntn_ref's down to the module, wherever in the file the statement stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:  # backends and validation stand beside the package in the sources
                assert path not in CORE, f"{path}: relative import"
                continue
            name = str(node.module)
            submodules = {f"{name}.{alias.name}" for alias in node.names} & MODULES.keys()
            found |= submodules
            if len(submodules) < len(node.names):
                found.add(name)
    return found


def floor_of(module: str) -> int:
    if module in ("adntn_ref", "adntn_ref.__main__"):
        return len(FLOORS)
    part = module.split(".")[1]
    return next(i for i, names in enumerate(FLOORS) if part in names)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downward(module: str) -> None:
    for other in imports_of(MODULES[module]):
        if not other.startswith("adntn_ref"):
            continue
        assert not other.startswith(("adntn_ref.backends", "adntn_ref.validation")), f"{module} imports {other}"
        assert other != "adntn_ref", f"{module} imports the package as a whole"
        assert floor_of(other) <= floor_of(module), f"{module} imports {other}, which stands above it"


def test_no_circle() -> None:
    """Also not through a folder's __init__, which is imported before its modules."""
    graph = {
        module: {o for o in imports_of(path) if o.startswith("adntn_ref") and o != module}
        for module, path in MODULES.items()
    }
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above[above.index(module) :], module))
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_import_is_light() -> None:
    code = f"import sys, json, adntn_ref; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_command_line_is_light() -> None:
    heavy = HEAVY[1:]  # a table needs rich
    code = (
        "import sys, json, adntn_ref.cli as c; c.main(['cost', '--shape', '4', '4', '--layers', '1', '--quiet']);"
        f"print(json.dumps([m for m in {heavy!r} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf8")
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            first = body[0].lineno if body else node.lineno
            assert int(node.end_lineno or 0) - first < 60, f"{path}: {node.name}"


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle(path: Path) -> None:
    assert not imports_of(path) & {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False
