"""The commands and their options. What each does is in the module of its name."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Literal

import click

from springtide.errors import SpringtideError

#: As shells do for a program that ended by SIGINT.
INTERRUPTED = 130


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what goes wrong is one sentence on stderr and a status that is not 0."""
    # gRPC's own lines on stderr repeat, in its words, what errors here say in one sentence.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        status = springtide.main(args=arguments, prog_name="springtide", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has seen enough; nothing more can be said to it.
        sys.stdout = None
        return 1
    except SpringtideError as error:
        return _fail(error)
    except Exception as error:
        if not _is_storage_error(error):
            raise
        return _fail(error)
    return status if isinstance(status, int) else 0


def _fail(error: Exception) -> int:
    click.echo(f"springtide: {error}", err=True)
    return 1


def _is_storage_error(error: Exception) -> bool:
    """Whether it is one that the client raises on purpose; no command imports ZODB just for its errors."""
    if "ZODB.POSException" not in sys.modules:
        return False
    from transaction.interfaces import TransientError
    from ZODB.POSException import POSError

    return isinstance(error, (POSError, TransientError))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(metadata.version("springtide"), prog_name="springtide")
def springtide() -> None:
    """A replicated, fault-tolerant storage cluster for ZODB."""


@springtide.command()
@click.option("--config", type=click.Path(path_type=Path), help="The node's TOML file.")
@click.option("--standalone", type=click.Path(path_type=Path), metavar="DIR", help="One process, no coordinator.")
@click.option("--bind", metavar="HOST:PORT", help="The address to listen on.")
@click.option("--advertise", metavar="HOST:PORT", help="The address that others reach this node at.")
@click.option("--insecure", is_flag=True, help="Listen beyond loopback without TLS all the same.")
def node(config: Path | None, standalone: Path | None, bind: str | None, advertise: str | None, insecure: bool) -> int:
    """Run a node until SIGTERM."""
    from springtide.cli import node as command

    return command.run(config, standalone, bind, advertise, insecure)


@springtide.command()
@click.option("--bind", default="127.0.0.1:8549", show_default=True, metavar="HOST:PORT")
@click.option("--file", type=click.Path(path_type=Path), required=True, help="Where the record is kept.")
@click.option("--insecure", is_flag=True, help="Listen beyond loopback without TLS all the same.")
def coordinator(bind: str, file: Path, insecure: bool) -> int:
    """Run the embedded coordinator until SIGTERM: for one machine, demos and tests."""
    from springtide.cli import coordinator as command

    return command.run(bind, file, insecure)


@springtide.command()
@click.argument("uri")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def status(uri: str, as_json: bool) -> int:
    """Nodes, roles, epoch, in-sync set, positions, lag."""
    from springtide.cli import status as command

    return command.run(uri, as_json)


@springtide.command()
@click.argument("address", default="")
@click.option("--config", type=click.Path(path_type=Path), help="The node's TOML file.")
def health(address: str, config: Path | None) -> int:
    """Whether the node on this machine serves: one line, and 0 or 1. Without a file, no TLS is spoken."""
    from springtide.cli import health as command

    return command.run(config, address)


@springtide.command()
@click.argument("uri")
@click.option("--to", default="", metavar="NODE", help="The node to lead; by default the best one.")
def handover(uri: str, to: str) -> int:
    """Have the primary hand its role to another in-sync node."""
    from springtide.cli import handover as command

    return command.run(uri, to)


@springtide.command()
@click.argument("node")
def compact(node: str) -> int:
    """Give the free space of a node's state back. NODE is its address, as in springtide://db1:8550."""
    from springtide.cli import compact as command

    return command.run(node)


@springtide.command()
@click.argument("uri")
@click.option("--keep", default="0 days", show_default=True, help="How much history stays, as in '7 days'.")
@click.option("--gc/--no-gc", default=None, help="Whether objects go, too, that nothing refers to: as the URI says.")
def pack(uri: str, keep: str, gc: bool | None) -> int:
    """Take away old revisions, and objects that nothing refers to."""
    from springtide.cli import pack as command

    return command.run(uri, keep, gc)


@springtide.command()
@click.option(
    "--config", type=click.Path(path_type=Path), required=True, help="The TOML file of a node that is stopped."
)
@click.option("--epochs-seen", type=click.IntRange(1), help="The highest epoch that any node has promised.")
@click.option("--restored", is_flag=True, help="The coordinator was put back to an older state of the same epoch.")
@click.option("--yes", is_flag=True, help="Do it; without, only say what is there, and what it would write.")
def recover(config: Path, epochs_seen: int | None, restored: bool, yes: bool) -> int:
    """Write the coordinator's record again, after it was lost or put back to an older state."""
    from springtide.cli import recover as command

    return command.run(config, epochs_seen, restored, yes)


