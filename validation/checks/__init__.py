"""Gradient checks for any function: of the tape, of NumPy with a gradient written by hand, of torch and of JAX."""
