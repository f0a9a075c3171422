"""The topologies, each a short file that lists steps; nothing here knows how a step is run."""

from adntn_ref.networks.attn import ATTN
from adntn_ref.networks.base import Network
from adntn_ref.networks.brickwall import BrickWall
from adntn_ref.networks.combine import Split, Sum
from adntn_ref.networks.delta import Delta
from adntn_ref.networks.mera import MERA
from adntn_ref.networks.programmed import ProgramNetwork
from adntn_ref.networks.registry import NETWORKS, from_spec
from adntn_ref.networks.shallow import CP, MPO, ErrorBound, LowRank, TensorTrain, Tucker
from adntn_ref.networks.sizes import at_most
from adntn_ref.networks.stack import Stack
from adntn_ref.networks.ttn import TTN

__all__ = [
    "ATTN",
    "CP",
    "MERA",
    "MPO",
    "NETWORKS",
    "TTN",
    "BrickWall",
    "Delta",
    "ErrorBound",
    "LowRank",
    "Network",
    "ProgramNetwork",
    "Split",
    "Stack",
    "Sum",
    "TensorTrain",
    "Tucker",
    "at_most",
    "from_spec",
]
