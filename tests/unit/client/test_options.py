"""One table of options: what is made of it agrees with it, wherever options are given."""

from __future__ import annotations

import inspect
import os
import textwrap
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
import ZConfig
import ZODB.config
from ZODB.DemoStorage import DemoStorage

import springtide
from springtide.client import options
from springtide.client.options import Option
from springtide.client.storage import ClusterStorage
from springtide.client.zconfig import Section

COMPONENT = Path(springtide.__file__).parent / "component.xml"
DOCUMENT = COMPONENT.parents[1] / "docs" / "configuration.md"
BEGIN = "<!-- options: this table is made of springtide/client/options.py -->\n"
END = "<!-- end of options -->\n"

SECTION = """\
<component prefix="springtide.client.zconfig">

  <!-- Made of springtide/client/options.py: REWRITE=1 pytest tests/unit/client/test_options.py -->

  <sectiontype name="springtide" datatype=".Section" implements="ZODB.storage">
    <description>
      A storage kept by a Springtide cluster.
    </description>
    <multikey name="nodes">
      <description>
        Addresses of nodes, "host:port", with commas or in several lines. One is enough to find the others.
      </description>
    </multikey>
    <multikey name="server">
      <description>
        The same as nodes, in the words of a ZEO client's section.
      </description>
    </multikey>
%s
  </sectiontype>

</component>
"""


def component() -> str:
    keys = []
    for option in (*options.STORAGE, *options.TLS):
        meaning = textwrap.fill(escape(f"{option.meaning}{default(option)}"), 108)
        keys.append(
            f'    <key name="{option.key}" datatype=".{option.value.__name__}">\n      <description>\n'
            f"{textwrap.indent(meaning, ' ' * 8)}\n      </description>\n    </key>"
        )
    return SECTION % "\n".join(keys)


def default(option: Option) -> str:
    return "" if option.default is None else f" Default: {shown(option)}."


def shown(option: Option) -> str:
    match option.default:
        case bool(yes):
            return str(yes).lower()
        case int(number) if number and number % 2**20 == 0 and option.value is options.size:
            return f"{number // 2**20}MB"
        case float(seconds):
            return f"{seconds:g}"
        case None:
            return ""
        case other:
            return str(other)


def table() -> str:
    lines = []
    for title, rows in (
        ("of the storage", options.STORAGE),
        ("TLS", options.TLS),
        ("of the database, in URIs", options.DATABASE),
    ):
        lines += [f"| {title} | value | default | |", "|---|---|---|---|"]
        lines += [f"| `{each.name}` | {options.KINDS[each.value]} | {shown(each)} | {each.meaning} |" for each in rows]
        lines.append("")
    return "\n" + "\n".join(lines)


def agrees(path: Path, wanted: str) -> None:
    if os.environ.get("REWRITE"):
        path.write_text(wanted)
    assert path.read_text() == wanted, f"{path.name} does not agree with options.py: REWRITE=1 makes it anew"


def test_the_zconfig_component_has_every_option() -> None:
    agrees(COMPONENT, component())


def test_the_document_has_every_option() -> None:
    text = DOCUMENT.read_text()

    before, after = text.split(BEGIN)[0], text.split(END)[1]

    agrees(DOCUMENT, before + BEGIN + table() + "\n" + END + after)


def test_keyword_arguments_have_the_same_names_and_defaults() -> None:
    parameters = inspect.signature(ClusterStorage.__init__).parameters
    keywords = {name: each.default for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY}

    assert keywords.pop("tls") is None  # in text, the four options that begin with its name

    assert keywords == {option.name: option.default for option in (*options.STORAGE, *options.TLS)}


def test_options_of_the_database_have_zodbs_names_and_defaults() -> None:
    parameters = inspect.signature(ZODB.DB.__init__).parameters

    for option in options.DATABASE:
        if option.default is not None:
            assert parameters[option.name].default == option.default, option.name


# -- sections ---------------------------------------------------------------------------------------


def storage_section(*lines: str) -> Any:
    schema = ZODB.config.getStorageSchema()
    text = "\n".join(["%import springtide", "<springtide>", *lines, "</springtide>"])
    config, _ = ZConfig.loadConfigFile(schema, __import__("io").StringIO(text))
    return config.storage


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What ``ClusterStorage`` is called with, instead of a cluster."""
    calls: list[dict[str, Any]] = []

    class Recorder(DemoStorage):  # type: ignore[misc]
        def __init__(self, nodes: tuple[str, ...], **keywords: Any) -> None:
            super().__init__()
            calls.append({"nodes": nodes, **keywords})

    monkeypatch.setattr("springtide.client.zconfig.ClusterStorage", Recorder)
    monkeypatch.setattr("springtide.client.opening.ClusterStorage", Recorder)
    return calls


def test_a_section_names_nodes_and_options(opened: list[dict[str, Any]]) -> None:
    section = storage_section(
        "server a:1",
        "nodes b:2, c",
        "cache-bytes 5MB",
        "read-only true",
        "timeout 2.5",
        "sync strict",
        "tls-ca /ca.pem",
    )
    section.open()

    assert isinstance(section, Section)
    assert set(opened[0].pop("nodes")) == {"a:1", "b:2", "c:8550"}
    assert opened == [
        {"cache_bytes": 5 * 2**20, "read_only": True, "timeout": 2.5, "sync": "strict", "tls_ca": "/ca.pem"}
    ]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("server a:1:2", "IPv6"),
        ("label web", "no node is named"),
        ("timeout soon", "a number of seconds"),
        ("sync never", "one of session"),
        ("cache-bytes much", "a size such as"),
        ("cache 5MB", "'cache' is not a known key name"),
    ],
)
def test_a_wrong_section_says_what_is_wrong(line: str, named: str) -> None:
    with pytest.raises(ZConfig.ConfigurationError, match=named):
        storage_section(line)


def test_a_zodb_section_makes_multi_databases_on_clusters(opened: list[dict[str, Any]]) -> None:
    db = ZODB.config.databaseFromString(
        """
        %import springtide
        <zodb main>
          cache-size 123
          <springtide>
            server a:1
          </springtide>
        </zodb>
        <zodb other>
          <demostorage>
            <springtide>
              server b:1
              read-only yes
            </springtide>
          </demostorage>
        </zodb>
        """
    )

    assert db.getCacheSize() == 123
    assert set(db.databases) == {"main", "other"}
    assert [call["nodes"] for call in opened] == [("a:1",), ("b:1",)]
    for each in db.databases.values():
        each.close()


# -- zodburi ------------------------------------------------------------------------------------------


def test_zodburi_finds_us_and_gets_the_databases_options_in_its_names(
    opened: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zodburi = pytest.importorskip("zodburi", reason="not tried: zodburi is in the test extra")
    declared = _declared_entry_point()
    information = tmp_path / "declared-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: declared\nVersion: 1\n")
    (information / "entry_points.txt").write_text(f"[zodburi.resolvers]\nspringtide = {declared}\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    factory, keywords = zodburi.resolve_uri(
        "springtide://a:1,b:2/?cache_bytes=1MB&tls_ca=/ca.pem&pool_size=9&connection_cache_size=55&database_name=main"
    )
    factory()

    assert opened == [{"nodes": ("a:1", "b:2"), "cache_bytes": 2**20, "tls_ca": "/ca.pem"}]
    assert keywords == {"pool_size": 9, "cache_size": 55, "database_name": "main"}


def _declared_entry_point() -> str:
    import tomllib

    project = tomllib.loads((COMPONENT.parents[1] / "pyproject.toml").read_text())["project"]
    return str(project["entry-points"]["zodburi.resolvers"]["springtide"])
