"""The models that are compressed: layers, models, data sets.

A model holds no arrays. Its parameters are a dict from a name such as ``"fc1.weight"`` (PyTorch's names and shapes)
to an array, so that any of them can be exchanged for the output of a generator.
"""
