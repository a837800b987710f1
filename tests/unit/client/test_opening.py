"""From a URI to a database."""

from __future__ import annotations

import springtide


def test_a_database_is_opened_by_its_uri(cluster):
    uri = f"springtide://{cluster.addresses[0]}/?database_name=main&label=test&timeout=5"
    database = springtide.open(uri, storage={"name": "named"}, pool_size=3)
    with database.transaction() as connection:
        connection.root()["x"] = 1

    assert database.database_name == "main"
    assert database.getPoolSize() == 3
    assert database.storage.getName() == "named"
    database.close()
