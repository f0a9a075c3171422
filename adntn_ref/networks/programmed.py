"""Networks that are programs of steps: closed-form adjoints, states and environments one by one, second order."""

import os
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from math import prod
from typing import Any

import numpy as np

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array, backend_of, dtype_name
from adntn_ref.ad.tape import Primitive, is_raw, stop_gradient
from adntn_ref.ad.transforms import jvp as tape_jvp
from adntn_ref.errors import DTypeError, SpecError
from adntn_ref.networks.base import Network, Params, Pullback, backend_name, check_init, own, placed
from adntn_ref.networks.fitting import SMALL_BYTES, choose_schedule, naming_memory
from adntn_ref.networks.peaks import peak_bytes
from adntn_ref.program.cost import ITEM_BYTES, Cost, check_dtype, program_cost
from adntn_ref.program.frames import Frames
from adntn_ref.program.linearised import run_second, run_tangent
from adntn_ref.program.memory import LIMIT_VARIABLE, require_memory
from adntn_ref.program.runs import StepsRun, run_of
from adntn_ref.program.schedule import run_adjoint, run_keeping
from adntn_ref.program.starts import calibrate, default_std, draw_cores
from adntn_ref.program.states import run_adjoint_states, run_states, walk_states
from adntn_ref.program.steps import Activate, Program


