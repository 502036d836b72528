"""Teardown: storage that goes, the unit that stops, the unit that is removed.

The only hooks of this charm that may fail on purpose: a removal that would cost the cluster its
quorum is repeated by Juju until it is safe, or until the operator forces it.
"""

import logging

from etcd_charm.cluster.errors import Retry
from etcd_charm.cluster.facts import NO_MEMBER, ClusterView, Facts
from etcd_charm.cluster.leaving import (
    LEAVE_PAUSE_S,
    LEAVE_TRIES,
    Farewell,
    LeaveDecision,
    decide_leave,
    is_removal_known,
)
from etcd_charm.cluster.membership import decide_ghosts
from etcd_charm.reconcile.loop import Reconciler
from etcd_charm.workload.engine import Workload

logger = logging.getLogger(__name__)


class CannotLeave(Exception):  # noqa: N818 - what `juju debug-log` shows
    """The cluster does not let this unit go: the hook fails, and Juju repeats it."""


class Teardown:
    """Takes this unit out of the cluster, if it is really going, and stops the engine."""

    def __init__(self, reconciler: Reconciler, workload: Workload) -> None:
        self._reconciler = reconciler
        self._workload = workload

    def leave(self) -> None:
        """Leave and stop, as far as this hook is about leaving at all.

        Raises:
            CannotLeave: if the removal stays refused.
        """
        decision = self._look()
        for _ in range(LEAVE_TRIES):
            if decision.farewell is Farewell.STOP or self._try_leaving(decision):
                logger.info("stopping the engine: %s", decision.reason or "it has left")
                self._workload.stop()
                return
            self._workload.rest(LEAVE_PAUSE_S)
            decision = self._look()
        if decision.farewell is Farewell.ABANDON:
            logger.warning("leaving without removal from the member list: %s", decision.reason)
            self._workload.stop()
            return
        raise CannotLeave(decision.reason or "the cluster refuses the removal")

    def _look(self) -> LeaveDecision:
        juju = self._reconciler.read_juju()
        facts = self._reconciler.observe(juju, None)
        decision = decide_leave(facts)
        if facts.view is not None and decision.farewell is not Farewell.STOP:
            self._apply_ghost_rule(facts, facts.view, decision)
        return decision

    def _apply_ghost_rule(self, facts: Facts, view: ClusterView, decision: LeaveDecision) -> None:
        """Remember who is absent, across hooks that fail, and remove whoever has been for long."""
        step, absent = decide_ghosts(facts, view)
        self._workload.save_absences(absent)
        if step is None or not decision.helpers:
            return
        try:
            self._workload.ask_removal(decision.helpers[0], step.member_id)
        except Retry as obstacle:
            logger.info("a member without a unit stays for now: %s", obstacle)

    def _try_leaving(self, decision: LeaveDecision) -> bool:
        """Ask the survivors once; return whether all of them know."""
        if decision.farewell is not Farewell.LEAVE or not decision.helpers:
            return False
        try:
            if decision.hand_over_to != NO_MEMBER:
                self._workload.hand_over(decision.own_url, decision.hand_over_to)
            self._workload.ask_removal(decision.helpers[0], decision.member_id)
        except Retry as obstacle:
            logger.info("not removed yet: %s", obstacle)
            return False
        for _ in range(LEAVE_TRIES):
            if is_removal_known(self._workload.read_lists(decision.helpers), decision.member_id):
                self._workload.remember_leaving()
                return True
            self._workload.rest(LEAVE_PAUSE_S)
        return False

    def remove(self) -> None:
        """Take keys and service off the machine. Data stays for whoever gets the storage."""
        self._workload.remove()
