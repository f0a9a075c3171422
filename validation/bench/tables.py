"""The tables by name."""

from collections.abc import Callable

from .plan import Plan
from .table import Table
from .trees import trees
from .walls import walls

TABLES: dict[str, Callable[[Plan], Table]] = {"walls": walls, "trees": trees}