class ProgramNetwork(Network):
    """A network that is a program of steps, with closed-form adjoints.

    On the tape it is one primitive whose rule is the closed-form adjoint; ``generate_stepwise`` records every step
    instead, slower and equal.
    """

    activation: str

    @property
    @abstractmethod
    def _built(self) -> tuple[Program | Frames, dict[str, tuple[int, ...]]]:
        """The program and the core shapes; built once a specification."""

    @property
    def program(self) -> Program | Frames:
        """The start and the list of steps; for a tree with an activation at every node its frames."""
        return self._built[0]

    @property
    def core_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every core by name, in the order in which they are drawn and stored."""
        return dict(self._built[1])

    @property
    def linear(self) -> bool:
        """Whether no activation stands between the steps, so that the weight is linear in every core."""
        if self.activation == "identity":
            return True
        program = self.program
        if isinstance(program, Frames):
            return len(program.frames) == 1
        return not any(isinstance(step, Activate) for step in program.steps)

    def init(
        self,
        rng: int | np.random.Generator = 0,
        dtype: str = "float64",
        std: float | None = None,
        start: str = "calibrated_orthogonal",
        backend: str | None = None,
    ) -> Params:
        """Draw parameters on the host; see :meth:`Network.init` and :mod:`adntn_ref.program.starts`."""
        check_init(dtype, std, backend)
        self.require_memory("float64", backward=False)
        program = self.program
        vectors = {"root"} if isinstance(program, Frames) else set(program.start.core_names)
        cores = draw_cores(self.core_shapes, vectors, np.random.default_rng(rng), start)
        if start == "calibrated_orthogonal":
            cores = calibrate(
                self.program, cores, self.placement, default_std(self.placement.shape) if std is None else float(std)
            )
        elif std is not None:
            raise SpecError(f"std goes with the calibrated start, not with start={start!r}")
        return placed(cores, backend, dtype)

    def choose_schedule(
        self, dtype: str, schedule: str = "auto", memory_limit: str | int | None = None, backend: str = "numpy"
    ) -> str:
        """Return the schedule that a run with its adjoint takes.

        Parameters
        ----------
        dtype : dtype of the cores
        schedule : a schedule by name, which is checked and returned, or "auto": the fastest that fits
        memory_limit : ``"2GiB"`` or a number of bytes; by default 3/4 of what is free, or ADNTN_REF_MEMORY_LIMIT
        backend : where it runs: whose memory is asked for, and how much its way to run takes

        Raises
        ------
        MemoryLimitError
            Where it takes more than the limit; for "auto", where every schedule does.
        SpecError
            For a name that is no schedule.

        Examples
        --------
        >>> from adntn_ref.networks.brickwall import BrickWall
        >>> net = BrickWall((2**18,), layers=8)
        >>> net.choose_schedule("float32"), net.choose_schedule("float32", memory_limit="20MiB")
        ('keep', 'checkpoints:3')
        """
        return choose_schedule(self, dtype, schedule, memory_limit, backend)

    def generate(self, params: Params, schedule: str = "auto") -> Array:
        """Make the weight; see :meth:`Network.generate`. Variables record it as one primitive, run by ``schedule``."""
        dtype = self.check_params(params)
        if is_raw(*params.values()):
            self.require_memory(dtype, backward=False, backend=backend_name(params))
            return own(self._generate(params))
        return self._taped(params, self.choose_schedule(dtype, schedule, None, backend_name(params)))

    def _taped(self, params: Params, schedule: str) -> Array:
        return network_weight(*(params[name] for name in self.core_shapes), network=self, schedule=schedule)

    def generate_stepwise(self, params: Params) -> Array:
        """Make the weight with every operation recorded on the tape: the slow way, kept as a check."""
        self.require_memory(self.check_params(params), backward=True, backend=backend_name(params))
        return self._generate(params)

    def _generate(self, params: Params) -> Array:
        with _naming_memory(self, params, None):
            return self.placement.extract(run_of(self.program, params).last_state())

    def forward_states(self, params: Params) -> dict[str, Array]:
        """Return the state after every step, by the step's name, each shaped by its indices."""
        self._require_states(params, kept=True)
        dims = {step.name: step.out_dims for step in self.program.all_steps}
        return {name: ops.reshape(x, shape=dims[name]) for name, x in run_states(self.program, params).items()}

    def walk_states(self, params: Params) -> Iterator[tuple[str, Array]]:
        """Yield the states of :meth:`forward_states` with their names as they are made, without keeping them."""
        self._require_states(params, kept=isinstance(self.program, Frames))
        return walk_states(self.program, params)

    def _require_states(self, params: Params, kept: bool) -> None:
        """Refuse to make every state, one after another or ``kept``, where the memory would not do."""
        dtype = self.check_params(params)
        sizes = [prod(step.out_dims) * ITEM_BYTES[dtype] for step in self.program.all_steps]
        needed = 3 * max(sizes) + (sum(sizes) if kept else 0)
        if needed >= SMALL_BYTES or LIMIT_VARIABLE in os.environ:
            what = f"{'keeping' if kept else 'making'} every state of {self!r} in {dtype}"
            require_memory(needed, what, backend=backend_name(params))

    def adjoint_states(self, params: Params, cotangent: Array) -> dict[str, Array]:
        """Return the cotangent of every state, by the step's name, each shaped by its indices.

        ``cotangent`` is that of the weight. The entry of a step that an activation follows is the pre-activation
        adjoint ``G_Z = sigma'(Z) G_X``.
        """
        g = self._prepared(params, cotangent)
        dims = {step.name: step.out_dims for step in self.program.all_steps}
        states = run_adjoint_states(self.program, params, g)
        return {name: ops.reshape(x, shape=dims[name]) for name, x in states.items()}

    def environments(self, params: Params, cotangent: Array) -> Params:
        """Return the environment of every core, the gradient of <cotangent, weight>; what the pullback returns."""
        g = self._prepared(params, cotangent)
        schedule = self.choose_schedule(self.check_params(params), backend=backend_name(params))
        found = _carry_back(self, params, _run(self, params, schedule)[1], g)
        return {name: own(found[name]) for name in self.core_shapes}

    def jvp(self, params: Params, tangents: Params) -> tuple[Array, Array]:
        """Return the weight and its derivative along ``tangents``, like ``params``, by the linearised program."""
        self._check_tangents(params, tangents)
        program = self.program
        if isinstance(program, Frames):
            return self.generate(params), own(tape_jvp(self.generate, params, tangents))
        state, change = run_tangent(program, params, tangents)
        return own(self.placement.extract(state)), own(self.placement.extract(change))

    def hvp(self, params: Params, tangents: Params, cotangent: Array) -> Params:
        """Return the Hessian of ``<cotangent, weight>`` times ``tangents``, by the linearised program, without a tape.

        For frames (``activation_site="node"``) this and ``jvp`` go through the tape.

        Returns
        -------
        dict
            Like ``params``: the derivative of every environment along ``tangents``.
        """
        dtype = self._check_tangents(params, tangents)
        self._check_cotangent(cotangent, dtype, params)
        program = self.program
        if isinstance(program, Frames):
            found = tape_jvp(lambda p: self.environments(p, cotangent), params, tangents)
        else:
            found = run_second(program, params, tangents, self.placement.embed(cotangent))
        return {name: own(found[name]) for name in self.core_shapes}

    def _prepared(self, params: Params, cotangent: Array) -> Array:
        """Check both, and return the cotangent of the last state, never a view of the caller's."""
        dtype = self.check_params(params)
        self._check_cotangent(cotangent, dtype, params)
        self.require_memory(dtype, backward=True, backend=backend_name(params))
        return ops.concatenate([self.placement.embed(cotangent)])

    def _check_tangents(self, params: Params, tangents: Params) -> str:
        dtype = self.check_params(params)
        if self.check_params(tangents) != dtype:
            raise DTypeError(f"the tangents are {self.check_params(tangents)}, the parameters {dtype}")
        self.require_memory(dtype, backward=True, backend=backend_name(params))
        return dtype

    def vjp(
        self, params: Params, schedule: str = "auto", memory_limit: str | int | None = None
    ) -> tuple[Array, Pullback]:
        """Return the weight and its pullback by closed-form adjoints, without a tape; see :meth:`Network.vjp`.

        ``schedule`` and ``memory_limit`` as for :meth:`choose_schedule`. Any schedule gives the same gradients, to the
        bit; with another than "keep" a second call of the pullback computes more states again than the first.
        """
        dtype = self.check_params(params)
        chosen = self.choose_schedule(dtype, schedule, memory_limit, backend_name(params))
        weight, pull = self._vjp(params, chosen)

        def pullback(cotangent: Array) -> Params:
            self._check_cotangent(cotangent, dtype, params)
            return pull(cotangent)

        return weight, pullback

    def _vjp(self, params: Params, schedule: str) -> tuple[Array, Pullback]:
        if schedule == "auto":
            schedule = self.choose_schedule(self.check_params(params), backend=backend_name(params))
        state, record = _run(self, params, schedule)

        def pullback(cotangent: Array) -> Params:
            found = _carry_back(self, params, record, self.placement.embed(cotangent))
            return {name: own(found[name]) for name in self.core_shapes}

        return own(self.placement.extract(state)), pullback

    def cost(self, dtype: str = "float32", schedule: str = "keep", fused: bool = True) -> Cost:
        """Count operations, bytes moved and bytes held, forward and backward, without running anything.

        Parameters
        ----------
        dtype : dtype of the cores
        schedule : "keep", "recompute" or "checkpoints:n"; see :mod:`adntn_ref.program.schedule`
        fused : as the NumPy backend runs it, several columns at a time where it can; else step by step, as other array
            libraries and the tape do
        """
        check_dtype(dtype)
        peaks = peak_bytes(self, dtype, schedule, fused)
        counts: dict[str, Any] = {"weights": self.weights, "dtype": dtype, "schedule": schedule, "fused": fused}
        return program_cost(self.program, self.core_shapes, peaks, **counts)

    def _cost_on(self, dtype: str, schedule: str, backend: str) -> Cost:
        return self.cost(dtype, schedule, fused=backend == "numpy")


