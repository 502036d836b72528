"""A member whose state differs is found, told, and stopped; one that does not never is."""

from __future__ import annotations

import pytest

from tests.kit.scripted_cluster import ScriptedCluster


def _found(size: int) -> ScriptedCluster:
    cluster = ScriptedCluster()
    cluster.shows_marks = True
    cluster.run(
        f"cluster {size}\ncampaign 1\nstabilize\npropose 1 first\nstabilize\ntick 1\nstabilize"
    )
    return cluster


def _exchange(cluster: ScriptedCluster, *members: int, times: int = 2) -> str:
    """Write, then let members tell and the leader judge."""
    lines = [cluster.run("propose 1 next\nstabilize\ntick 1\nstabilize")]
    for _ in range(times):
        lines += [cluster.run(f"tick {member}\nstabilize") for member in members]
        lines.append(cluster.run("tick 1\nstabilize"))
    return "\n".join(lines)


def _stopped(output: str) -> set[str]:
    return {line.split()[0] for line in output.splitlines() if "stops: it differs" in line}


@pytest.mark.parametrize("size", [3, 5])
def test_equal_members_go_on(size: int) -> None:
    cluster = _found(size)
    output = _exchange(cluster, *range(2, size + 1))
    assert "Mark " in output
    assert _stopped(output) == set()


def test_a_follower_that_differs_stops() -> None:
    cluster = _found(3)
    cluster.members[2].machine.chain ^= 1
    assert _stopped(_exchange(cluster, 2, 3)) == {"2"}


def test_a_leader_that_differs_stops() -> None:
    cluster = _found(3)
    cluster.members[1].machine.chain ^= 1
    assert _stopped(_exchange(cluster, 2, 3)) == {"1"}


def test_a_minority_of_two_stops() -> None:
    cluster = _found(5)
    cluster.members[4].machine.chain ^= 1
    cluster.members[5].machine.chain ^= 1
    assert _stopped(_exchange(cluster, 2, 3, 4, 5)) == {"4", "5"}


def test_nobody_stops_while_nobody_can_tell() -> None:
    cluster = _found(2)
    cluster.members[2].machine.chain ^= 1
    output = _exchange(cluster, 2, times=60)
    assert _stopped(output) == set()
    assert output.count("1 wants to propose 1 commands") == 1  # the alarm CORRUPT


def test_one_silent_member_delays_the_verdict_only() -> None:
    cluster = _found(3)
    cluster.members[2].machine.chain ^= 1
    cluster.run("isolate 3")
    assert _stopped(_exchange(cluster, 2)) == set()
    cluster.run("rejoin 3\ntick 1\nstabilize\ntick 1\nstabilize")
    assert _stopped(_exchange(cluster, 2, 3)) == {"2"}


def test_a_difference_outlives_a_restart() -> None:
    cluster = _found(3)
    member = cluster.members[2]
    member.machine.commands.append("rotten")
    cluster.run("flush 2\ncrash 2\nrestart 2")
    assert _stopped(_exchange(cluster, 2, 3)) == {"2"}


def test_a_change_of_leader_does_not_hide_it() -> None:
    cluster = _found(3)
    cluster.members[2].machine.chain ^= 1
    cluster.run("transfer 1 3\nstabilize")
    output = cluster.run("tick 2\ntick 1\nstabilize\ntick 3\nstabilize")
    assert _stopped(output) == {"2"}


def test_chains_of_different_origin_are_not_compared() -> None:
    cluster = _found(3)
    cluster.members[2].machine.chain ^= 1
    cluster.members[2].machine.chain_origin = 3
    assert _stopped(_exchange(cluster, 2, 3)) == set()


@pytest.mark.parametrize("order", ["1 2 3", "3 2 1", "2 1 3"])
@pytest.mark.parametrize("rotten", [1, 2, 3])
def test_row_14_a_scrub_finds_rows_that_rotted(order: str, rotten: int) -> None:
    cluster = _found(3)
    lines = []
    for number in order.split():
        lines.append(cluster.run(f"scrub {number} 5 {7 + (int(number) == rotten)}"))
        lines.append(cluster.run(f"tick {number}\nstabilize"))
    lines.append(cluster.run("tick 1\nstabilize"))
    output = "\n".join(lines)
    assert "RowsMark index=5" in output
    assert _stopped(output) == {str(rotten)}


def test_scrubs_that_find_the_same_stop_nobody() -> None:
    cluster = _found(3)
    for index in (5, 8):
        for number in (3, 2, 1):
            cluster.run(f"scrub {number} {index} {index}\ntick {number}\nstabilize")
    assert _stopped(cluster.run("tick 1\nstabilize\ntick 1\nstabilize")) == set()


def test_a_scrub_is_told_to_the_next_leader_too() -> None:
    cluster = _found(3)
    for number in (1, 2, 3):
        cluster.run(f"scrub {number} 5 {7 + (number == 2)}")
    cluster.run("transfer 1 3\nstabilize")
    output = cluster.run("tick 2\ntick 1\nstabilize\ntick 3\nstabilize")
    assert _stopped(output) == {"2"}
