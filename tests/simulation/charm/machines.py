"""The half of the world that units act on: what they see of each other, and what steps do."""

import random
from dataclasses import replace

from etcd_charm.cluster.errors import Retry
from etcd_charm.cluster.facts import (
    NO_MEMBER,
    ClusterView,
    DataState,
    EngineFacts,
    Facts,
    LogPosition,
    MemberId,
    PeerUnit,
    RebuildState,
    RestoreState,
    UnitName,
    name_member,
)
from etcd_charm.cluster.leaving import (
    LEAVE_TRIES,
    Farewell,
    LeaveDecision,
    decide_leave,
    is_removal_known,
)
from etcd_charm.cluster.membership import decide_ghosts
from etcd_charm.cluster.settings import Settings
from etcd_charm.cluster.steps import (
    AddLearner,
    ForceAlone,
    FoundCluster,
    KeepAccess,
    Promote,
    RemoveMember,
    RestartMember,
    SetDataAside,
    StartJoiner,
    StartMember,
    Step,
    StopForRebuild,
    StopMember,
    SwapRestored,
    UpdateMember,
)
from tests.simulation.charm.actors import AppBag, OpenHook, Unit
from tests.simulation.charm.cluster_model import Cluster


class Machines:
    """Units, their machines and the clusters on them. Time and chance are the world's."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now_s = 1000
        self.units: dict[UnitName, Unit] = {}
        self.leader: UnitName | None = None
        self.app = AppBag()
        self.clusters: list[Cluster] = []
        self.open_hooks: dict[UnitName, OpenHook] = {}
        self.faults = True
        self.hooks_run = 0
        self.foundings = 0

    @property
    def present(self) -> list[Unit]:
        return [unit for unit in self.units.values() if not unit.is_dead]

    @property
    def staying(self) -> list[Unit]:
        return [unit for unit in self.present if not unit.is_dying]

    def _stop_engine(self, unit: Unit) -> None:
        member = unit.cluster.members.get(unit.member_id) if unit.cluster else None
        if member is not None:
            member.is_running = False

    # --- facts ---

    def _read_peers(self, unit: Unit) -> tuple[PeerUnit, ...]:
        return tuple(unit.cached[name] for name in sorted(unit.cached))

    def _look(
        self, unit: Unit, peers: tuple[PeerUnit, ...], *, flaky: bool = True
    ) -> ClusterView | None:
        """Ask through this unit's own member or through members that its peers show."""
        if flaky and self.faults and self.rng.random() < 0.05:
            return None
        doors = [unit] if unit.is_running else []
        doors += [self.units[peer.unit] for peer in peers if peer.member_id]
        doors += [self.units[name] for name in unit.doors]
        for door in doors:
            if door.is_running and door.cluster is not None:
                view = door.cluster.view()
                if flaky and self.faults and self.rng.random() < 0.05:
                    return replace(view, has_quorum=False, leader_id=NO_MEMBER)
                if view.has_quorum:
                    names = {member.name for member in view.members}
                    unit.doors = [u.name for u in self.present if name_member(u.name) in names]
                return view
        return None

    def _read_facts(self, unit: Unit, *, flaky: bool = True) -> Facts:
        peers = self._read_peers(unit)
        token = self.app.claim.token if self.app.claim else ""
        data = DataState.NEW
        if unit.cluster is not None:
            ours = {token} if token else set()
            if unit.restore is not None and unit.restored_from == token:
                ours.add(unit.restore.token)
            data = DataState.OURS if unit.data_token in ours else DataState.FOREIGN
        engine = EngineFacts(
            is_running=unit.is_running,
            data=data,
            started_with=unit.started_with,
            founded_token=unit.founded_token,
            has_left=unit.has_left,
            restore_id=unit.restore.restore_id if unit.restore else "",
            restore_state=unit.restore_state,
            rebuild_id=unit.rebuild_id,
            rebuild_state=unit.rebuild_state,
            position=unit.position,
        )
        return Facts(
            unit=unit.name,
            settings=Settings(),
            is_leader=self.leader == unit.name,
            is_dying=unit.is_dying,
            units_alive=frozenset(other.name for other in self.staying),
            units_known=frozenset(other.name for other in self.present),
            peer_url=unit.peer_url,
            client_url=unit.client_url,
            has_peer_relation=unit.in_scope,
            has_authorities=self.app.has_authorities,
            claim=self.app.claim,
            cluster_id=self.app.cluster_id,
            leader_shown=self.app.leader,
            restore=self.app.restore,
            rebuild=self.app.rebuild,
            access=self.app.access,
            turn=self.app.turn,
            turn_done=unit.bag.turn_done if unit.bag else 0,
            peers=peers,
            engine=engine,
            wanted=unit.wanted,
            view=self._look(unit, peers, flaky=flaky),
            absent_since_s=unit.absences,
            now_s=self.now_s,
            fresh_token=f"token-{unit.name}-{self.hooks_run}",
        )

    # --- effects ---

    def _execute(self, unit: Unit, step: Step, facts: Facts) -> None:
        cluster = self._reach_cluster(unit)
        match step:
            case FoundCluster(token):
                self._found(unit, token)
            case AddLearner(peer_url):
                self._need(cluster).add_learner(peer_url, self.rng.randrange(3))
            case StartJoiner():
                self._start_joiner(unit, self._need(cluster))
            case StartMember():
                self._start(unit)
            case RestartMember(wanted):
                unit.started_with = wanted
                self._listen(unit)
                self._check_restart(unit)
            case Promote(member_id):
                self._need(cluster).promote(member_id)
            case RemoveMember(member_id):
                self._check_removal(unit, self._need(cluster), member_id)
                self._need(cluster).remove(member_id)
            case UpdateMember(member_id, peer_url):
                self._need(cluster).update(member_id, peer_url)
            case SetDataAside():
                self._stop_engine(unit)
                unit.cluster, unit.member_id, unit.started_with = None, NO_MEMBER, ""
            case KeepAccess():
                if not self._need(cluster).has_quorum():
                    raise Retry("no quorum")
            case StopMember():
                self._stop_engine(unit)
            case StopForRebuild(rebuild_id):
                self._stop_engine(unit)
                unit.rebuild_id, unit.rebuild_state = rebuild_id, RebuildState.STOPPED
                index = self.rng.randrange(1, 5) if unit.cluster is not None else 0
                unit.position = LogPosition(1 if index else 0, index)
            case ForceAlone():
                self._force_alone(unit)
            case SwapRestored(restore_id):
                self._swap_restored(unit, restore_id)
        del facts

    def _force_alone(self, unit: Unit) -> None:
        """Go on alone: all others are off the list, and may never be a majority again."""
        assert unit.cluster is not None
        for other in self.present:
            assert not other.is_running, f"{other.name} runs while {unit.name} is forced"
        member = unit.cluster.members.get(unit.member_id)
        if member is None:
            unit.rebuild_state = RebuildState.FAILED
            return
        unit.cluster.removed |= set(unit.cluster.members) - {unit.member_id}
        unit.cluster.members = {unit.member_id: member}
        member.is_learner, member.is_running = False, True
        unit.started_with = unit.wanted
        self._listen(unit)
        unit.rebuild_state = RebuildState.REBUILT

    def _swap_restored(self, unit: Unit, restore_id: str) -> None:
        """Start a cluster of one on the restored data, or put the former data back."""
        order = unit.restore
        if order is None or order.restore_id != restore_id:
            return
        if unit.restore_state is not RestoreState.READY:
            return
        self._stop_engine(unit)
        if self.faults and self.rng.random() < 0.2:
            unit.restore_state = RestoreState.FAILED
            return
        for other in self.present:
            assert not other.is_running or other.is_dying, f"{other.name} runs during the swap"
        cluster = Cluster(cluster_id=len(self.clusters) + 1)
        self.clusters.append(cluster)
        unit.cluster, unit.data_token = cluster, order.token
        unit.member_id = cluster.found(name_member(unit.name), unit.peer_url)
        unit.founded_token, unit.started_with = order.token, unit.wanted
        unit.restore_state = RestoreState.RESTORED
        self._listen(unit)

    def _reach_cluster(self, unit: Unit) -> Cluster | None:
        doors = [unit, *(self.units[peer.unit] for peer in self._read_peers(unit))]
        doors += [self.units[name] for name in unit.doors]
        return next((door.cluster for door in doors if door.is_running), None)

    @staticmethod
    def _need(cluster: Cluster | None) -> Cluster:
        if cluster is None:
            raise Retry("no member answers")
        return cluster

    def _found(self, unit: Unit, token: str) -> None:
        cluster = Cluster(cluster_id=len(self.clusters) + 1)
        self.clusters.append(cluster)
        self.foundings += 1
        assert self.foundings == 1, "the cluster is founded once"
        unit.cluster, unit.data_token = cluster, token
        unit.member_id = cluster.found(name_member(unit.name), unit.peer_url)
        unit.founded_token = token
        unit.started_with = unit.wanted
        self._listen(unit)

    def _start_joiner(self, unit: Unit, cluster: Cluster) -> None:
        mine = [m for m in cluster.members.values() if m.peer_url == unit.peer_url]
        if not mine:
            raise Retry("the member list does not show this unit yet")
        assert not mine[0].name, "a member that has run never starts on empty data"
        unit.cluster, unit.member_id = cluster, mine[0].member_id
        unit.data_token = self.app.claim.token if self.app.claim else ""
        unit.started_with = unit.wanted
        mine[0].name = name_member(unit.name)
        mine[0].is_running = True
        self._listen(unit)

    def _start(self, unit: Unit) -> None:
        assert unit.cluster is not None
        member = unit.cluster.members.get(unit.member_id)
        if member is not None:
            member.is_running = True
            unit.started_with = unit.wanted
            self._listen(unit)

    @staticmethod
    def _listen(unit: Unit) -> None:
        """A restarted engine listens where it is to be, and where it was announced."""
        member = unit.cluster.members.get(unit.member_id) if unit.cluster else None
        if member is not None:
            member.listens = frozenset((unit.peer_url, member.peer_url))

    def _check_restart(self, unit: Unit) -> None:
        """No two voters may restart in hooks that overlap."""
        if not self._votes(unit):
            return
        also = [
            name
            for name, opened in self.open_hooks.items()
            if any(isinstance(step, RestartMember) for step in opened.plan.steps)
            and self._votes(self.units[name])
        ]
        assert not also, f"{unit.name} and {also} restart at once"

    @staticmethod
    def _votes(unit: Unit) -> bool:
        member = unit.cluster.members.get(unit.member_id) if unit.cluster else None
        return member is not None and not member.is_learner

    def _check_removal(self, unit: Unit, cluster: Cluster, member_id: MemberId) -> None:
        member = cluster.members.get(member_id)
        if member is None or not member.name:
            return
        staying = {name_member(other.name) for other in self.staying}
        is_own = member.name == name_member(unit.name)
        assert is_own or member.name not in staying, f"{member.name} is removed though it stays"

    # --- leaving ---

    def _leave(self, unit: Unit) -> bool:
        decision = decide_leave(self._read_facts(unit))
        for _ in range(LEAVE_TRIES):
            if decision.farewell is Farewell.STOP or self._try_leaving(unit, decision):
                self._stop_engine(unit)
                return True
            self.now_s += 1
            facts = self._read_facts(unit)
            decision = decide_leave(facts)
            self._apply_ghost_rule(unit, facts)
        if decision.farewell is Farewell.ABANDON:
            self._stop_engine(unit)
            return True
        return False

    def _apply_ghost_rule(self, unit: Unit, facts: Facts) -> None:
        if facts.view is None:
            return
        step, unit.absences = decide_ghosts(facts, facts.view)
        if step is not None:
            try:
                self._execute(unit, step, facts)
            except Retry:
                return

    def _try_leaving(self, unit: Unit, decision: LeaveDecision) -> bool:
        if decision.farewell is not Farewell.LEAVE or not decision.helpers:
            return False
        cluster = unit.cluster or self._reach_cluster(unit)
        if cluster is None:
            return False
        try:
            cluster.remove(decision.member_id)
        except Retry:
            return False
        lists = {
            m.peer_url: frozenset(cluster.members) if m.is_running else None
            for m in cluster.members.values()
            if not m.is_learner
        }
        if not is_removal_known(lists, decision.member_id):
            return False
        unit.has_left = True
        return True
