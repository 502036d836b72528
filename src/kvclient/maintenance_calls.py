"""Alarms, compaction, hashes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from etcdwire import messages as m
from kvclient.calls import Calls

_MAINTENANCE: Final = "/etcdserverpb.Maintenance/"
_ALARM_NAMES: Final = {0: "NONE", 1: "NOSPACE", 2: "CORRUPT"}


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm of one member."""

    member_id: int
    kind: str
    """NOSPACE or CORRUPT."""


@dataclass(frozen=True, slots=True)
class KeyValueHash:
    """The hash of one member's key space at a revision."""

    hash: int
    revision: int
    """The member's present revision."""
    compact_revision: int
    """Hashes compare only after the same compaction; -1 before the first."""
    member_id: int


class MaintenanceCalls(Calls):
    """Of the Maintenance service, what one does to any member; and compaction."""

    def alarm_list(self) -> tuple[Alarm, ...]:
        """All alarms that are on."""
        return self._alarms(m.AlarmRequest(m.AlarmAction.GET), is_write=False)

    def alarm_disarm(self, alarm: Alarm | None = None) -> tuple[Alarm, ...]:
        """End one alarm, or all of them; returns those that were on.

        raftkv ends NOSPACE by itself once enough is deleted and compacted, and raises it again
        while that is not so.
        """
        found: list[Alarm] = []
        for one in self.alarm_list() if alarm is None else (alarm,):
            kind = next(number for number, name in _ALARM_NAMES.items() if name == one.kind)
            request = m.AlarmRequest(m.AlarmAction.DEACTIVATE, one.member_id, kind)
            found.extend(self._alarms(request, is_write=True))
        return tuple(found)

    def _alarms(self, request: m.AlarmRequest, *, is_write: bool) -> tuple[Alarm, ...]:
        path = (_MAINTENANCE + "Alarm").encode()
        answer = self.call(path, request, m.AlarmResponse, is_write=is_write)
        return tuple(
            Alarm(row.memberID, _ALARM_NAMES.get(row.alarm, str(row.alarm)))
            for row in answer.alarms
        )

    def compact(self, revision: int, *, physical: bool = False) -> None:
        """Forget what is older than a revision; ``physical`` waits until the rows are gone.

        Raises:
            RequestError: compacted already, or in the future.
        """
        request = m.CompactionRequest(revision, physical)
        self.call(b"/etcdserverpb.KV/Compact", request, m.CompactionResponse, is_write=True)

    def hash_kv(self, revision: int = 0, *, endpoint: str | None = None) -> KeyValueHash:
        """The hash of a member's key space; 0 means its present revision.

        Raises:
            RequestError: the revision is compacted, or in the future.
        """
        path = (_MAINTENANCE + "HashKV").encode()
        request = m.HashKVRequest(revision)
        answer = self.call(path, request, m.HashKVResponse, endpoint=endpoint)
        header = answer.header or m.ResponseHeader()
        return KeyValueHash(
            answer.hash, header.revision, answer.compact_revision, header.member_id
        )

    def defragment(self, endpoint: str | None = None) -> None:
        """Give one member's free pages back to its file system.

        raftkv serves meanwhile; etcd does not. Takes as long as copying the store: mind the
        client's time limit.
        """
        path = (_MAINTENANCE + "Defragment").encode()
        self.call(
            path, m.DefragmentRequest(), m.DefragmentResponse, is_write=True, endpoint=endpoint
        )
