"""Generated weights in PyTorch models; see the page docs/interop.md.

``compress_`` puts networks in the place of a model's weights, ``fold_`` makes them dense again, ``save_compressed`` and
``load_compressed_`` write and read this package's files. ``Generator`` is a network as a function of tensors. Needs
PyTorch (extra ``peers``).
"""

from adntn_ref.interop.torch.compress import compress_, fold_
from adntn_ref.interop.torch.files import load_compressed_, save_compressed
from adntn_ref.interop.torch.generator import Generator
from adntn_ref.interop.torch.gradients import WAYS
from adntn_ref.interop.torch.weights import Cores, GeneratedWeight, generated

__all__ = [
    "WAYS",
    "Cores",
    "GeneratedWeight",
    "Generator",
    "compress_",
    "fold_",
    "generated",
    "load_compressed_",
    "save_compressed",
]
