"""Networks that are programs of steps: closed-form adjoints, states and environments one by one, second order."""

from abc import abstractmethod
from typing import Any

import numpy as np

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array
from adntn_ref.ad.tape import Primitive, is_raw
from adntn_ref.ad.transforms import jvp as tape_jvp
from adntn_ref.errors import DTypeError, SpecError
from adntn_ref.networks.base import Network, Params, Pullback, check_init, own
from adntn_ref.program.cost import Cost, program_cost
from adntn_ref.program.frames import Frames
from adntn_ref.program.linearised import run_second, run_tangent
from adntn_ref.program.schedule import run_adjoint, run_adjoint_states, run_forward, run_keeping, run_states
from adntn_ref.program.starts import calibrate, default_std, draw_cores
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
    ) -> Params:
        """Draw parameters on the host; see :meth:`Network.init` and :mod:`adntn_ref.program.starts`."""
        check_init(dtype, std)
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
        return {name: np.ascontiguousarray(core, dtype=dtype) for name, core in cores.items()}

    def generate(self, params: Params) -> Array:
        """Make the weight; see :meth:`Network.generate`. Variables record it as one primitive."""
        dtype = self.check_params(params)
        names = list(self.core_shapes)
        if is_raw(*params.values()):
            self.require_memory(dtype, backward=False)
            return own(self._generate(params))
        self.require_memory(dtype, backward=True)
        return network_weight(*(params[name] for name in names), network=self)

    def generate_stepwise(self, params: Params) -> Array:
        """Make the weight with every operation recorded on the tape: the slow way, kept as a check."""
        self.require_memory(self.check_params(params), backward=True)
        return self._generate(params)

    def _generate(self, params: Params) -> Array:
        return self.placement.extract(run_forward(self.program, params))

    def forward_states(self, params: Params) -> dict[str, Array]:
        """Return the state after every step, by the step's name, each shaped by its indices."""
        self.require_memory(self.check_params(params), backward=True)
        dims = {step.name: step.out_dims for step in self.program.all_steps}
        return {name: ops.reshape(x, shape=dims[name]) for name, x in run_states(self.program, params).items()}

    def adjoint_states(self, params: Params, cotangent: Array) -> dict[str, Array]:
        """Return the cotangent of every state, by the step's name, each shaped by its indices.

        ``cotangent`` is that of the weight. The entry of a step that an activation follows is the pre-activation
        adjoint ``G_Z = sigma'(Z) G_X``.
        """
        record, g = self._prepared(params, cotangent)
        dims = {step.name: step.out_dims for step in self.program.all_steps}
        states = run_adjoint_states(self.program, params, record, g)
        return {name: ops.reshape(x, shape=dims[name]) for name, x in states.items()}

    def environments(self, params: Params, cotangent: Array) -> Params:
        """Return the environment of every core, the gradient of <cotangent, weight>; what the pullback returns."""
        record, g = self._prepared(params, cotangent)
        found = run_adjoint(self.program, params, record, g)
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
        self._check_cotangent(cotangent, dtype)
        program = self.program
        if isinstance(program, Frames):
            found = tape_jvp(lambda p: self.environments(p, cotangent), params, tangents)
        else:
            found = run_second(program, params, tangents, self.placement.embed(cotangent))
        return {name: own(found[name]) for name in self.core_shapes}

    def _prepared(self, params: Params, cotangent: Array) -> tuple[Any, Array]:
        """Check, run forward, and return the record of the run and the cotangent of the last state."""
        dtype = self.check_params(params)
        self._check_cotangent(cotangent, dtype)
        self.require_memory(dtype, backward=True)
        return run_keeping(self.program, params)[1], self.placement.embed(cotangent)

    def _check_tangents(self, params: Params, tangents: Params) -> str:
        dtype = self.check_params(params)
        if self.check_params(tangents) != dtype:
            raise DTypeError(f"the tangents are {self.check_params(tangents)}, the parameters {dtype}")
        self.require_memory(dtype, backward=True)
        return dtype

    def vjp(self, params: Params) -> tuple[Array, Pullback]:
        """Return the weight and its pullback by closed-form adjoints, without a tape; see :meth:`Network.vjp`."""
        dtype = self.check_params(params)
        self.require_memory(dtype, backward=True)
        state, record = run_keeping(self.program, params)

        def pullback(cotangent: Array) -> Params:
            self._check_cotangent(cotangent, dtype)
            found = run_adjoint(self.program, params, record, self.placement.embed(cotangent))
            return {name: own(found[name]) for name in self.core_shapes}

        return own(self.placement.extract(state)), pullback

    def cost(self, dtype: str = "float32", schedule: str = "keep") -> Cost:
        """Count operations, bytes moved and bytes held, forward and backward, without running anything."""
        return program_cost(self.program, self.parameter_count, self.weights, dtype, schedule)


def _forward(xp: Any, *cores: Array, network: ProgramNetwork) -> tuple[Array, Any]:
    params = dict(zip(network.core_shapes, cores, strict=True))
    state, record = run_keeping(network.program, params)
    return network.placement.extract(state), record


def _rule(
    needed: tuple[int, ...], g: Array, y: Array, record: Any, *cores: Array, network: ProgramNetwork
) -> dict[int, Array]:
    """W = net(cores):  the environments of the cores, by the closed-form adjoint.

    Where cores or cotangent are variables of an outer transform the states are computed again from them, so that the
    adjoint is recorded in turn.
    """
    params = dict(zip(network.core_shapes, cores, strict=True))
    if not is_raw(*cores):
        record = run_keeping(network.program, params)[1]
    found = run_adjoint(network.program, params, record, network.placement.embed(g))
    return {position: found[name] for position, name in enumerate(network.core_shapes) if position in needed}


_forward.__name__ = "network_weight"
network_weight = ops.register(Primitive(_forward, has_residual=True))
network_weight.joint_rule = _rule
