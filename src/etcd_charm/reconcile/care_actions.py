"""Upkeep: compaction, defragmentation, alarms, equal data, a bundle for whoever helps."""

import json
import time
from collections.abc import Callable

import ops

from etcd_charm.cluster import status
from etcd_charm.cluster.facts import ClusterView, MemberView
from etcd_charm.cluster.plan import decide
from etcd_charm.reconcile.desk import (
    HOME,
    Desk,
    Refused,
    demand_view,
    find_member,
    format_size,
    hash_at,
    list_urls,
    name_of,
)

HASH_TRIES = 5
"""A compaction between two members' answers makes them incomparable; then all are asked again."""


class CareActions:
    """Actions that keep a cluster well."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def list_work(self) -> dict[str, Callable[[ops.ActionEvent], None]]:
        """Return the actions by name."""
        return {
            "compact": self._compact,
            "defrag": self._defrag,
            "alarm-list": self._list_alarms,
            "alarm-disarm": self._disarm,
            "check-consistency": self._check_consistency,
            "debug": self._debug,
        }

    def _compact(self, event: ops.ActionEvent) -> None:
        _, facts = self.desk.observe()
        text = str(event.params.get("revision") or "").strip()
        if text and not text.isdigit():
            raise Refused(f"revision is a number, or empty for the present one, not {text!r}")
        urls = list_urls(demand_view(facts))
        physical = bool(event.params.get("physical", False))
        revision = self.desk.workload.care.compact(urls, int(text or "0"), physical=physical)
        event.set_results({"output": f"compacted revision {revision}", "revision": str(revision)})

    def _defrag(self, event: ops.ActionEvent) -> None:
        """One member after the other, the leader last, each only while all are healthy."""
        _, facts = self.desk.observe()
        view = demand_view(facts)
        chosen = self._choose(event, view)
        lines: list[str] = []
        for member in chosen:
            silent = [name_of(m) for m in view.members if not m.is_reachable]
            if silent:
                raise Refused(f"{', '.join(silent)} does not answer: " + "; ".join(lines))
            before, after = self.desk.workload.care.defragment(member.client_urls[0])
            lines.append(f"{name_of(member)}: {format_size(before)} -> {format_size(after)}")
            event.log(lines[-1])
            view = demand_view(self.desk.observe()[1])
        event.set_results({"output": "\n".join(lines)})

    def _choose(self, event: ops.ActionEvent, view: ClusterView) -> list[MemberView]:
        wanted = str(event.params.get("member") or "")
        if wanted:
            return [find_member(view, wanted)]
        started = [member for member in view.members if member.client_urls]
        return sorted(started, key=lambda m: (m.member_id == view.leader_id, m.name))

    def _list_alarms(self, event: ops.ActionEvent) -> None:
        _, facts = self.desk.observe()
        alarms = demand_view(facts).alarms
        event.set_results(
            {"count": str(len(alarms)), "output": "\n".join(alarms) or "no alarm is raised"}
        )

    def _disarm(self, event: ops.ActionEvent) -> None:
        _, facts = self.desk.observe()
        count = self.desk.workload.care.disarm_alarms(list_urls(demand_view(facts)))
        event.set_results({"count": str(count), "output": f"{count} alarm(s) disarmed"})

    def _check_consistency(self, event: ops.ActionEvent) -> None:
        """Compare a hash over the data of all members at one revision."""
        _, facts = self.desk.observe()
        view = demand_view(facts)
        silent = [name_of(m) for m in view.members if not m.is_reachable]
        if silent:
            raise Refused(f"{', '.join(silent)} does not answer, so not all can be compared")
        care = self.desk.workload.care
        urls = {name_of(member): member.client_urls[0] for member in view.voters}
        for _ in range(HASH_TRIES):
            revision = min(care.read_revision(url) for url in urls.values())
            found = {name: hash_at(care, url, revision) for name, url in urls.items()}
            if len({(entry.compact_revision, entry.revision) for entry in found.values()}) == 1:
                break
            self.desk.workload.rest(1.0)
        else:
            raise Refused("compactions keep coming between the answers: try again later")
        rows = {name: f"{entry.hash:08x}" for name, entry in sorted(found.items())}
        results = {"revision": str(revision), "hashes": json.dumps(rows)}
        if len(set(rows.values())) > 1:
            event.set_results({**results, "consistent": "false"})
            raise Refused(f"the members differ at revision {revision}: {json.dumps(rows)}")
        text = f"{len(rows)} member(s) are equal at revision {revision}"
        event.set_results({**results, "consistent": "true", "output": text})

    def _debug(self, event: ops.ActionEvent) -> None:
        _, facts = self.desk.observe()
        report = status.describe(facts, decide(facts))
        texts = {
            "status.txt": f"{report.level.value}: {report.message}\n",
            "members.txt": "\n".join(map(str, facts.view.members)) if facts.view else "",
            "engine.txt": f"{facts.engine}\n",
            "plan.txt": f"{decide(facts)}\n",
            "settings.txt": f"{facts.settings}\n",
        }
        stamp = time.strftime("%Y-%m-%d-%H.%M.%S", time.gmtime())
        name = f"etcd-debug-{facts.unit.replace('/', '-')}-{stamp}.tar.gz"
        self.desk.workload.pack_debug(HOME / name, texts)
        event.set_results(
            {"path": str(HOME / name), "copy": {"cmd": f"juju scp {facts.unit}:{name} ."}}
        )
