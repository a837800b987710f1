"""The coordinator's store that a configuration names."""

from __future__ import annotations

from pathlib import Path

from springtide.coordinator.store import Store
from springtide.node.config import NodeConfig
from springtide.wire import channels


def open_store(config: NodeConfig, directory: Path, generation: int) -> Store:
    """Heavy imports stay with the store that is used. ``generation`` keeps reset test clusters apart."""
    name = f"{config.cluster}-{generation}" if generation else config.cluster
    coordinator = config.coordinator
    if coordinator.etcd is not None:
        from springtide.coordinator.etcd import EtcdStore

        etcd = coordinator.etcd
        tls = channels.Tls(etcd.ca, etcd.cert, etcd.key) if etcd.ca is not None else None
        password = etcd.password.get_secret_value()
        return EtcdStore(etcd.endpoints, name, tls=tls, user=etcd.username, password=password)
    if coordinator.embedded is not None:
        from springtide.coordinator.remote import RemoteStore

        return RemoteStore(coordinator.embedded, name)
    from springtide.coordinator.embedded import EmbeddedStore

    return EmbeddedStore.open(directory / "coordinator.json", name)
