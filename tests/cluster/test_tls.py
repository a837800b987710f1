"""Nodes and clients that show each other certificates, and those that have none."""

from __future__ import annotations

from pathlib import Path

import pytest
import transaction
import trustme
from click.testing import CliRunner

import springtide
from springtide.cli.main import springtide as command
from springtide.errors import SpringtideError
from springtide.testing.cluster import LocalCluster
from springtide.wire.channels import Tls

pytestmark = pytest.mark.cluster


def certificate(authority: trustme.CA, directory: Path) -> Tls:
    directory.mkdir()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    tls = Tls(directory / "ca.pem", directory / "cert.pem", directory / "key.pem")
    assert tls.ca and tls.cert and tls.key
    authority.cert_pem.write_to_path(tls.ca)
    issued.private_key_pem.write_to_path(tls.key)
    for part in issued.cert_chain_pems:
        part.write_to_path(tls.cert, append=True)
    return tls


def test_a_cluster_and_its_clients_with_certificates(tmp_path: Path) -> None:
    ours = certificate(trustme.CA(), tmp_path / "ours")
    strangers = certificate(trustme.CA(), tmp_path / "strangers")

    with LocalCluster(2, tls=ours) as cluster:
        uri = f"{cluster.uri}/?tls_ca={ours.ca}&tls_cert={ours.cert}&tls_key={ours.key}"
        db = springtide.open(uri)
        with db.transaction() as connection:
            connection.root()["x"] = 1
        primary = cluster.primary()
        cluster.kill(primary)
        with db.transaction() as connection:
            connection.root()["x"] += 1
        connection = db.open()
        assert connection.root()["x"] == 2
        transaction.abort()
        connection.close()
        db.close()
        cluster.start(primary)
        cluster.wait_in_sync()

        status = CliRunner().invoke(command, ["status", uri])
        assert status.exit_code == 0 and "primary" in status.output

        for wrong in (None, strangers, Tls(ours.ca)):
            storage = cluster.storage(tls=wrong, wait=False, timeout=1)
            with pytest.raises(springtide.ClusterUnavailable, match=r"127\.0\.0\.1"):
                storage.getSize()
            storage.close()


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpringtideError, match=r"nowhere\.pem cannot be read"):
        springtide.ClusterStorage(["127.0.0.1:1"], tls=Tls(tmp_path / "nowhere.pem"), wait=False)
    with pytest.raises(SpringtideError, match="needs its key"):
        springtide.ClusterStorage(["127.0.0.1:1"], tls=Tls(cert=tmp_path / "cert.pem"), wait=False)
