"""The models that are compressed: layers, models, data sets; ``nn.model(name)`` makes one of those with a name.

A model holds no arrays. Its parameters are a dict from a name such as ``"fc1.weight"`` (PyTorch's names and shapes)
to an array, so that any of them can be exchanged for the output of a generator.
"""

from adntn_ref.nn.zoo import MODELS, model

__all__ = ["MODELS", "model"]
