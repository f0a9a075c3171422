"""The topologies, each a short file that lists steps; nothing here knows how a step is run."""

from adntn_ref.networks.base import Network, ProgramNetwork
from adntn_ref.networks.brickwall import BrickWall
from adntn_ref.networks.registry import NETWORKS, from_spec
from adntn_ref.networks.shallow import MPO

__all__ = ["MPO", "NETWORKS", "BrickWall", "Network", "ProgramNetwork", "from_spec"]
