"""What a test needs of the machine. Missing: 'not tried', and why; or a failure, where everything is demanded."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from springtide.testing import etcd

#: Set where every facility must be there (`.ci/run`).
REQUIRE_ALL = "SPRINGTIDE_REQUIRE_ALL"
#: The whole matrix (`make test-all`): set where there is time for it.
ALL = bool(os.environ.get("SPRINGTIDE_TEST_ALL"))


def need(there: object, what: str) -> None:
    """Go on only where ``there`` is true; ``what`` says what is missing and how to get it."""
    if there:
        return
    if os.environ.get(REQUIRE_ALL):
        pytest.fail(f"missing, and {REQUIRE_ALL} is set: {what}", pytrace=False)
    pytest.skip(f"not tried: {what}")


def need_an_etcd_to_kill() -> None:
    """An etcd that keeps its data whatever is done to it: 3.5.0 to 3.5.2, such as the one in the wheel, may not."""
    found = etcd.version(etcd.find())
    need(
        found[:2] != (3, 5) or found > (3, 5, 2), f"etcd {found} may lose data when killed: apt-get install etcd-server"
    )


def compiled(source: Path, target: Path) -> Path:
    """A shared library of one C file, by the system's compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    need(compiler, "a C compiler with its library's headers: apt-get install gcc libc6-dev")
    assert compiler is not None
    command = [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(target), str(source), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return target
