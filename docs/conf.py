"""Sphinx configuration: ``sphinx-build -W -b html docs docs/_build/html``; nothing is fetched while building."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path

import adntn_ref
from adntn_ref.ad import ACTIVATIONS, PRIMITIVES

project = "adntn_ref"
author = "The adntn_ref developers"
copyright = "2026, the adntn_ref developers"
version = release = adntn_ref.__version__

extensions = [
    "myst_nb",  # myst_parser, and the notebooks
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",  # the formulas must be readable without a network
]
myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3
# Where a framework is missing, the modules that need it are read without it.
autodoc_mock_imports = [name for name in ("torch", "jax") if importlib.util.find_spec(name) is None]
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of the kernels: on small matrices a second thread costs time
nb_execution_mode = "force"  # what the pages show was computed by this build
nb_execution_timeout = 600  # seconds a cell, on a busy machine
nb_execution_raise_on_error = True
nb_merge_streams = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
html_theme = "furo"
html_static_path = ["_static"]
html_title = f"adntn_ref {release}"
exclude_patterns = ["_build", "_generated"]

GENERATED = Path(__file__).parent / "_generated"


def write_tables(_app: object) -> None:
    """Write the tables that are read off the code: primitives and activations."""
    GENERATED.mkdir(exist_ok=True)
    rows = ["| primitive | what it computes |", "|---|---|"]
    for name, primitive in sorted(PRIMITIVES.items()):
        first = (primitive.__doc__ or "").strip().split("\n")[0].replace("|", "\\|").replace("``", "`")
        rows.append(f"| `{name}` | {first} |")
    (GENERATED / "primitives.md").write_text("\n".join(rows) + "\n", encoding="utf8")
    rows = ["| name | kinks |", "|---|---|"]
    rows += [f"| `{a.name}` | {', '.join(map(str, a.kinks)) or 'none'} |" for a in ACTIVATIONS.values()]
    (GENERATED / "activations.md").write_text("\n".join(rows) + "\n", encoding="utf8")


def draw_pictures(_app: object) -> None:
    """Draw the gallery."""
    sys.path.insert(0, str(Path(__file__).parent))
    importlib.import_module("gallery_pictures").draw_gallery(GENERATED / "pictures")


def setup(app: object) -> None:
    """Ask Sphinx to write the tables and draw the pictures before it reads the pages."""
    importlib.import_module("adntn_ref.networks")  # registers the networks' primitive
    app.connect("builder-inited", write_tables)  # type: ignore[attr-defined]
    app.connect("builder-inited", draw_pictures)  # type: ignore[attr-defined]


# Attributes such as ``name`` and ``dtype`` exist in several classes, and numpydoc's types make links of such words.
suppress_warnings = ["ref.python"]
