"""Every target by its name; a file of this folder each kind of input."""

from importlib import import_module
from pathlib import Path

from fuzz.harness import Target

FILES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
TARGETS: dict[str, Target] = {
    target.name: target for file in FILES for target in import_module(f"fuzz.targets.{file}").TARGETS
}
