"""Benchmarks: ``python -m adntn_ref.validation.bench`` measures the package and its peers side by side, in one run.

Each row of a table is one piece of work. Everybody who can do it (the package, and the same network in torch, JAX, HIPS
autograd and NumPy) is first compared with the package's loss and gradients and then timed in rounds, one after the
other, so that what disturbs the machine disturbs all alike. Only ratios within one run mean anything, and under 1.3 is
a tie.
"""