@springtide.command()
@click.argument("uri")
@click.argument("number", type=click.IntRange(1))
@click.option("--epoch", type=click.IntRange(1), help="The present epoch: to lower the minimum for what is there now.")
@click.option("--yes", is_flag=True, help="Do it; without, only say what it would do.")
def minimum(uri: str, number: int, epoch: int | None, yes: bool) -> int:
    """Set how many nodes must hold a commit before it is acknowledged (min_in_sync)."""
    from springtide.cli import operating as command

    return command.minimum(uri, number, epoch, yes)


@springtide.command()
@click.argument("uri")
@click.argument("node")
@click.option("--yes", is_flag=True, help="Do it; without, only say what it would do.")
def remove(uri: str, node: str, yes: bool) -> int:
    """Take a node out of the in-sync set, because it will not come back."""
    from springtide.cli import operating as command

    return command.remove(uri, node, yes)


@springtide.command()
@click.argument("uri")
@click.option("--epoch", type=click.IntRange(1), help="The epoch that is overridden.")
@click.option("--off", default="", metavar="NODE,NODE", help="In-sync nodes that are known to be off.")
@click.option("--yes", is_flag=True, help="Do it; without, only say what it would do.")
def force(uri: str, epoch: int | None, off: str, yes: bool) -> int:
    """Have one node lead, whatever others hold: when nobody who is in sync will come back.

    URI names that node alone. What only others hold is lost.
    """
    from springtide.cli import operating as command

    return command.force(uri, epoch, [name for name in off.split(",") if name], yes)


@springtide.group()
def diverged() -> None:
    """What a node set aside of its log because it was never committed: list it, show it, export it.

    At the node's machine, whether the node runs or not: name its TOML file, or its directory.
    """


_CONFIG = click.option("--config", type=click.Path(path_type=Path), help="The node's TOML file.")
_DATA = click.option("--data", type=click.Path(path_type=Path), help="The node's directory.")


@diverged.command("list")
@_CONFIG
@_DATA
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def diverged_list(config: Path | None, data: Path | None, as_json: bool) -> int:
    """The tails, named by their first and last entry (epoch-lsn)."""
    from springtide.cli import diverged as command

    return command.list_(command.directory_of(config, data), as_json)


@diverged.command("show")
@click.argument("tail")
@_CONFIG
@_DATA
@click.option("--json", "as_json", is_flag=True, help="For scripts: a line for each transaction.")
def diverged_show(tail: str, config: Path | None, data: Path | None, as_json: bool) -> int:
    """The transactions of a tail, with user, description and the objects that they wrote."""
    from springtide.cli import diverged as command

    return command.show(command.directory_of(config, data), tail, as_json)


@diverged.command("export")
@click.argument("tail")
@click.argument("file", type=click.Path(path_type=Path))
@_CONFIG
@_DATA
def diverged_export(tail: str, file: Path, config: Path | None, data: Path | None) -> int:
    """Write a tail as a FileStorage, FILE, with its blobs in FILE.blobs."""
    from springtide.cli import diverged as command

    return command.export(command.directory_of(config, data), tail, file)


@springtide.command()
@click.option("--keep", is_flag=True, help="Leave the cluster running until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures for scripts, and nothing else.")
@click.option("--store", type=click.Choice(["embedded", "etcd"]), default="embedded", show_default=True)
@click.option("--seconds", type=click.FloatRange(3, 3600), default=12.0, show_default=True, help="Of commits.")
@click.option("--clients", type=click.IntRange(1, 64), default=4, show_default=True)
def demo(keep: bool, as_json: bool, store: Literal["embedded", "etcd"], seconds: float, clients: int) -> int:
    """Three nodes in a temporary directory; the primary is killed under load; nothing is lost."""
    from springtide.cli import demo as command

    return command.run(command.Options(keep, as_json, store, seconds, clients))


@springtide.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", "uri", required=True, metavar="URI", help="The cluster to copy into.")
@click.option("--continue", "resume", is_flag=True, help="Go on after the cluster's last transaction.")
@click.option(
    "--blob-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The directory of its blobs, where it has some.",
)
def import_(file: Path, uri: str, resume: bool, blob_dir: Path | None) -> int:
    """Copy a FileStorage (Data.fs) into an empty cluster, transaction by transaction, with its blobs."""
    from springtide.cli import import_ as command

    return command.run(file, uri, resume, blob_dir)


@springtide.command()
@click.argument("uri")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.option("--files", is_flag=True, help="Read the files of blobs, too, on every node.")
def verify(uri: str, as_json: bool, files: bool) -> int:
    """Compare all nodes record for record, checking every checksum.

    Ends with 0 where they hold the same, 1 where they differ, 3 where not all could be asked.
    """
    from springtide.cli import verify as command

    return command.run(uri, as_json, files)
