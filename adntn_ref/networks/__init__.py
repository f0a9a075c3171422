"""The topologies, each a short file that lists steps; nothing here knows how a step is run."""

from adntn_ref.networks.attn import ATTN
from adntn_ref.networks.base import Network
from adntn_ref.networks.brickwall import BrickWall
from adntn_ref.networks.mera import MERA
from adntn_ref.networks.programmed import ProgramNetwork
from adntn_ref.networks.registry import NETWORKS, from_spec
from adntn_ref.networks.shallow import MPO
from adntn_ref.networks.ttn import TTN

__all__ = ["ATTN", "MERA", "MPO", "NETWORKS", "TTN", "BrickWall", "Network", "ProgramNetwork", "from_spec"]
