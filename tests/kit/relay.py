"""The network between real members, in user space: each direction can be cut or slowed by itself.

A relay stands before each member's peer port. Raft's messages go one way per connection, and the
opening line says from whom, so a connection is a direction of a link. Real etcd does not say: there
the process is looked for that holds the other end of the connection.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path

HELLO = b"RKVPEER1\n"
CHUNK_BYTES = 64 << 10


@dataclass
class Conditions:
    """What the network does at the moment."""

    cut: set[tuple[str, str]] = field(default_factory=set)
    """Directions (from, to) in which nothing passes."""
    delay_s: float = 0.0
    """Each piece of bytes waits so long."""


class Relays:
    """All relays of a cluster, in a thread of their own."""

    def __init__(self) -> None:
        self.conditions = Conditions()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._listening: list[socket.socket] = []
        self._accepted: list[socket.socket] = []
        self._passing: list[asyncio.Task[None]] = []
        self._names: dict[str, str] = {}
        """Member id in hex to name, as it is learnt."""
        self._processes: dict[int, str] = {}

    def add(self, name: str, port: int, target_port: int) -> None:
        """Relay one member's peer port."""

        listening = socket.create_server(("127.0.0.1", port))
        listening.setblocking(False)

        def accept() -> None:
            # Not asyncio's server: what it accepts while it closes is never closed.
            accepted, _ = listening.accept()
            self._accepted.append(accepted)
            passing = self._pass(name, target_port, accepted)
            self._passing.append(self._loop.create_task(passing))

        async def serve() -> None:
            self._loop.add_reader(listening, accept)
            self._listening.append(listening)

        asyncio.run_coroutine_threadsafe(serve(), self._loop).result(10)

    def learn(self, member_id: int, name: str) -> None:
        """Directions are named by members' names; connections name ids."""
        self._names[f"{member_id:x}"] = name

    def learn_process(self, pid: int, name: str) -> None:
        """Whose connections these are."""
        self._processes[pid] = name

    def _caller_at(self, port: int) -> str:
        """The member that holds the connection from this local port; empty when nobody does."""
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        inodes = {row[9] for row in rows if int(row[1].rpartition(":")[2], 16) == port}
        for pid, name in self._processes.items():
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    target = str(descriptor.readlink())
                except OSError:
                    continue
                if target.startswith("socket:") and target[8:-1] in inodes:
                    return name
        return ""

    def stop(self) -> None:
        """End all of it."""

        async def close() -> None:
            for listening in self._listening:
                self._loop.remove_reader(listening)
                listening.close()
            for passing in self._passing:
                passing.cancel()
            await asyncio.gather(*self._passing, return_exceptions=True)
            await asyncio.sleep(0)  # the turn in which closed transports let go of their sockets
            for accepted in self._accepted:
                accepted.close()  # also of whom nothing had begun

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _pass(self, to: str, port: int, accepted: socket.socket) -> None:
        ends: list[asyncio.StreamWriter] = []
        try:
            reader, writer = await asyncio.open_connection(sock=accepted)
            ends.append(writer)
            first = await reader.readexactly(len(HELLO))
            line = await reader.readline() if first == HELLO else b""
            if line:
                sender = json.loads(line)["from"]
            else:
                sender = self._caller_at(writer.get_extra_info("peername")[1])
            there, back = await asyncio.open_connection("127.0.0.1", port)
            ends.append(back)
            await self._hold(sender, to)
            back.write(first + line)
            await asyncio.gather(
                self._pump(reader, back, sender, to), self._pump(there, writer, to, sender)
            )
        except (OSError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            for end in ends:
                end.transport.abort()  # whoever is frozen will not take what is left
        finally:
            for end in ends:
                end.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sender: str, to: str
    ) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if self.conditions.delay_s:
                await asyncio.sleep(self.conditions.delay_s)
            await self._hold(sender, to)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _hold(self, sender: str, to: str) -> None:
        """Nothing passes a cut; TCP delivers it late, as after a pause of the network."""
        while self._is_cut(sender, to):  # noqa: ASYNC110 - a thread changes what it reads
            await asyncio.sleep(0.01)

    def _is_cut(self, sender: str, to: str) -> bool:
        return (self._names.get(sender, sender), self._names.get(to, to)) in self.conditions.cut
