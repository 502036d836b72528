#!/usr/bin/env python3
"""The charm `etcd`: which events lead where, and nothing else.

Most events mean the same thing, "something may have changed", and run one reconciliation. What
cannot be deferred or repeated has a handler of its own: actions, teardown, and the status.
"""

from pathlib import Path

import ops

from etcd_charm.cluster.status import Level
from etcd_charm.reconcile.actions import Actions
from etcd_charm.reconcile.goal_state import GoalState, JujuGoalState
from etcd_charm.reconcile.lifecycle import Teardown
from etcd_charm.reconcile.loop import Reconciler
from etcd_charm.workload.engine import Workload
from etcd_charm.workload.executor import LocalWorkload
from etcd_charm.workload.paths import Paths

STATUSES = {
    Level.ACTIVE: ops.ActiveStatus,
    Level.WAITING: ops.WaitingStatus,
    Level.BLOCKED: ops.BlockedStatus,
    Level.MAINTENANCE: ops.MaintenanceStatus,
}


class ClusterWakeEvent(ops.EventBase):
    """A timer of this unit has run out. See `workload.service.schedule_wake`."""


class ScheduledSnapshotEvent(ops.EventBase):
    """It is time for a snapshot. See `workload.schedule`."""


class EtcdCharmEvents(ops.CharmEvents):
    """Juju's events and our own."""

    cluster_wake = ops.EventSource(ClusterWakeEvent)
    scheduled_snapshot = ops.EventSource(ScheduledSnapshotEvent)


class EtcdCharm(ops.CharmBase):
    """Operates one unit of an etcd-compatible cluster."""

    on = EtcdCharmEvents()

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        self._workload = self.make_workload()
        self._reconciler = Reconciler(self, self._workload, self.make_goal_state())
        self._teardown = Teardown(self._reconciler, self._workload)
        self._actions = Actions(self, self._reconciler, self._workload)
        self._observe_changes()
        self._observe_teardown()
        for action in self.meta.actions:
            name = action.replace("-", "_")
            framework.observe(self.on[name].action, self._on_action)
        framework.observe(self.on.scheduled_snapshot, self._on_scheduled_snapshot)
        framework.observe(self.on.collect_unit_status, self._on_collect_status)
        framework.observe(self.on.collect_app_status, self._on_collect_app_status)

    def make_workload(self) -> Workload:
        """Return the engine on this machine. Tests return a fake."""
        return LocalWorkload(Paths(charm=Path(self.charm_dir)))

    def make_goal_state(self) -> GoalState:
        """Return what names the units. Tests return a fake."""
        return JujuGoalState()

    def _observe_changes(self) -> None:
        on = self.on
        certificates, cluster = on["certificates"], on["cluster"]
        events: list[ops.BoundEvent] = [
            on.install,
            on.start,
            on.upgrade_charm,
            on.config_changed,
            on.leader_elected,
            on.update_status,
            on.cluster_wake,
            on.secret_changed,
            on["data"].storage_attached,
            cluster.relation_created,
            cluster.relation_joined,
            cluster.relation_changed,
            cluster.relation_departed,
            certificates.relation_created,
            certificates.relation_joined,
            certificates.relation_changed,
            certificates.relation_broken,
        ]
        for endpoint in ("db", "proxy"):
            events += [
                on[endpoint].relation_created,
                on[endpoint].relation_joined,
                on[endpoint].relation_broken,
            ]
        for event in events:
            self.framework.observe(event, self._on_change)

    def _observe_teardown(self) -> None:
        self.framework.observe(self.on["data"].storage_detaching, self._on_leaving)
        self.framework.observe(self.on.stop, self._on_leaving)
        self.framework.observe(self.on.remove, self._on_remove)

    def _on_change(self, _event: ops.EventBase) -> None:
        self._reconciler.run()

    def _on_scheduled_snapshot(self, _event: ops.EventBase) -> None:
        self._actions.take_scheduled_snapshot()

    def _on_leaving(self, _event: ops.EventBase) -> None:
        self._teardown.leave()

    def _on_remove(self, _event: ops.RemoveEvent) -> None:
        self._teardown.remove()

    def _on_action(self, event: ops.ActionEvent) -> None:
        self._actions.run(event)

    def _on_collect_status(self, event: ops.CollectStatusEvent) -> None:
        report = self._reconciler.describe()
        event.add_status(STATUSES[report.level](report.message))

    def _on_collect_app_status(self, event: ops.CollectStatusEvent) -> None:
        report = self._reconciler.describe_app()
        if report is not None:
            event.add_status(STATUSES[report.level](report.message))


if __name__ == "__main__":
    ops.main(EtcdCharm)
