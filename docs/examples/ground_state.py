"""The ground state of a Heisenberg chain: quimb writes and contracts the network, the tape differentiates the energy.

python docs/examples/ground_state.py   # needs: python -m pip install "adntn-ref[neighbours]"
"""

from typing import Any

import numpy as np
import quimb.tensor as qtn
from scipy.optimize import minimize

import adntn_ref as ar

SITES, BOND = 6, 4
STATE = qtn.MPS_rand_state(SITES, BOND, seed=1)
HAMILTONIAN = qtn.MPO_ham_heis(SITES)
SHAPES = [tensor.shape for tensor in STATE]
ENDS = np.cumsum([int(np.prod(shape)) for shape in SHAPES])


def energy(x: Any) -> Any:
    """Return <p|H|p> / <p|p> of the state whose tensors lie end to end in x."""
    p = STATE.copy()
    for tensor, shape, end in zip(p, SHAPES, ENDS, strict=True):
        tensor.modify(data=x[end - int(np.prod(shape)) : end].reshape(shape))
    below, middle, above = qtn.tensor_network_align(p, HAMILTONIAN, p.H)
    total = (below & middle & above).contract(all, optimize="greedy")
    return total / (p.H & p).contract(all, optimize="greedy")


start = np.concatenate([tensor.data.reshape(-1) for tensor in STATE])
found = minimize(ar.value_and_grad(energy), start, jac=True, method="L-BFGS-B", options={"maxiter": 100})
exact = np.linalg.eigvalsh(qtn.MPO_ham_heis(SITES).to_dense())[0]
print(f"{found.nit} steps: energy {found.fun:.6f}, exact {exact:.6f}")
