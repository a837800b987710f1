from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import trustme

from springtide.client.errors import ClusterUnavailable
from springtide.client.storage import ClusterStorage
from springtide.client.tls import tls_hint
from springtide.errors import ConfigError
from springtide.wire.channels import SERVER_OPTIONS, Tls

CONNECT = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: "


@pytest.mark.parametrize(
    ("details", "hinted"),
    [
        (CONNECT + "Socket closed", True),
        (CONNECT + "Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: ... context: OK", True),
        (CONNECT + "Failed to create security handshaker.", True),
        (CONNECT + "Failed to connect to remote host: Connection refused", False),
        ("DNS resolution failed for nowhere:1", False),
    ],
)
def test_what_looks_like_tls(details, hinted):
    assert ("TLS" in tls_hint(details)) is hinted


@pytest.fixture
def guarded(tmp_path):
    """The files of a node with TLS, and the port where a server uses them."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca")
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    issued.private_key_pem.write_to_path(tmp_path / "key")
    files = Tls(tmp_path / "ca", tmp_path / "cert", tmp_path / "key")
    server = grpc.server(ThreadPoolExecutor(1), options=SERVER_OPTIONS)
    port = server.add_secure_port("127.0.0.1:0", files.server())
    server.start()
    yield files, port
    server.stop(None)


def test_a_client_without_tls_is_told_that_the_node_may_have_it(guarded):
    _, port = guarded

    with pytest.raises(ClusterUnavailable, match="is TLS configured on one side only"):
        ClusterStorage([f"127.0.0.1:{port}"], timeout=0.5)


def test_files_that_are_no_certificate_are_named_at_once(guarded, tmp_path):
    files, port = guarded
    (tmp_path / "junk").write_text("junk")

    with pytest.raises(ConfigError, match="/junk"):
        ClusterStorage([f"127.0.0.1:{port}"], tls=Tls(files.ca, files.cert, tmp_path / "junk"))
