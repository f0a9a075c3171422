"""Ready adapters: complete second implementations of the networks in PyTorch, JAX and HIPS autograd, and more.

Each module has the functions of a candidate, ``generate`` and ``vjp``, and can be given to ``--against``. Importing one
imports its framework; this package imports none.
"""
