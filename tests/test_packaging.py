"""What an installed package holds: all of the sources, and nothing generic at the top level of site-packages."""

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
TOOL = PROJECT["tool"]["setuptools"]
FOLDERS = {"adntn_ref": "adntn_ref", "backends": "adntn_ref.backends", "validation": "adntn_ref.validation"}
"""Folder of the repository -> the package that it becomes."""


def package_of(folder: Path) -> str:
    first, *rest = folder.relative_to(ROOT).parts
    return ".".join((FOLDERS[first], *rest))


def sources() -> list[Path]:
    files = [path for name in FOLDERS for path in (ROOT / name).rglob("*") if path.is_file()]
    return [path for path in files if "__pycache__" not in path.parts]


def test_every_folder_of_sources_is_a_package_of_ours() -> None:
    assert {package_of(path.parent) for path in sources()} == set(TOOL["packages"])
    assert TOOL["package-dir"] == {package: folder for folder, package in FOLDERS.items()}


def test_every_file_that_is_no_module_is_package_data() -> None:
    for path in sources():
        if path.suffix == ".py":
            continue
        # A pattern belongs to a package and may name a folder below it.
        found = any(
            package_of(path.parent) == package or package_of(path.parent).startswith(f"{package}.")
            for package, patterns in TOOL["package-data"].items()
            if any(
                fnmatch(".".join((package_of(path.parent), path.name)), f"{package}.{p.replace('/', '.')}")
                for p in patterns
            )
        )
        assert found, f"{path} would be missing from a wheel"


def test_nothing_generic_is_importable(tmp_path: Path) -> None:
    """Asked outside the checkout, where the folders themselves are in nobody's way."""
    code = "from importlib.util import find_spec; print([n for n in ('backends', 'validation') if find_spec(n)])"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_distribution_has_one_top_level_name() -> None:
    names = {name for name, owners in packages_distributions().items() if "adntn-ref" in owners}
    assert {name for name in names if not name.startswith("__editable__")} == {"adntn_ref"}


def test_the_lowest_versions_of_ci_are_those_of_the_project() -> None:
    script = (ROOT / ".ci" / "matrix").read_text(encoding="utf8")
    found = re.search(r'11 \| 12\) echo "([^"]+)"', script)
    assert found is not None
    tried = dict(word.split("==") for word in found[1].split())
    for wanted in PROJECT["project"]["dependencies"]:
        name, version = wanted.split(">=")
        assert f"{tried[name]}.".startswith(f"{version}."), f"{wanted} is never tried: CI has {tried[name]}"


def test_the_core_of_ci_exists() -> None:
    lines = (ROOT / ".ci" / "core").read_text(encoding="utf8").split("\n")
    files = [line for line in lines if line and not line.startswith("#")]
    assert len(files) > 30
    assert all((ROOT / file).exists() for file in files)
