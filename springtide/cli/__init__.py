"""The command line: what operators type.

Commands import what they need when they run, so that ``springtide --help`` is quick and
a client's installation is enough for what only talks to a cluster.
"""

from springtide.cli.main import run

__all__ = ["run"]
