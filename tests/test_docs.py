"""Every example in a docstring, the README and the documentation runs and prints what it says."""

import doctest
import importlib
import pkgutil
from contextlib import suppress
from pathlib import Path

import peers
import pytest

import adntn_ref
import adntn_ref.backends
import adntn_ref.validation
from adntn_ref.errors import MissingExtra

ROOT = Path(__file__).parent.parent
OPTIONS = doctest.NORMALIZE_WHITESPACE

MODULES = sorted(
    {
        module.name
        for package in (adntn_ref, adntn_ref.backends, adntn_ref.validation)
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
        if not module.name.endswith("__main__")
    }
)
FRAMEWORKS = {"interop.md": ("torch", "jax")}
"""Pages whose examples run other frameworks; they are skipped where these are missing."""

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "networks").glob("*.md")])


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except MissingExtra as missing:  # an adapter of a framework that is not here
        pytest.skip(str(missing))
    failed, _ = doctest.testmod(module, optionflags=OPTIONS)
    assert failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_in_pages(page: Path) -> None:
    for framework in FRAMEWORKS.get(page.name, ()):
        peers.need(framework)
    # The closing fence of a code block would be read as expected output.
    text = page.read_text(encoding="utf8").replace("```", "")
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    assert runner.run(test).failed == 0


def test_there_are_examples() -> None:
    finder, examples = doctest.DocTestFinder(), 0
    for name in MODULES:
        with suppress(MissingExtra):  # modules beside a framework that is not here
            examples += sum(len(test.examples) for test in finder.find(importlib.import_module(name)))
    assert examples > 30


def test_commands_in_the_readme_are_the_two_that_do_everything() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf8")
    assert readme.count('python -m pip install -e ".[demo]" && adntn-ref demo') == 1
    assert readme.count('python -m pip install -e ".[test]" && python -m pytest') == 1


def test_version_is_the_same_everywhere() -> None:
    version = adntn_ref.__version__
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text(encoding="utf8")
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf8")
