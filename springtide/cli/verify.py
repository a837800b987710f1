"""``springtide verify``."""

from __future__ import annotations

import json

from springtide.cli.uri import admin
from springtide.testing.admin import Comparison, compare

#: More lines than this help nobody.
SHOWN_MAX = 20
#: Exit statuses. 1 is also what every command ends with that fails.
SAME, DIFFER, NOT_ALL_ASKED = 0, 1, 3


def run(uri: str, as_json: bool, files: bool) -> int:
    with admin(uri) as nodes:
        found = compare(nodes, files=files)
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
    else:
        _print(found)
    return DIFFER if found.differences else NOT_ALL_ASKED if found.not_asked else SAME


def _print(found: Comparison) -> None:
    print(
        f"compared {', '.join(found.nodes)} through tid {found.through}: "
        f"{found.records} records of objects, {found.transactions} transactions"
        + (f", {found.files} files of blobs" if found.files else "")
    )
    for difference in found.differences[:SHOWN_MAX]:
        print(f"  {difference}")
    if len(found.differences) > SHOWN_MAX:
        print(f"  and {len(found.differences) - SHOWN_MAX} more")
    for reason in found.not_asked:
        print(f"  not asked: {reason}")
    if found.differences:
        print("the nodes DIFFER")
    elif found.not_asked:
        print("the nodes that could be asked hold the same; not all could be asked")
    else:
        print("the nodes hold the same")
