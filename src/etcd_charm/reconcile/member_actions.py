"""Members: listed, removed, paused; leadership; the ways on when a quorum or a founder is lost."""

import json
import secrets
from collections.abc import Callable

import ops

from etcd_charm.cluster.facts import Claim, DataState, MemberView, Rebuild, name_member
from etcd_charm.cluster.membership import keeps_quorum_without
from etcd_charm.cluster.rollout import are_others_healthy
from etcd_charm.reconcile import bags
from etcd_charm.reconcile.desk import (
    Desk,
    Refused,
    demand_view,
    find_member,
    list_urls,
    name_of,
)
from etcd_charm.reconcile.loop import TOKEN_BYTES


class MemberActions:
    """Actions on members and on the cluster as a whole."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def list_work(self) -> dict[str, Callable[[ops.ActionEvent], None]]:
        """Return the actions by name."""
        return {
            "members": self._list_members,
            "remove-member": self._remove_member,
            "transfer-leadership": self._transfer,
            "pause": self._pause,
            "resume": self._resume,
            "rebuild-cluster": self._rebuild,
            "bootstrap-again": self._found_again,
            "adopt-data": self._adopt,
        }

    def _list_members(self, event: ops.ActionEvent) -> None:
        _, facts = self.desk.observe()
        view = facts.view
        if view is None:
            raise Refused("no member answers")
        rows = [self._describe(member, view.leader_id) for member in view.members]
        lines = [
            f"{row['id']} {row['name'] or '(not started)'} {row['role']} {row['state']} "
            f"{row['peer-urls']} {row['client-urls']}"
            for row in rows
        ]
        event.set_results(
            {
                "output": "\n".join(lines),
                "cluster-id": f"{view.cluster_id:x}",
                "members": json.dumps(rows),
            }
        )

    @staticmethod
    def _describe(member: MemberView, leader_id: int) -> dict[str, str]:
        role = "learner" if member.is_learner else "voter"
        return {
            "id": f"{member.member_id:x}",
            "name": member.name,
            "role": "leader" if member.member_id == leader_id else role,
            "state": "healthy" if member.is_reachable else "unreachable",
            "peer-urls": ",".join(member.peer_urls),
            "client-urls": ",".join(member.client_urls),
        }

    def _remove_member(self, event: ops.ActionEvent) -> None:
        _, facts = self.desk.observe()
        view = demand_view(facts)
        member = find_member(view, str(event.params["member"]))
        staying = {name_member(unit): unit for unit in facts.units_alive}
        if member.name in staying:
            raise Refused(
                f"{member.name} belongs to a unit that stays and would join again: "
                f"juju remove-unit {staying[member.name]}"
            )
        if not member.is_learner and not keeps_quorum_without(view, member):
            raise Refused(f"without {name_of(member)} the members that answer are no majority")
        others = [url for url in list_urls(view) if url not in member.client_urls]
        if not others:
            raise Refused("no other member answers")
        self.desk.workload.ask_removal(others[0], member.member_id)
        event.set_results({"output": f"{name_of(member)} is off the member list"})

    def _transfer(self, event: ops.ActionEvent) -> None:
        _, facts = self.desk.observe()
        view = demand_view(facts)
        present = next((m for m in view.members if m.member_id == view.leader_id), None)
        wanted = str(event.params.get("to") or "")
        others = [v for v in view.voters if v.is_reachable and v != present]
        if present is None or not others:
            raise Refused("there is no other member to lead")
        heir = max(others, key=lambda voter: (voter.applied_index, voter.name))
        if wanted:
            heir = find_member(view, wanted)
        if heir.member_id == present.member_id:
            event.set_results({"output": f"{name_of(heir)} leads already"})
            return
        if heir.is_learner or not heir.is_reachable:
            raise Refused(f"{name_of(heir)} cannot lead: it does not vote, or does not answer")
        self.desk.workload.hand_over(present.client_urls[0], heir.member_id)
        event.set_results({"output": f"{name_of(heir)} leads instead of {name_of(present)}"})

    def _pause(self, event: ops.ActionEvent) -> None:
        """Stop this unit's member for work on its machine, if the cluster can spare it."""
        _, facts = self.desk.observe()
        if facts.engine.is_paused:
            event.set_results({"output": "paused already"})
            return
        others = len(facts.view.members) - 1 if facts.view else 0
        if not event.params.get("force") and (not others or not are_others_healthy(facts)):
            raise Refused("the other members are not all healthy: force=true pauses anyway")
        own = facts.member
        if facts.view is not None and own is not None and facts.view.leader_id == own.member_id:
            heirs = [v for v in facts.view.voters if v.is_reachable and v != own]
            if heirs:
                heir = max(heirs, key=lambda voter: voter.applied_index)
                self.desk.workload.hand_over(facts.serving_url, heir.member_id)
        self.desk.workload.pause(paused=True)
        self.desk.reconciler.run()
        event.set_results({"output": "stopped until the action resume"})

    def _resume(self, event: ops.ActionEvent) -> None:
        self.desk.workload.pause(paused=False)
        self.desk.reconciler.run()
        event.set_results({"output": self.desk.reconciler.describe().message})

    def _rebuild(self, event: ops.ActionEvent) -> None:
        juju, facts = self.desk.observe()
        bag = self.desk.lead(juju)
        if event.params.get("cancel"):
            if facts.rebuild is None:
                raise Refused("there is no rebuild under way")
            if facts.rebuild.unit:
                raise Refused(f"{facts.rebuild.unit} goes on alone already")
            bag[bags.REBUILD] = ""
            self.desk.workload.schedule_wake(juju.unit, 1, "the rebuild was cancelled")
            event.set_results({"output": "the members start again"})
            return
        if facts.restore is not None or facts.rebuild is not None:
            raise Refused("a restore or a rebuild is under way")
        if facts.view is not None and facts.view.has_quorum:
            raise Refused("the cluster has its quorum: nothing is to be rebuilt")
        if not facts.cluster_id or event.params.get("confirm") != facts.cluster_id:
            raise Refused(
                "members that do not answer are given up for good: say "
                f"confirm={facts.cluster_id or '<the id of a cluster that exists>'}"
            )
        order = Rebuild(secrets.token_hex(4))
        bag[bags.REBUILD] = bags.encode_rebuild(order)
        self.desk.reconciler.run()
        event.set_results(
            {
                "rebuild": {"id": order.rebuild_id, "state": "started"},
                "message": "all units stop and compare their logs; a unit that does not answer "
                "is waited for until it does, or is removed by force: see juju status",
            }
        )

    def _found_again(self, event: ops.ActionEvent) -> None:
        """Give the right to found to this unit, when whoever had it is gone without a trace."""
        juju, facts = self.desk.observe()
        bag = self.desk.lead(juju)
        if facts.view is not None or any(peer.member_id for peer in facts.peers):
            raise Refused("the cluster exists: nothing is founded beside it")
        if facts.claim is None:
            raise Refused("nobody has claimed to found the cluster: nothing to repeat")
        if facts.claim.unit != juju.unit and facts.claim.unit in facts.units_known:
            raise Refused(f"{facts.claim.unit} is still there to found the cluster")
        if facts.engine.data is not DataState.NEW:
            raise Refused("this unit has data: it is not replaced by an empty cluster")
        if event.params.get("confirm") != facts.claim.token:
            raise Refused(f"an empty cluster would be founded: say confirm={facts.claim.token}")
        bag[bags.CLAIM] = bags.encode_claim(
            Claim(juju.unit, secrets.token_hex(TOKEN_BYTES), juju.settings.engine)
        )
        bag[bags.CLUSTER_ID] = ""
        self.desk.workload.schedule_wake(juju.unit, 1, "founding again")
        event.set_results({"output": f"{juju.unit} founds the cluster in its next hook"})

    def _adopt(self, event: ops.ActionEvent) -> None:
        """Found the cluster from the data of another one that came with the storage."""
        juju, facts = self.desk.observe()
        if facts.engine.data is not DataState.FOREIGN:
            raise Refused("the storage holds no data of another cluster")
        if facts.is_cluster_known or facts.claim is None or facts.claim.unit != juju.unit:
            raise Refused("only the unit that is to found the cluster adopts data")
        if event.params.get("confirm") is not True:
            raise Refused("the data becomes this application's: say confirm=true")
        self.desk.workload.adopt_data(facts.claim.token)
        self.desk.reconciler.run()
        event.set_results({"output": self.desk.reconciler.describe().message})
