"""The network model: frames are encoded and decoded by the real codec, then anything happens.

Lost, late, out of order, twice; cut in both or in one direction. Faults change the rates; what is
under way when a member crashes still arrives at its next life.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from raftkv.raft.messages import Message
from raftkv.replica.peer_codec import FrameReader, encode_frame
from tests.simulation.clusters.world import MILLISECOND, World


@dataclass
class Weather:
    """How bad the network is at the moment."""

    drop: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0
    late_max: int = 300 * MILLISECOND


CALM = Weather()


class Network:
    """Delivers messages between members, badly."""

    def __init__(self, world: World, deliver: Callable[[int, int, Message], None]) -> None:
        self._world = world
        self._deliver = deliver
        self.weather = CALM
        self.cut: set[tuple[int, int]] = set()
        """Ordered pairs (from, to) that lose everything."""
        self._last_message: Message | None = None
        self._last_decoded: Message | None = None

    def send(self, sender: int, to: int, message: Message) -> None:
        """Put one message on its way."""
        world = self._world
        weather = self.weather
        if weather.drop and world.happens(weather.drop):
            return
        decoded = self._pass_codec(message)
        world.after(self._delay(), self._arrive, sender, to, decoded)
        if weather.duplicate and world.happens(weather.duplicate):
            world.after(self._delay() * 4, self._arrive, sender, to, decoded)

    def is_cut(self, sender: int, to: int) -> bool:
        """Tell whether nothing passes in this direction."""
        return (sender, to) in self.cut

    def _arrive(self, sender: int, to: int, message: Message) -> None:
        if (sender, to) not in self.cut:
            self._deliver(sender, to, message)

    def _delay(self) -> int:
        world = self._world
        if self.weather.late and world.happens(self.weather.late):
            return world.between(MILLISECOND, self.weather.late_max)
        return world.between(300, 5 * MILLISECOND)

    def _pass_codec(self, message: Message) -> Message:
        if message is self._last_message and self._last_decoded is not None:
            return self._last_decoded
        (decoded,) = FrameReader().feed(encode_frame(message))
        self._last_message, self._last_decoded = message, decoded
        return decoded
