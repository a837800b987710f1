"""What a local cluster consists of: the command of each process, and the file that a node is told with."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from springtide.testing import etcd
from springtide.testing.process import Process, free_port
from springtide.testing.toml import to_toml

Store = Literal["embedded", "etcd"]
#: What keeps the cluster's record, in the place of a node id: `.kill("store")`.
STORE = "store"
_SPRINGTIDE = [sys.executable, "-m", "springtide"]


def store_process(store: Store, directory: Path, port: int) -> Process:
    if store == "etcd":
        return etcd.process(directory, port, free_port())
    command = [*_SPRINGTIDE, "coordinator", "--bind", f"127.0.0.1:{port}"]
    command += ["--file", str(directory / "coordinator.json")]
    return Process(STORE, command, directory / "store.log")


def node_process(directory: Path, settings: Mapping[str, object]) -> Process:
    """A node with these settings, which are written to its file in ``directory``."""
    node = str(settings["node"])
    file = directory / f"{node}.toml"
    file.write_text(to_toml(settings), "utf-8")
    return Process(node, [*_SPRINGTIDE, "node", "--config", str(file)], directory / f"{node}.log")


def coordinator(store: Store, address: str) -> dict[str, object]:
    """The table of a node's settings that names the store."""
    return {"etcd": {"endpoints": [address]}} if store == "etcd" else {"embedded": address}
