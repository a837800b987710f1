"""What one node is told: a TOML file, overridden by the environment and by the command line.

Every key can be given in the environment as ``SPRINGTIDE_KEY``, keys of a table
as ``SPRINGTIDE_TABLE__KEY``, lists with commas. Everything is checked here, once; what is wrong ends in
one ``ConfigError`` of one sentence that names the place and says what to do.
"""

from __future__ import annotations

import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ByteSize, Field, ValidationError
from pydantic import field_validator as check
from pydantic import model_validator as check_together
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from springtide.errors import ConfigError
from springtide.node.address import is_loopback, is_wildcard, parse_address
from springtide.node.config_errors import At, sentence
from springtide.node.config_tables import GIB, STRICT, Coordinator, Limits, Names, Pack, Tls, address, name

PREFIX = "SPRINGTIDE_"
STANDALONE_BIND = "127.0.0.1:8550"


class NodeConfig(BaseModel):
    model_config = STRICT

    node: str
    #: Address to listen on; port 0 for any free one.
    bind: str
    #: Address that others reach this node at; where it is empty, the one it listens on.
    advertise: str = ""
    data: Path
    #: The cluster's name: the store prefix, so that one etcd may serve several clusters.
    cluster: str = "main"
    coordinator: Coordinator
    #: The nodes a new cluster starts with; from their number its first minimum is derived, once.
    initial_nodes: Names = ()
    #: What a new cluster starts with instead of the derived minimum.
    min_in_sync: int | None = Field(default=None, ge=1)
    tls: Tls | None = None
    #: Listen beyond loopback without TLS all the same.
    insecure: bool = False
    limits: Limits = Limits()
    #: Pack by itself, as this table says; without it, only who asks for it packs.
    pack: Pack | None = None

    lease_seconds: float = Field(default=3.0, ge=0.2, le=3600)
    heartbeat_seconds: float = Field(default=0.25, gt=0, le=60)
    #: A follower silent for this long is shrunk away, so that commits go on.
    stall_seconds: float = Field(default=1.0, gt=0, le=3600)
    vote_wait_seconds: float = Field(default=10.0, gt=0, le=3600)
    transaction_timeout_seconds: float = Field(default=120.0, gt=0, le=86400)
    #: For how long a client that lost its node may ask what became of a transaction. After that, nobody knows.
    outcomes_kept_seconds: float = Field(default=86400.0, gt=0)
    #: A clock that is further ahead of most nodes' is not used for the tids of commits.
    clock_ahead_max_seconds: float = Field(default=60.0, gt=0)
    #: A node that had no proof from the primary for so long says so: clients go elsewhere, if there is anywhere to go.
    staleness_max_seconds: float = Field(default=10.0, gt=0, le=86400)
    log_retention_bytes: ByteSize = Field(default=ByteSize(GIB), gt=0)
    #: While less is free on the disk of an in-sync node, commits are refused. The primary's setting counts.
    min_free_bytes: ByteSize = Field(default=ByteSize(64 * 2**20), ge=0)
    #: Tests only: lets the Admin service empty this node.
    allow_reset: bool = False

    @check("node", "cluster")
    @classmethod
    def _is_name(cls, value: str) -> str:
        return name(value)

    @check("data")
    @classmethod
    def _is_directory(cls, value: Path) -> Path:
        if value.exists() and not value.is_dir():
            raise ValueError(f"is {value}, which is not a directory; name one, or a place where it can be made")
        return value

    @check("initial_nodes")
    @classmethod
    def _are_names(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            name(value)
        if len(set(values)) != len(values):
            raise ValueError("names a node twice")
        return values

    @check("bind", "advertise")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return address(value) if value else value

    @check_together(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        """A cluster of one needs no list of its nodes."""
        if isinstance(values, dict) and "initial_nodes" not in values:
            coordinator = values.get("coordinator")
            inside = (
                coordinator.get("inside") if isinstance(coordinator, dict) else getattr(coordinator, "inside", None)
            )
            if inside and isinstance(values.get("node"), str):
                return {**values, "initial_nodes": (values["node"],)}
        return values

    @check_together(mode="after")
    def _together(self) -> Self:
        if not self.bind:
            raise At("bind", 'must be "host:port"')
        if not self.initial_nodes:
            raise At("initial_nodes", 'is missing; list the nodes that the cluster starts with, as in ["a", "b", "c"]')
        if self.coordinator.inside and self.initial_nodes != (self.node,):
            raise At("initial_nodes", "names other nodes, but a coordinator inside this node's process serves no other")
        if self.min_in_sync is not None and self.min_in_sync > len(self.initial_nodes):
            raise At("min_in_sync", f"is larger than the number of initial_nodes ({len(self.initial_nodes)})")
        if self.stall_seconds < 2 * self.heartbeat_seconds:
            raise At(
                "stall_seconds", "must be at least twice heartbeat_seconds, or followers that are well are removed"
            )
        if self.lease_seconds < 2 * self.heartbeat_seconds:
            raise At("lease_seconds", "must be at least twice heartbeat_seconds")
        if not is_loopback(self.bind) and self.tls is None and not self.insecure:
            raise At(
                "bind",
                f"is {self.bind}, which others can reach, and there is no [tls] table: anyone could read and write; "
                "configure TLS, bind to 127.0.0.1, or say insecure = true (--insecure) if the network itself is safe",
            )
        if not self.advertise and is_wildcard(self.bind):
            raise At(
                "advertise", f"is missing; with bind {self.bind} say at which host:port (--advertise) others reach this"
            )
        return self


# -- where settings come from -----------------------------------------------------------------


def load(file: Path, overrides: Mapping[str, object] | None = None) -> NodeConfig:
    """The configuration in ``file``; the environment wins over it, and ``overrides`` over both."""
    table = _read(file)
    return _validate(str(file), _relative_to(file.parent, table), overrides or {})


def standalone(
    directory: Path, bind: str = STANDALONE_BIND, insecure: bool = False, advertise: str | None = None
) -> NodeConfig:
    """One process that needs no coordinator and no file: what a user of ``runzeo`` expects.

    Where it listens at every address, it is reached at the machine's name.
    """
    table: dict[str, Any] = {
        "node": "standalone",
        "cluster": "standalone",
        "data": str(directory),
        "bind": bind,
        "advertise": _at_host_name(bind) if advertise is None else advertise,
        "coordinator": {"inside": True},
    }
    if insecure:
        table["insecure"] = True
    return _validate("springtide node --standalone", table, {})


def _at_host_name(bind: str) -> str:
    """What ``bind`` is to others, where it is every address and a certain port; else nothing needs to be said."""
    try:
        _, port = parse_address(bind)
    except ValueError:
        return ""
    return f"{socket.gethostname()}:{port}" if port and is_wildcard(bind) else ""


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: this is not valid TOML: {error}; correct the file and start again") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: this is not a UTF-8 text file (byte {error.start}); it should be TOML") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot read the configuration: {error.strerror}; check --config") from error


def _relative_to(directory: Path, table: dict[str, Any]) -> dict[str, Any]:
    """``table`` with paths that are relative in a file meant from that file's directory."""

    def absolute(value: object) -> object:
        return str(directory / value) if isinstance(value, str) and value else value

    paths = {"data", "cert", "key", "ca"}
    return {
        key: absolute(value) if key in paths else _relative_to(directory, value) if isinstance(value, dict) else value
        for key, value in table.items()
    }


def _validate(where: str, table: dict[str, Any], overrides: Mapping[str, object]) -> NodeConfig:
    class Settings(NodeConfig, BaseSettings):
        model_config = SettingsConfigDict(
            extra="forbid", frozen=True, env_prefix=PREFIX, env_nested_delimiter="__", enable_decoding=False
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, table)

    try:
        given: Any = {key: value for key, value in overrides.items() if value is not None}
        settings = Settings(**given)
    except ValidationError as error:
        raise ConfigError(sentence(where, PREFIX, NodeConfig, error)) from None
    except SettingsError as error:
        raise ConfigError(f"the environment: {error}") from None
    return NodeConfig.model_validate(settings.model_dump())
