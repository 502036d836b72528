"""The window of append messages that one follower has not answered yet."""

from __future__ import annotations

from collections import deque


class Inflights:
    """Bounded by messages and by bytes, so that a slow follower costs bounded memory.

    Each message is known by its last index; an acknowledgement of index i frees all messages
    that end at or before i. Amortised constant cost per message.
    """

    __slots__ = ("_bytes", "_bytes_max", "_messages_max", "_queue")

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self._queue: deque[tuple[int, int]] = deque()
        self._bytes = 0
        self._messages_max = messages_max
        self._bytes_max = bytes_max

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def is_full(self) -> bool:
        """No further message may leave (one message may pass the byte limit on its own)."""
        return len(self._queue) >= self._messages_max or self._bytes >= self._bytes_max

    def add(self, last_index: int, size_bytes: int) -> None:
        """Note a sent message."""
        self._queue.append((last_index, size_bytes))
        self._bytes += size_bytes

    def free_to(self, index: int) -> None:
        """Forget the messages that end at or before ``index``."""
        queue = self._queue
        while queue and queue[0][0] <= index:
            self._bytes -= queue.popleft()[1]

    def free_first(self) -> None:
        """Let one message through although the window is full (the follower lives)."""
        if self._queue:
            self._bytes -= self._queue.popleft()[1]

    def clear(self) -> None:
        """Forget all: the follower is being probed anew."""
        self._queue.clear()
        self._bytes = 0