def _run(network: ProgramNetwork, params: Params, schedule: str) -> tuple[Array, Any]:
    """Run forward; return the last state, and the run with what it kept."""
    with _naming_memory(network, params, schedule):
        run = run_of(network.program, params)
        state, saved = run_keeping(run, schedule)
    return state, (run, saved)


def _naming_memory(network: ProgramNetwork, params: Params, schedule: str | None) -> AbstractContextManager[None]:
    core = stop_gradient(next(iter(params.values())))
    return naming_memory(network, dtype_name(core), schedule or "keep", backend_of(core))


def _carry_back(network: ProgramNetwork, params: Params, record: Any, g: Array) -> Params:
    """Return the environments of the cores; ``record`` is what :func:`_run` returned.

    Where the cotangent is being recorded every step has to be, so they are run again one by one.
    """
    run, saved = record
    program = network.program
    if not is_raw(g) and isinstance(program, Program) and not isinstance(run, StepsRun):
        run = StepsRun(program, params)
        saved = run_keeping(run, "keep")[1]
    schedule = "keep" if saved.slots is None else f"checkpoints:{saved.slots}"
    with _naming_memory(network, params, schedule):
        return run_adjoint(run, saved, g)


def _forward(xp: Any, *cores: Array, network: ProgramNetwork, schedule: str = "keep") -> tuple[Array, Any]:
    state, record = _run(network, dict(zip(network.core_shapes, cores, strict=True)), schedule)
    return network.placement.extract(state), record


def _rule(
    needed: tuple[int, ...],
    g: Array,
    y: Array,
    record: Any,
    *cores: Array,
    network: ProgramNetwork,
    schedule: str = "keep",
) -> dict[int, Array]:
    """W = net(cores):  the environments of the cores, by the closed-form adjoint.

    Where cores or cotangent are variables of an outer transform the states are computed again from them, so that the
    adjoint is recorded in turn.
    """
    params = dict(zip(network.core_shapes, cores, strict=True))
    if not is_raw(*cores):
        record = _run(network, params, schedule)[1]
    found = _carry_back(network, params, record, network.placement.embed(g))
    return {position: found[name] for position, name in enumerate(network.core_shapes) if position in needed}


_forward.__name__ = "network_weight"
network_weight = ops.register(Primitive(_forward, has_residual=True))
network_weight.joint_rule = _rule
