"""Runs: a program bound to its cores, as a chain of segments that a schedule can run, keep and run again.

A segment carries one state to the next: ``forward`` keeps nothing, ``keeping`` keeps what ``back`` needs. Segments
begin at activations, so that the states between them are pre-activations, from which everything else follows. Three
kinds: the steps as they are written (any array library, tape variables too), the frames of a tree, and a backend's own
way to run a plan; all three offer the same verbs.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from adntn_ref.ad.arrays import Array, backend_of
from adntn_ref.ad.tape import is_raw
from adntn_ref.program.frames import Frames
from adntn_ref.program.plan import plan_of
from adntn_ref.program.steps import Activate, Cores, Program, Step


class Chain(Protocol):
    """A chain of ``count`` segments; segment k carries state k to state k + 1, all of them flat arrays."""

    count: int

    def start(self) -> Array:
        """Return state 0."""
        ...

    def forward(self, k: int, x: Array) -> Array:
        """Return state k + 1 from state k, which is not written to."""
        ...

    def keeping(self, k: int, x: Array) -> tuple[Array, Any]:
        """Return state k + 1 from state k, and the record that ``back`` needs."""
        ...

    def again(self, k: int, x: Array) -> Any:
        """Return the record alone."""
        ...

    def back(self, k: int, record: Any, g: Array, owned: bool, found: dict[Any, Array]) -> Array:
        """Return the cotangent of state k from that of state k + 1, and put environments into ``found``.

        With ``owned`` the cotangent g may be written over.
        """
        ...

    def finish(self, g: Array, found: dict[Any, Array]) -> Cores:
        """Return the environment of every core by name, given the cotangent of state 0 and what ``back`` found."""
        ...


class Run(Chain, Protocol):
    """A chain that can be run to its end at once."""

    def last_state(self) -> Array:
        """Return the last state, keeping nothing."""
        ...


def run_of(program: Program | Frames, cores: Cores) -> Run:
    """Bind a program to its cores: by a backend's own runner where it has one for this program, else step by step."""
    if isinstance(program, Frames):
        return FramesRun(program, cores)
    arrays = list(cores.values())
    backend = backend_of(arrays[0]) if is_raw(*arrays) else None
    if (own_way := getattr(backend, "program_run", None)) is not None:
        return own_way(program, cores)  # type: ignore[no-any-return]
    runner = getattr(backend, "plan_run", None)
    plan = plan_of(program) if runner is not None else None
    return StepsRun(program, cores) if plan is None else runner(plan, cores)  # type: ignore[misc]


def run_many(program: Program, cores: Cores, networks: int) -> Run | None:
    """Bind a program to the stacked cores of several networks, or return None where no backend runs them together.

    A state is then the networks' states one after another.
    """
    arrays = list(cores.values())
    runner = getattr(backend_of(arrays[0]), "plan_run", None) if is_raw(*arrays) else None
    plan = plan_of(program) if runner is not None else None
    return None if plan is None else runner(plan, cores, networks)  # type: ignore[misc]


class StartRun:
    """The end of a chain that is the program's start: its forward and its adjoint, on any arrays."""

    program: Program
    cores: Cores
    _factors: Any = None

    def start(self) -> Array:
        """Return the start state: a root core, or a product of small vectors."""
        x, self._factors = self.program.start.forward(self.cores)
        return x

    def finish(self, g: Array, found: dict[Any, Array]) -> Cores:
        """Add the environments of the start's factors."""
        return {**found, **self.program.start.adjoint(self.cores, self._factors, g)}


@dataclass
class StepsRun(StartRun):
    """The steps as they are written down, on any arrays and on tape variables."""

    program: Program
    cores: Cores

    def __post_init__(self) -> None:
        self.segments = segments_of(self.program)
        self.count = len(self.segments)

    def last_state(self) -> Array:
        """Run the steps pass by pass, so that never more than two states are held."""
        x = self.start()
        for segment in self.segments:
            for step in segment:
                for one_pass in step.passes(self.cores):
                    x = one_pass(x)
        return x

    def forward(self, k: int, x: Array) -> Array:
        """Run the steps of a segment pass by pass."""
        for step in self.segments[k]:
            for one_pass in step.passes(self.cores):
                x = one_pass(x)
        return x

    def keeping(self, k: int, x: Array) -> tuple[Array, Any]:
        """Run the steps; each says what its adjoint needs."""
        record = []
        for step in self.segments[k]:
            x, kept = step.forward(self.cores, x)
            record.append(kept)
        return x, record

    def again(self, k: int, x: Array) -> Any:
        """Run the steps, for what they keep."""
        return self.keeping(k, x)[1]

    def back(self, k: int, record: Any, g: Array, owned: bool, found: dict[Any, Array]) -> Array:
        """Run the adjoints of the steps, the last first."""
        for step, kept in zip(reversed(self.segments[k]), reversed(record), strict=True):
            g, environments = step.adjoint(self.cores, kept, g)
            found.update(environments)
        return g


def segments_of(program: Program) -> tuple[tuple[Step, ...], ...]:
    """Cut the steps of a program before every activation."""
    segments: list[list[Step]] = []
    for step in program.steps:
        if not segments or isinstance(step, Activate):
            segments.append([])
        segments[-1].append(step)
    return tuple(tuple(segment) for segment in segments)


@dataclass
class FramesRun:
    """The frames of a tree: one segment from the leaves to the root, and no state before it."""

    frames: Frames
    cores: Cores
    count: int = 1

    def start(self) -> Array:
        """Return nothing: frames start at the cores."""
        return None

    def last_state(self) -> Array:
        """Return the root's tensor, flat."""
        return self.frames.last(self.cores)

    def forward(self, k: int, x: Array) -> Array:
        """Return the root's tensor, flat."""
        return self.last_state()

    def keeping(self, k: int, x: Array) -> tuple[Array, Any]:
        """Return the root's tensor, flat, and what every frame keeps."""
        return self.frames.run(self.cores)

    def again(self, k: int, x: Array) -> Any:
        """Return what every frame keeps."""
        return self.frames.run(self.cores)[1]

    def back(self, k: int, record: Any, g: Array, owned: bool, found: dict[Any, Array]) -> Array:
        """Carry the cotangent down to the leaves."""
        for _, environments, _ in self.frames.walk_back(self.cores, record, g):
            found.update(environments)
        return None

    def finish(self, g: Array, found: dict[Any, Array]) -> Cores:
        """Return what was found: there is no start."""
        return found
