"""The experiments that come with the package: one TOML file a row of the papers' tables, and some of our own."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from adntn_ref.errors import ConfigError, nearest
from adntn_ref.experiments.catalogue import needs_folder
from adntn_ref.experiments.config import Config, read_config
from adntn_ref.experiments.plan import make_plan


@cache
def shipped_files(folder: str) -> dict[str, Path]:
    """Return the shipped files by name, of the folder ``rows`` (experiments) or ``sweeps``."""
    entries = (files("adntn_ref.experiments") / folder).iterdir()
    paths = (Path(str(entry)) for entry in entries)
    return {path.stem: path for path in sorted(paths) if path.suffix == ".toml"}


def names() -> list[str]:
    """Return the names of all shipped experiments."""
    return list(shipped_files("rows"))


def is_file(name: str | Path) -> bool:
    """Return whether there is such a file; there is none for a name that the system cannot look for."""
    try:
        return Path(name).is_file()
    except OSError:
        return False


def find_config(name: str) -> Config:
    """Return a shipped experiment by name, or the one in a TOML file.

    Raises
    ------
    ConfigError
        If there is no such file and no shipped experiment is called so, or the file is wrong.
    """
    if path := shipped_files("rows").get(name):
        return read_config(path)
    if not is_file(name):
        known = names()
        listed = f"{', '.join(known)}{nearest(name, known)}"
        raise ConfigError(f"no file and no shipped experiment is called {name!r}; shipped: {listed}")
    return read_config(name)


def shipped_text(name: str) -> str:
    """Return the TOML text of a shipped experiment."""
    return shipped_files("rows")[name].read_text(encoding="utf8")


def overview() -> Iterator[dict[str, Any]]:
    """Yield, for each shipped experiment, what a list shows of it."""
    for name in names():
        config = find_config(name)
        plan = make_plan(config, data_too=False)
        yield {
            "name": name,
            "title": config.title,
            "model": config.model.name,
            "data": config.data.name,
            "needs_folder": needs_folder(config.data.name),
            "layers": list(plan.layers),
            "network": config.network.label,
            "weights": plan.weights,
            "parameters": plan.parameters(plan.row),
            "ratio": plan.weights / plan.parameters(plan.row),
            "published": config.to_dict().get("published"),
        }
