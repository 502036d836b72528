"""Which action is whose work. An action that cannot do its work fails with the reason.

No action ends the hook in an error, and none waits for other units: what takes several hooks is
recorded for all units, and `juju status` says how far it is.
"""

from collections.abc import Callable

import ops

from etcd_charm.cluster import status
from etcd_charm.cluster.errors import NeedsOperator, Retry
from etcd_charm.cluster.plan import decide
from etcd_charm.reconcile.care_actions import CareActions
from etcd_charm.reconcile.credential_actions import CredentialActions
from etcd_charm.reconcile.desk import Desk, Refused
from etcd_charm.reconcile.loop import Reconciler
from etcd_charm.reconcile.member_actions import MemberActions
from etcd_charm.reconcile.snapshot_actions import SnapshotActions
from etcd_charm.workload.engine import Workload

Work = Callable[[ops.ActionEvent], None]


class Actions:
    """The actions of `actions.yaml`."""

    def __init__(self, charm: ops.CharmBase, reconciler: Reconciler, workload: Workload) -> None:
        self.desk = Desk(charm, reconciler, workload)

    def _list_work(self) -> dict[str, Work]:
        members = MemberActions(self.desk)
        snapshots = SnapshotActions(self.desk)
        care = CareActions(self.desk)
        credentials = CredentialActions(self.desk)
        return {
            "health": self._check_health,
            **members.list_work(),
            **snapshots.list_work(),
            **care.list_work(),
            **credentials.list_work(),
        }

    def take_scheduled_snapshot(self) -> None:
        """Do what the timer of the option snapshot-schedule asks for."""
        SnapshotActions(self.desk).take_scheduled()

    def run(self, event: ops.ActionEvent) -> None:
        """Run the action that an event names."""
        name = event.handle.kind.removesuffix("_action").replace("_", "-")
        try:
            self._list_work()[name](event)
        except (Refused, Retry, NeedsOperator) as problem:
            event.fail(str(problem))

    def _check_health(self, event: ops.ActionEvent) -> None:
        _, facts = self.desk.observe()
        report = status.describe(facts, decide(facts))
        lines = []
        for member in facts.view.members if facts.view else ():
            word = "healthy" if member.is_reachable else "unreachable"
            role = " (learner)" if member.is_learner else ""
            urls = ",".join(member.client_urls) or "no client address yet"
            lines.append(f"member {member.member_id:x} {member.name} is {word}{role}: {urls}")
        is_healthy = report.level is status.Level.ACTIVE
        message = report.message.removeprefix("(leader) ")
        lines.append(message)
        event.set_results({"output": "\n".join(lines), "healthy": str(is_healthy).lower()})
        if not is_healthy:
            raise Refused(message)
