"""A lease that is kept alive by a thread, and that knows when it may be gone."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final

from etcdwire.errors import Code
from kvclient.errors import KvClientError, RequestError

if TYPE_CHECKING:
    from kvclient.client import Client

RETRY_S: Final = 0.2


class KeptLease:
    """``with KeptLease(client, 10) as lease: client.put(key, value, lease=lease.lease_id)``.

    ``is_lost`` turns true *before* the server can end the lease: time counts from the moment at
    which the last answered keep-alive was sent, by a clock that does not jump. Whoever acts on what
    the lease protects looks there first, and again after whatever took long.
    """

    def __init__(self, client: Client, ttl_s: int) -> None:
        """Grant a lease and begin to keep it alive, on a connection of its own.

        Raises:
            KvClientError: it could not be granted.
        """
        self._client = client.clone()
        self._stop = threading.Event()
        self.lost = threading.Event()
        """Set once the lease is, or may be, gone."""
        sent = time.monotonic()
        lease = self._client.lease_grant(ttl_s)
        self.lease_id = lease.lease_id
        self.ttl_s = lease.ttl_s
        self._until = sent + lease.ttl_s
        self._thread = threading.Thread(target=self._run, name="kvclient-lease", daemon=True)
        self._thread.start()

    @property
    def is_lost(self) -> bool:
        """Whether the lease is, or may be, gone."""
        return self.lost.is_set() or time.monotonic() >= self._until

    def _run(self) -> None:
        while not self._stop.wait(self._pause_s()):
            sent = time.monotonic()
            try:
                ttl_s = self._client.lease_keep_alive(self.lease_id)
            except RequestError as error:
                if error.code == Code.NOT_FOUND:
                    self.lost.set()
                    return
            except KvClientError:
                pass  # nobody answers: try again while there is time
            else:
                self._until = sent + ttl_s
            if time.monotonic() >= self._until:
                self.lost.set()
                return

    def _pause_s(self) -> float:
        left = self._until - time.monotonic()
        return max(min(self.ttl_s / 3, left - self.ttl_s / 3), RETRY_S)

    def close(self, *, revoke: bool = True) -> None:
        """Stop keeping it alive; with ``revoke`` end it now, else its time runs out."""
        self._stop.set()
        self._thread.join()
        try:
            if revoke and not self.lost.is_set():
                self._client.lease_revoke(self.lease_id)
        except RequestError as error:
            if error.code != Code.NOT_FOUND:
                raise
        finally:
            self._client.close()

    def __enter__(self) -> KeptLease:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
