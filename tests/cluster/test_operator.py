"""What an operator does when too many nodes are gone: lower the minimum, remove a node, force another to lead."""

from __future__ import annotations

import re
import time

import pytest
import transaction
import ZODB

from springtide.cli.main import run
from springtide.testing.cluster import LocalCluster
from tests.cluster.load import check_equal


def put(db, name, value):
    with db.transaction() as connection:
        connection.root()[name] = value


def get(db, name):
    with db.transaction() as connection:
        return connection.root().get(name)


def epoch(cluster):
    return cluster.status()["epoch"]


@pytest.mark.timeout(180)
def test_the_minimum_is_lowered_so_that_the_last_node_commits_and_raised_again(capsys):
    with LocalCluster(3, settings={"vote_wait_seconds": 1.0}) as cluster:
        cluster.wait_in_sync()
        db = ZODB.DB(cluster.storage())
        put(db, "before", 1)
        last = cluster.primary()
        for other in sorted(set(cluster.nodes) - {last}):
            cluster.kill(other)
        cluster.wait_for("commits wait", lambda status: any("commits wait" in n["note"] for n in status["nodes"]))
        with pytest.raises(transaction.interfaces.TransientError):
            put(db, "lost", 1)

        assert run(["minimum", cluster.uri, "1", "--yes"]) == 1, "lowering names the epoch"
        assert f"add --epoch {epoch(cluster)} --yes" in capsys.readouterr().out
        assert run(["minimum", cluster.uri, "1", "--epoch", str(epoch(cluster) + 1), "--yes"]) == 1
        assert "must name the present epoch" in capsys.readouterr().err
        assert run(["minimum", cluster.uri, "1", "--epoch", str(epoch(cluster)), "--yes"]) == 0
        assert "at least 1" in capsys.readouterr().out
        put(db, "alone", 2)

        for other in sorted(set(cluster.nodes) - {last}):
            cluster.start(other)
        cluster.wait_in_sync()
        assert run(["minimum", cluster.uri, "4", "--yes"]) == 1
        assert "is above the 3 members in sync" in capsys.readouterr().err
        assert run(["minimum", cluster.uri, "3", "--yes"]) == 0
        assert cluster.status()["min_in_sync"] == 3
        assert (get(db, "before"), get(db, "alone"), get(db, "lost")) == (1, 2, None)
        db.close()
        check_equal(cluster)


@pytest.mark.timeout(120)
def test_a_node_that_will_not_come_back_is_removed(capsys):
    # The primary itself waits for long, so it is the operator who is first.
    with LocalCluster(3, settings={"stall_seconds": 60.0}) as cluster:
        cluster.wait_in_sync()
        db = ZODB.DB(cluster.storage())
        lost = next(node for node in cluster.nodes if node != cluster.primary())
        cluster.pause(lost)

        assert run(["remove", cluster.uri, lost]) == 1
        assert f"{lost} stays in the set" in capsys.readouterr().out
        assert run(["remove", cluster.uri, lost, "--yes"]) == 0
        assert lost not in cluster.status()["in_sync"]
        began = time.monotonic()
        put(db, "on two", 1)
        assert time.monotonic() - began < 30.0, "nobody waits for it any more, though it was heard a moment ago"
        assert lost not in cluster.status()["in_sync"]
        primary = cluster.primary()
        assert run(["remove", cluster.uri, primary, "--yes"]) == 1
        assert "hand over first" in capsys.readouterr().err
        other = next(node for node in cluster.nodes if node not in (lost, primary))
        assert run(["remove", cluster.uri, other, "--yes"]) == 1
        assert "2 members are in sync, and 2 must stay" in capsys.readouterr().err

        cluster.resume(lost)
        cluster.wait_in_sync()
        db.close()


@pytest.mark.timeout(240)
def test_a_node_is_forced_to_lead_and_nobody_goes_on_showing_what_was_given_up(capsys):
    with LocalCluster(3, settings={"vote_wait_seconds": 2.0}) as cluster:
        cluster.wait_in_sync()
        db = ZODB.DB(cluster.storage())
        put(db, "kept", 1)
        behind = next(node for node in cluster.nodes if node != cluster.primary())
        cluster.kill(behind)
        cluster.wait_for("it is shrunk away", lambda status: behind not in status["in_sync"])
        put(db, "given up", 2)  # acknowledged by the other two, who are lost now
        assert get(db, "given up") == 2
        others = sorted(set(cluster.nodes) - {behind})
        for other in others:
            cluster.kill(other)
        cluster.start(behind)
        address = cluster.address(behind)
        cluster.wait_for(
            "it knows the record", lambda status: any(n["reachable"] and n["record_epoch"] for n in status["nodes"])
        )

        assert run(["force", address]) == 1
        said = capsys.readouterr().out
        assert "NOT in sync" in said and "would be lost" in said
        named = re.search(r"add --epoch (\d+) --yes", said)
        assert named is not None
        overridden = named[1]
        assert run(["force", address, "--epoch", "99", "--yes"]) == 1
        assert f"but epoch {overridden} reigns" in capsys.readouterr().err
        assert run(["force", address, "--epoch", overridden, "--yes"]) == 1
        assert "must be off" in capsys.readouterr().err
        assert run(["force", address, "--epoch", overridden, "--off", ",".join(others), "--yes"]) == 0
        cluster.wait_for("it leads", lambda status: status["primary"] == behind)
        now = epoch(cluster)
        assert run(["minimum", cluster.uri, "1", "--epoch", str(now), "--yes"]) == 0

        # Once the client has a session again, its cache of what was given up is not served any more.
        cluster.wait_for("the client follows", lambda _: get(db, "given up") is None)
        assert get(db, "kept") == 1
        put(db, "after", 3)
        assert (get(db, "given up"), get(db, "after")) == (None, 3)
        assert run(["force", address, "--epoch", str(now), "--yes"]) == 1
        assert "leads already" in capsys.readouterr().err

        for other in others:
            cluster.start(other)
        cluster.wait_in_sync()
        assert (get(db, "kept"), get(db, "given up"), get(db, "after")) == (1, None, 3)
        check_equal(cluster)
        aside = [node["node"] for node in cluster.status()["nodes"] if node["diverged"]]
        assert aside == others, "what was given up is kept aside"
        tail = run_list(cluster, others[0], capsys)
        assert run(["diverged", "show", tail, "--data", str(cluster.data(others[0]))]) == 0
        assert "oid 0000000000000000" in capsys.readouterr().out
        assert run(["force", cluster.address(others[0]), "--epoch", str(epoch(cluster)), "--yes"]) == 1
        assert "hand over from it" in capsys.readouterr().err
        db.close()


def run_list(cluster, node, capsys):
    assert run(["diverged", "list", "--data", str(cluster.data(node))]) == 0
    return capsys.readouterr().out.split()[0]
