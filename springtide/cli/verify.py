"""``springtide verify``."""

from __future__ import annotations

import json

from springtide.cli.uri import admin
from springtide.testing.admin import Comparison, compare

#: More lines than this help nobody.
SHOWN_MAX = 20


def run(uri: str, as_json: bool) -> int:
    with admin(uri) as nodes:
        found = compare(nodes)
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
    else:
        _print(found)
    return 0 if found.equal else 1


def _print(found: Comparison) -> None:
    print(
        f"compared {', '.join(found.nodes)} through tid {found.through}: "
        f"{found.records} records of objects, {found.transactions} transactions"
    )
    for difference in found.differences[:SHOWN_MAX]:
        print(f"  {difference}")
    if len(found.differences) > SHOWN_MAX:
        print(f"  and {len(found.differences) - SHOWN_MAX} more")
    print("the nodes hold the same" if found.equal else "the nodes DIFFER, or could not all be compared")
