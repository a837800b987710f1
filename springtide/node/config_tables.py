"""The tables of a node's configuration, and what their values may be."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, SecretStr, ValidationInfo
from pydantic import field_validator as check
from pydantic import model_validator as check_together

from springtide.node.address import parse_address
from springtide.records.entries import RECORD_BYTES_MAX

MIB, GIB = 2**20, 2**30
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def _split(value: object) -> object:
    """``a, b`` as a list: the environment has no other way to say one."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("must be 1 to 63 letters, digits, dots, dashes and underscores, a letter or digit first")
    return value


def address(value: str) -> str:
    parse_address(value)
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
STRICT = ConfigDict(extra="forbid", frozen=True)


class Tls(BaseModel):
    """This node's certificate and key, and the CA that signed those of its peers."""

    model_config = STRICT
    cert: Path
    key: Path
    ca: Path

    @check("cert", "key", "ca")
    @classmethod
    def _readable(cls, file: Path) -> Path:
        if not file.is_file() or not os.access(file, os.R_OK):
            raise ValueError(f"names {file}, which is not a file that this user can read")
        return file


class Etcd(BaseModel):
    model_config = STRICT
    #: TLS is spoken where this is given.
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    endpoints: Names = Field(min_length=1)
    username: str = ""
    password: SecretStr = SecretStr("")

    @check("endpoints")
    @classmethod
    def _addresses(cls, endpoints: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if any(endpoint.startswith("https://") for endpoint in endpoints) and info.data.get("ca") is None:
            raise ValueError("says https, so the table needs ca: the file with the CA that signed etcd's certificate")
        bare = tuple(re.sub(r"^https?://", "", endpoint).rstrip("/") for endpoint in endpoints)
        for endpoint in bare:
            parse_address(endpoint)
        return bare

    @check("ca", "cert", "key")
    @classmethod
    def _readable(cls, file: Path | None) -> Path | None:
        return None if file is None else Tls._readable(file)


class Coordinator(BaseModel):
    """Where the cluster's record is kept: exactly one of these."""

    model_config = STRICT
    #: In this node's own process and directory: a cluster of one.
    inside: bool = False
    #: Address of a `springtide coordinator`.
    embedded: str | None = None
    etcd: Etcd | None = None

    @check("embedded")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        return None if value is None else address(value)

    @check_together(mode="after")
    def _one(self) -> Self:
        if (self.inside, self.embedded is not None, self.etcd is not None).count(True) != 1:
            raise ValueError(
                'needs exactly one of inside = true, embedded = "host:port" and a table [coordinator.etcd]'
            )
        return self


def duration(value: object) -> object:
    """``"7 days"`` in seconds; what is no text stays. Raises ValueError."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", value.lower())
    units = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
    unit = units.get(found[2].removesuffix("s")) if found is not None else None
    if found is None or unit is None:
        raise ValueError('must be a number and a unit, as in "7 days", "12 hours" or "30 minutes"')
    return float(found[1]) * unit


Duration = Annotated[float, BeforeValidator(duration)]


class Pack(BaseModel):
    """What the primary packs by itself. All nodes should say the same, because each of them can be the primary."""

    model_config = STRICT
    #: History younger than this stays; 0: none that ``keep_revisions`` does not keep.
    keep: Duration = Field(default=0.0, ge=0)
    #: So many revisions of each object stay at least.
    keep_revisions: int = Field(default=1, ge=1, lt=2**32)
    #: Also take away objects that nothing refers to.
    gc: bool = True
    every: Duration = Field(default=86400.0, gt=0)
    #: History of objects of these classes ("module.Class") stays so long, where that is longer than ``keep``.
    keep_classes: dict[str, Duration] = Field(default_factory=dict)


class Limits(BaseModel):
    model_config = STRICT
    record_bytes_max: ByteSize = Field(default=ByteSize(128 * MIB), gt=0, le=RECORD_BYTES_MAX)
    transaction_bytes_max: ByteSize = Field(default=ByteSize(GIB), gt=0)
    blob_bytes_max: ByteSize = Field(default=ByteSize(64 * GIB), gt=0)

    @check_together(mode="after")
    def _order(self) -> Self:
        if self.transaction_bytes_max < self.record_bytes_max:
            raise ValueError("has a transaction_bytes_max below record_bytes_max: a transaction holds whole records")
        return self
