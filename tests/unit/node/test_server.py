"""Why a node cannot listen."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace

import pytest
import trustme

from springtide import errors
from springtide.node.server import Server


def bind(address, tls=None):
    async def bound():
        server = Server(SimpleNamespace(node="a", bind=address, tls=tls, advertise=""))
        try:
            await server.bind()
        finally:
            await server.stop()

    asyncio.run(bound())


def test_a_port_in_use_is_named():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"

        with pytest.raises(errors.Occupied, match=f"cannot listen at {address}: another process does"):
            bind(address)


def test_files_that_are_no_certificate_and_its_key_are_not_taken_for_a_port_in_use(tmp_path):
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both")
    (tmp_path / "junk").write_text("junk")
    both, junk = tmp_path / "both", tmp_path / "junk"

    bind("127.0.0.1:0", SimpleNamespace(ca=None, cert=both, key=both))
    with pytest.raises(errors.ConfigError, match=r"both \(cert\) and .*junk \(key\)"):
        bind("127.0.0.1:0", SimpleNamespace(ca=None, cert=both, key=junk))
