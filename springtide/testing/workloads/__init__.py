"""What clients of a cluster under attack do: each workload notes what its checker needs.

``python -m springtide.testing.workloads`` is one client process; ``Clients`` runs several of them.
"""

from springtide.testing.workloads.all import WORKLOADS, Workload, set_up
from springtide.testing.workloads.clients import Clients
from springtide.testing.workloads.final import read_final

__all__ = ["WORKLOADS", "Clients", "Workload", "read_final", "set_up"]
