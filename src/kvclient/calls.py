"""What the groups of typed calls stand on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

from etcdwire.protobuf import Message

R = TypeVar("R", bound=Message)


class Calls(ABC):
    """A client that can make unary calls."""

    @abstractmethod
    def call(
        self,
        path: bytes,
        request: Message,
        response: type[R],
        *,
        is_write: bool = False,
        endpoint: str | None = None,
    ) -> R:
        """Any unary call; see ``client.Client.call``."""
