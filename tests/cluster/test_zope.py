"""The content of a real Zope instance goes into a cluster and comes out as it was.

The instance is made here: Zope is installed into an environment of its own, started once so that
it creates its content, and its Data.fs is imported.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ZODB
from ZODB.FileStorage import FileStorage
from ZODB.utils import z64

from springtide.testing.cluster import LocalCluster
from tests.facilities import need

#: What an instance says in its first start, and a folder with documents as somebody would make them.
START = """
import sys, transaction
import Zope2
from Zope2.Startup.run import make_wsgi_app
make_wsgi_app({}, sys.argv[1])
app = Zope2.app()
app.manage_addProduct['OFSP'].manage_addFolder('site', 'A site')
for number in range(20):
    app.site.manage_addProduct['OFSP'].manage_addDTMLDocument('page%d' % number, 'Page %d' % number)
    transaction.commit()
app.site.page3.title = 'Renamed'
app.site.manage_delObjects(['page4'])
transaction.commit()
app._p_jar.close()
Zope2.DB.close()
"""


#: What another process of that instance says of the same content, and does with it.
GO_ON = """
import sys, transaction
import Zope2
from Zope2.Startup.run import make_wsgi_app
make_wsgi_app({}, sys.argv[1])
app = Zope2.app()
print(type(app._p_jar.db().storage).__name__, app.site.page3.title, 'page4' in app.site.objectIds())
app.site.page3.title = 'Renamed again'
transaction.commit()
app._p_jar.close()
Zope2.DB.close()
"""
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data_fs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Data.fs of a new Zope instance."""
    home = tmp_path_factory.mktemp("zope")
    venv.create(home / "env")
    python = home / "env" / "bin" / "python"
    # With the very ZODB that is tested, which then need not be installed again; neither need pip.
    (packages,) = (home / "env").glob("lib/*/site-packages")
    (packages / "tested.pth").write_text(sysconfig.get_path("purelib"))
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    pip += ["Zope>=6", str(REPOSITORY)]
    installed = subprocess.run(pip, capture_output=True, text=True, check=False)
    need(installed.returncode == 0, f"pip cannot install Zope: {installed.stderr.strip()[-300:]}")
    instance = home / "instance"
    make = [home / "env" / "bin" / "mkwsgiinstance", "--dir", instance, "--user", "admin:admin"]
    _run([str(part) for part in make], home)
    _run([str(python), "-c", START, str(instance / "etc" / "zope.conf")], instance)
    return instance / "var" / "Data.fs"


def _run(command: list[str], directory: Path) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def springtide(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "springtide", *arguments]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_zopes_content_comes_out_as_it_was(data_fs: Path, cluster: LocalCluster) -> None:
    imported = springtide("import", str(data_fs), "--to", cluster.uri)
    assert imported.returncode == 0, imported.stderr

    source, storage = FileStorage(str(data_fs), read_only=True), cluster.storage()
    try:
        assert len(source) > 20, "the instance created its content"
        assert storage.lastTransaction() == source.lastTransaction()
        assert list(_told(storage)) == list(_told(source))
        assert storage.load(z64)[0] == source.load(z64)[0]
    finally:
        source.close()
        storage.close()

    verified = springtide("verify", cluster.uri, "--json")
    assert verified.returncode == 0, verified.stdout
    assert json.loads(verified.stdout)["equal"]
    assert json.loads(verified.stdout)["nodes"] == ["a", "b", "c"]


@pytest.mark.timeout(900)
def test_a_second_import_is_refused_and_an_interrupted_one_goes_on(data_fs: Path, cluster: LocalCluster) -> None:
    springtide("import", str(data_fs), "--to", cluster.uri, "--continue")

    again = springtide("import", str(data_fs), "--to", cluster.uri)
    continued = springtide("import", str(data_fs), "--to", cluster.uri, "--continue")

    assert again.returncode == 1
    assert "not empty" in again.stderr and "--continue" in again.stderr and "Traceback" not in again.stderr
    assert continued.returncode == 0
    assert " 0 transactions with 0 records" in continued.stdout


@pytest.mark.timeout(900)
def test_an_instance_runs_on_the_cluster_that_its_zope_conf_names(data_fs: Path, cluster: LocalCluster) -> None:
    springtide("import", str(data_fs), "--to", cluster.uri, "--continue")
    instance = data_fs.parents[1]
    configuration = (instance / "etc" / "zope.conf").read_text()
    servers = "".join(f"      server {address}\n" for address in cluster.addresses)
    section = f"<springtide>\n{servers}      cache-bytes 16MB\n    </springtide>"
    named, count = re.subn(r"<filestorage>.*?</filestorage>", section, configuration, count=1, flags=re.DOTALL)
    assert count == 1
    (instance / "etc" / "cluster.conf").write_text(f"%import springtide\n{named}")

    python = instance.parent / "env" / "bin" / "python"
    said = _run([str(python), "-c", GO_ON, str(instance / "etc" / "cluster.conf")], instance)

    assert "ClusterStorage Renamed False" in said
    db = ZODB.DB(cluster.storage())
    assert b"Renamed again" in b"".join(
        record.data for last in db.storage.iterator(db.lastTransaction()) for record in last
    )
    db.close()


def _told(storage: Any) -> Iterator[tuple[Any, ...]]:
    """Everything an iteration says of each transaction."""
    iterator = storage.iterator()
    for transaction in iterator:
        records = sorted((record.oid, record.tid, record.data) for record in transaction)
        yield transaction.tid, transaction.user, transaction.description, transaction.extension, records
    close = getattr(iterator, "close", None)
    if close is not None:
        close()
