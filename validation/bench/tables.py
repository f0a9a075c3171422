"""The tables by name."""

from collections.abc import Callable

from .cores import cores
from .growth import growth_m, growth_q
from .limits_table import machine_limits
from .memory import count, memory
from .models import models
from .optimiser import optimiser
from .plan import Plan
from .table import Table
from .trees import trees
from .walls import walls
from .windows import windows

TABLES: dict[str, Callable[[Plan], Table]] = {
    "limits": machine_limits,
    "walls": walls,
    "windows": windows,
    "trees": trees,
    "cores": cores,
    "memory": memory,
    "count": count,
    "growth-q": growth_q,
    "growth-m": growth_m,
    "optimiser": optimiser,
    "models": models,
}
