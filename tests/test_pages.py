"""The documentation holds together: links lead somewhere, formulas say where they come from, notebooks were run."""

import json
import re
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import adntn_ref as ar

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MADE = ("_build", "_generated", ".ipynb_checkpoints")
PAGES = sorted(
    [*ROOT.glob("*.md")]
    + [p for kind in ("md", "ipynb") for p in DOCS.rglob(f"*.{kind}") if not set(MADE) & set(p.parts)]
)
NOTEBOOKS = [page for page in PAGES if page.suffix == ".ipynb"]
FENCE = re.compile(r"^(```+|~~~+).*?^\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)
FILE = re.compile(r"^```\{(?:literalinclude|image|include|figure)\} (\S+)", re.MULTILINE)
FORMULA = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
MARK = re.compile(r"\\tag\{(P1|P2|lit|ours)\}\s*$")


@cache
def text_of(page: Path) -> str:
    """The markdown of a page; of a notebook that of its markdown cells."""
    text = page.read_text(encoding="utf8")
    if page.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    found: dict[str, int] = {}
    for title in re.findall(r"^#{1,6} (.+)$", FENCE.sub("", text_of(page)), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {slug if k == 0 else f"{slug}-{k}" for slug, count in found.items() for k in range(count + 1)}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = text_of(page)
    links = [a or b for a, b in LINK.findall(FENCE.sub("", text))] + FILE.findall(text)
    for link in links:
        if re.match(r"[a-z]+:", link):  # https: and mailto: are not asked for, the build is offline
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not set(MADE) & set(target.parts):  # made by the build, which fails where one is missing
            assert target.exists(), f"{name_of(page)} links to {link}"
        if anchor and target.suffix in (".md", ".ipynb"):
            assert anchor in anchors(target), f"{name_of(page)} links to {link}; there are {sorted(anchors(target))}"


@pytest.mark.parametrize("page", [page for page in PAGES if "$$" in text_of(page)], ids=name_of)
def test_formulas_say_where_they_come_from(page: Path) -> None:
    for formula in FORMULA.findall(FENCE.sub("", text_of(page))):
        assert MARK.search(formula), f"{name_of(page)}: no \\tag{{P1}}, P2, lit or ours at the end of {formula}"
        assert "\\\\" not in formula, "Sphinx puts lines into an environment that takes no tag"


@pytest.mark.parametrize("page", NOTEBOOKS, ids=name_of)
def test_notebooks_were_run_from_top_to_bottom(page: Path) -> None:
    """Their outputs are those of one run; the documentation's build runs them anew."""
    code = [c for c in json.loads(page.read_text(encoding="utf8"))["cells"] if c["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert len(outputs) >= len(code) - 2
    assert not [output for output in outputs if output["output_type"] == "error"]


def test_every_page_is_reached_from_the_index() -> None:
    reached, todo = {DOCS / "index.md"}, [DOCS / "index.md"]
    while todo:
        page = todo.pop()
        for block in re.findall(r"```\{toctree\}(.*?)```", text_of(page), re.DOTALL):
            for line in block.split("\n"):
                if not line or line.startswith(":"):
                    continue
                [target] = [t for s in (".md", ".ipynb") if (t := page.parent / f"{line.strip()}{s}").exists()]
                if target not in reached:
                    reached.add(target)
                    todo.append(target)
    assert {page for page in PAGES if DOCS in page.parents} == reached


def test_every_public_name_is_in_the_reference() -> None:
    text = "".join(map(text_of, DOCS.glob("*.md")))
    for name in ar.__all__:
        found = getattr(ar, name)
        if isinstance(found, ModuleType | str | dict):
            continue
        whole = re.search(rf"automodule:: {re.escape(found.__module__)}\n", text)
        assert whole or re.search(rf"^\.\. auto\w+:: adntn_ref\.([\w.]+\.)?{name}$", text, re.MULTILINE), (
            f"{name} is not in docs/api.md"
        )
