"""The charm's units agree, whatever the order of their hooks, without update-status.

A seed is one story: units come, go, die, lose data, lose leadership; hooks fail at any point. Then
the world calms down, and everything must settle. Replay one with CHARM_SEED=n.
"""

import os

import pytest

from etcd_charm.cluster.facts import name_member
from etcd_charm.cluster.rollout import is_alone
from etcd_charm.cluster.status import Level, describe
from tests.simulation.charm.actors import Unit
from tests.simulation.charm.world import World

SEEDS = int(os.environ.get("CHARM_SEEDS", "250"))
FIRST = int(os.environ.get("CHARM_SEED", "0"))
STORMY_STEPS = 150
CALM_STEPS = 4000
BATCH = 50


def tell_story(seed: int) -> World:
    world = World(seed, leader_hears_itself=seed % 2 == 0)
    rng = world.rng
    for _ in range(rng.choice([1, 1, 3, 3, 5])):
        world.add_unit()
    for _ in range(STORMY_STEPS):
        happening = rng.random()
        if happening < 0.02 and len(world.staying) < 6:
            world.add_unit()
        elif happening < 0.03 and len(world.staying) > 1:
            world.remove_unit(rng.choice(world.staying))
        elif happening < 0.035 and can_lose_one(world):
            world.kill_unit(rng.choice(world.staying))
        elif happening < 0.04 and can_lose_one(world):
            world.lose_data(rng.choice(world.staying))
        elif happening < 0.05:
            world.reboot(rng.choice(world.staying))
        elif happening < 0.08:
            world.move_leadership()
        elif happening < 0.085:
            world.restore()
        elif happening < 0.09:
            configure(world)
        else:
            world.step()
    world.faults = False
    settle(world)
    if can_be_rebuilt(world):
        world.rebuild()
        settle(world)
    if is_converged(world):
        tell_quiet_chapter(world)
    return world


def tell_quiet_chapter(world: World) -> None:
    """Let one thing happen in a calm world: nothing left over from before may wake anybody."""
    happening = world.rng.choice(["add", "remove", "kill", "lead", "configure", "restore"])
    unit = world.rng.choice(world.staying)
    for other in world.present:
        other.wake_at_s = None
    if happening == "add":
        world.add_unit()
    elif happening == "remove" and len(world.staying) > 1:
        world.remove_unit(unit)
    elif happening == "kill" and can_lose_one(world):
        world.kill_unit(unit)
    elif happening == "restore":
        world.restore()
    elif happening == "lead":
        world.move_leadership()
    elif happening == "configure":
        configure(world)
    settle(world)


def configure(world: World) -> None:
    """Change an option on all units, one time in three the port between members."""
    port = world.rng.choice([0, 0, 2380 + world.hooks_run % 100])
    for unit in world.staying:
        unit.wanted = f"config-{world.hooks_run}"
        unit.port = port or unit.port
        unit.boot_left.append("config-changed")


def can_lose_one(world: World) -> bool:
    """Whether the cluster stays alive without one more voter, and one is left over for that."""
    if not world.clusters:
        return False
    voters = [m for m in world.clusters[-1].members.values() if not m.is_learner]
    running = sum(m.is_running for m in voters)
    return len(world.staying) > 2 and running - 1 > len(voters) // 2


def settle(world: World) -> None:
    for _ in range(CALM_STEPS):
        if is_settled(world) or not world.step():
            return


def is_settled(world: World) -> bool:
    if world.open_hooks or len(world.staying) != len(world.present):
        return False
    if any(world.due_hook(unit) for unit in world.present):
        return False
    return is_converged(world) or (world.app.rebuild is None and is_lost(world))


