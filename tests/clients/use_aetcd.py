"""aetcd: asyncio over gRPC, no TLS, name and password."""

import asyncio
import os

import aetcd


async def main() -> None:
    host, port = os.environ["PLAIN_ENDPOINT"].split(":")
    async with aetcd.Client(
        host=host,
        port=int(port),
        username=os.environ["NAME"],
        password=os.environ["PASSWORD"],
        timeout=10,
    ) as client:
        await client.put(b"a/1", b"one")
        found = await client.get(b"a/1")
        assert found.value == b"one"
        assert await client.get(b"a/none") is None
        await client.put(b"a/2", b"two")
        keys = [kv.key for kv in await client.get_prefix(b"a/")]
        assert keys == [b"a/1", b"a/2"]
        assert await client.replace(b"a/1", b"one", b"uno")
        watch = await client.watch_prefix(b"a/")
        await client.put(b"a/3", b"three")
        async for event in watch:
            assert (str(event.kind), event.kv.key) == ("PUT", b"a/3")
            await watch.cancel()
            break
        lease = await client.lease(20)
        await client.put(b"a/leased", b"v", lease=lease)
        assert (await lease.remaining_ttl()) <= 20
        await lease.revoke()
        assert await client.get(b"a/leased") is None
        async with client.lock(b"a-lock", ttl=20):
            pass
        deleted = await client.delete_prefix(b"a/")
        assert deleted.deleted == 3
        assert [member async for member in client.members()]
    print("ok")


asyncio.run(main())
