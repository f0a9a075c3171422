"""Shallow tensor networks: the rivals a deep generator is compared with at equal parameter count.

Each in a file of its own: low rank, tensor train and matrix product operator, CP, Tucker. What they share is in
:mod:`adntn_ref.networks.multilinear`; decompositions of a given weight, and their error bounds, in
:mod:`adntn_ref.networks.decompose`.
"""

from adntn_ref.networks.cp import CP
from adntn_ref.networks.decompose import ErrorBound
from adntn_ref.networks.lowrank import LowRank
from adntn_ref.networks.train import MPO, TensorTrain
from adntn_ref.networks.tucker import Tucker

__all__ = ["CP", "MPO", "ErrorBound", "LowRank", "TensorTrain", "Tucker"]