def is_converged(world: World) -> bool:
    if not world.clusters or world.app.restore is not None or world.app.rebuild is not None:
        return False
    members = world.clusters[-1].members.values()
    wanted = {name_member(unit.name) for unit in world.staying}
    return (
        {member.name for member in members} == wanted
        and all(member.is_running and not member.is_learner for member in members)
        and all(unit.started_with == unit.wanted for unit in world.staying)
        and {member.peer_url for member in members} == {unit.peer_url for unit in world.staying}
        and bool(world.app.cluster_id)
        and all(is_shown_healthy(world, unit, len(members)) for unit in world.staying)
    )


def is_shown_healthy(world: World, unit: Unit, members: int) -> bool:
    report = unit.last_report
    noun = "member" if members == 1 else "members"
    prefix = "(leader) " if unit.name == world.leader else ""
    return (
        report is not None
        and report.level is Level.ACTIVE
        and report.message == f"{prefix}cluster is healthy with {members} {noun}"
    )


def can_be_rebuilt(world: World) -> bool:
    """Whether the quorum is gone for good and a unit is left that has a member's data."""
    if not world.clusters or world.clusters[-1].has_quorum() or world.app.restore is not None:
        return False
    if not world.app.cluster_id or world.leader is None or world.app.claim is None:
        return False
    token = world.app.claim.token
    known = world.clusters[-1].members
    return any(unit.data_token == token and unit.member_id in known for unit in world.staying)


def is_lost(world: World) -> bool:
    """Whether only an operator can go on: the quorum or the founder is gone."""
    if not world.clusters:
        claim = world.app.claim
        return claim is not None and claim.unit not in {unit.name for unit in world.present}
    return not world.clusters[-1].has_quorum()


@pytest.mark.parametrize("batch", range(-(-SEEDS // BATCH)))
def test_units_converge_without_update_status(batch: int) -> None:
    last = min(SEEDS, (batch + 1) * BATCH)
    for seed in range(FIRST + batch * BATCH, FIRST + last):
        world = tell_story(seed)
        assert is_converged(world) or is_lost(world), explain(seed, world)


@pytest.mark.parametrize("seed", range(60))
def test_row_1_a_lost_quorum_is_rebuilt_from_the_freshest_survivor(seed: int) -> None:
    world = World(seed, leader_hears_itself=seed % 2 == 0)
    world.faults = False
    for _ in range(world.rng.choice([3, 5])):
        world.add_unit()
    settle(world)
    assert is_converged(world), explain(seed, world)
    while world.clusters[-1].has_quorum():
        world.kill_unit(world.rng.choice(world.staying))
    world.faults = True
    for _ in range(20):
        world.step()
    world.rebuild()
    for _ in range(60):
        if world.rng.random() < 0.05:
            world.move_leadership()
        world.step()
    world.faults = False
    world.add_unit()
    settle(world)
    assert is_converged(world), explain(seed, world)
    assert len(world.clusters) == 1, "the same cluster goes on"


def test_most_stories_end_with_a_healthy_cluster() -> None:
    worlds = [tell_story(seed) for seed in range(40)]
    healthy = [world for world in worlds if is_converged(world)]
    assert len(healthy) > 30
    for world in healthy:
        for unit in world.staying:
            facts = world._read_facts(unit)
            report = describe(facts, unit.last_plan)
            assert report.level is Level.ACTIVE
            assert f"with {len(world.staying)} member" in report.message
            assert is_alone(facts) == (len(world.staying) == 1)


def explain(seed: int, world: World) -> str:
    units = "\n".join(
        f"{u.name} boot={u.boot_left} dying={u.is_dying} member={u.member_id} "
        f"running={u.is_running} wake={u.wake_at_s} failed={u.failed_hook} "
        f"report={u.last_report} started={u.started_with} wanted={u.wanted} plan={u.last_plan}"
        for u in world.present
    )
    clusters = "\n".join(f"{c.members}\n{c.history}" for c in world.clusters)
    trace = "\n".join(world.trace[-60:])
    return f"seed {seed}, {world.now_s} s\n{trace}\n{units}\n{clusters}\n{world.app}"
