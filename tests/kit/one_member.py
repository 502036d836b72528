"""The API over a state machine, without Raft, sockets or threads: each call is answered at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar, cast

from etcdwire.errors import ApiError
from etcdwire.hot import HeaderEncoder
from etcdwire.protobuf import Message, decode, encode
from raftkv.api.access import Caller, dispatch
from raftkv.api.calls import BodyWriter, GatheredBody
from raftkv.api.figures import Figures
from raftkv.api.host import Limits, Logins, Recheckable, Token
from raftkv.api.known_passwords import KnownPasswords
from raftkv.api.logins import SimpleLogins
from raftkv.api.services import UNARY, Unary, new_method_counters
from raftkv.replica.leases import LeaseAsks, Leases
from raftkv.replica.machine import Machine
from raftkv.store.mvcc import KeyValueStore
from raftkv.store.range_cache import RangeCache
from raftkv.store.tree_v2 import TreeV2
from raftkv.values import ClusterId, Index, Member, MemberId, Membership, Term

T = TypeVar("T")
R = TypeVar("R", bound=Message)
METHODS = {method.path.decode().rpartition("/")[2]: method for method in UNARY}


class NoRows:
    """A backend that holds nothing: all rows stay in the overlay."""

    def get_row(self, row_id: int) -> bytes | None:
        return None

    def get_rows(self, row_ids: list[int]) -> list[bytes]:
        return []

    def scan_rows(self, first: int, end: int) -> Iterator[tuple[int, bytes]]:
        return iter(())


def new_machine() -> Machine:
    return Machine(KeyValueStore(NoRows()), TreeV2())


@dataclass
class Answer:
    """What became of one call (``calls.Call``)."""

    body: bytes | None = None
    error: ApiError | None = None
    identity: None = None

    closed: Callable[[], None] | None = None

    def on_close(self, callback: Callable[[], None] | None) -> None:
        self.closed = callback

    def begin(self, length: int) -> BodyWriter:
        self.announced = length
        return GatheredBody(self)

    announced: int = 0

    def ok(self, body: bytes) -> None:
        assert self.body is None
        assert self.error is None
        self.body = body

    def fail(self, error: ApiError) -> None:
        assert self.body is None
        assert self.error is None
        self.error = error


@dataclass
class Stream:
    """A streamed call (``v3_maintenance.OutStream``)."""

    sent: list[bytes] = field(default_factory=list)
    is_open: bool = True
    error: ApiError | None = None

    def send(self, body: bytes) -> None:
        self.sent.append(body)

    def pending_bytes(self) -> int:
        return 0

    def finish(self, error: ApiError | None = None) -> None:
        self.is_open = False
        self.error = error


class OneMember:
    """Implements ``api.host.Host``."""

    def __init__(self) -> None:
        self.machine = new_machine()
        self.headers = HeaderEncoder(1, 2)
        self.figures = Figures(methods=new_method_counters())
        self.limits = Limits(128, 1 << 20, 2 << 30)
        self.cluster_id = ClusterId(1)
        self.member_id = MemberId(2)
        self.leader_id = MemberId(2)
        self.term = Term(3)
        self.name = "m"
        self.advertised_urls = ("http://c",)
        self.enable_v2 = True
        self.enable_gateway = True
        self.strict_reconfig = True
        self.range_cache = RangeCache()
        self.is_learner = False
        self.is_full = False
        self.log_syncs_count = 0
        self.now_ms = 1_000_000
        self.applied_index = Index(10)
        self.log_start = Index(0)
        self.bcrypt_cost = 4
        self.lease_ttl_min_s = 2
        self.clock = Leases(lambda: self.machine.lessor, 1000, incarnation=1)
        self.clock.lead(3)
        self.logins: Logins = cast(Logins, None)
        self.passwords: Any = KnownPasswords(b"key")
        self.watch_streams: set[Recheckable] = set()
        self.later: list[Callable[[], None]] = []
        self.aside: list[Callable[[], None]] = []
        self.holds_aside = False
        """Whether work for another thread waits until it is asked for."""
        self.before_apply: Callable[[], None] = lambda: None
        """Called once before the next command is applied: what a race would do in between."""
        numbers = count(1)
        self.logins = SimpleLogins(self, lambda: self.now_ms, lambda: f"text{next(numbers)}")  # type: ignore[arg-type]

    @property
    def commit_index(self) -> Index:
        return self.applied_index

    @property
    def membership(self) -> Membership:
        return Membership(
            {self.member_id: Member(self.member_id, "m", ("http://p",), ("http://c",))}
        )

    def progress(self) -> dict[Any, Any]:
        return {}

    def size_bytes(self) -> int:
        return 8192

    def used_bytes(self) -> int:
        return 4096

    def propose(self, command: bytes, token: Token) -> None:
        before, self.before_apply = self.before_apply, lambda: None
        before()
        token.applied(self.apply(command))

    def apply(self, command: bytes) -> object:
        self.applied_index = Index(self.applied_index + 1)
        (result,) = self.machine.apply(self.applied_index, self.term, (command,), True)
        return result

    def read(self, token: Token) -> None:
        token.ready()

    def ask_lease(self, kind: LeaseAsks, lease_id: int, token: Token) -> None:
        self.clock.tick(self.now_ms)
        answers, _ = self.clock.answer(((kind, lease_id),))
        assert answers is not None
        token.applied(answers[0])

    def new_lease_id(self) -> int:
        return 1 << 40

    def change_membership(self, change: Any, token: Token) -> None:
        token.ready()

    def transfer_leadership(self, to: MemberId, token: Token) -> None:
        token.ready()

    def when_forgotten(self, done: Callable[[], None]) -> None:
        while self.machine.kv.has_garbage:
            self.machine.kv.forget_slice(100)
        done()

    def hash_backend(self, done: Callable[[int], None]) -> None:
        done(7)

    def defragment(self, done: Callable[[ApiError | None], None]) -> None:
        done(None)

    def run_aside(self, work: Callable[[], T], done: Callable[[T], None]) -> None:
        if self.holds_aside:
            self.aside.append(lambda: done(work()))
        else:
            done(work())

    def run_held_aside(self) -> None:
        """Do what was put off to another thread, in order."""
        while self.aside:
            self.aside.pop(0)()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.later.append(callback)

    # --- asking -----------------------------------------------------------------------------

    def call(self, name: str, request: Message, caller: Caller | None = None) -> Answer:
        """Call a method as the codecs do."""
        return self.call_bytes(METHODS[name], encode(request), caller or Caller())

    def call_bytes(self, method: Unary, data: bytes, caller: Caller) -> Answer:
        answer = Answer()
        host: Any = self
        try:
            if self.machine.auth.enabled:
                dispatch(host, answer, caller, method, data)
            else:
                method.handler(host, answer, data)
        except ApiError as error:
            answer.fail(error)
        return answer

    def must(
        self, name: str, request: Message, response: type[R], caller: Caller | None = None
    ) -> R:
        """Call a method that has to succeed."""
        answer = self.call(name, request, caller)
        assert answer.error is None, (name, answer.error)
        assert answer.body is not None
        return decode(response, answer.body)

    def run_later(self) -> None:
        """Run what was put off once."""
        later, self.later = self.later, []
        for callback in later:
            callback()
