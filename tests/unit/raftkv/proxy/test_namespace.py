"""Keys under a prefix that clients do not see."""

from __future__ import annotations

import pytest

from etcdwire import messages as m
from etcdwire.errors import ApiError
from etcdwire.grpc import frame
from etcdwire.key_ranges import prefix_end
from etcdwire.protobuf import decode, encode
from raftkv.proxy.namespace import Namespace, Translation

RANGE = b"/etcdserverpb.KV/Range"
TXN = b"/etcdserverpb.KV/Txn"
TTL = b"/etcdserverpb.Lease/LeaseTimeToLive"


@pytest.mark.parametrize(
    ("prefix", "end"),
    [(b"a/", b"a0"), (b"a\xff", b"b"), (b"\xff\xff", b"\x00"), (b"a\xff\xff", b"b")],
)
def test_everything_is_all_that_begins_with_the_prefix(prefix: bytes, end: bytes) -> None:
    assert prefix_end(prefix) == end
    request = encode(m.RangeRequest(b"k", b"\x00"))
    seen = decode(m.RangeRequest, Namespace(prefix).put_in(RANGE, request))
    assert (seen.key, seen.range_end) == (prefix + b"k", end)


def test_transactions_are_translated_at_every_depth() -> None:
    inner = m.TxnRequest(success=[m.RequestOp(request_put=m.PutRequest(b"deep", b"v"))])
    request = m.TxnRequest(
        compare=[m.Compare(key=b"guard", range_end=b"guard0", version=1)],
        failure=[m.RequestOp(request_txn=inner)],
    )
    seen = decode(m.TxnRequest, Namespace(b"n/").put_in(TXN, encode(request)))
    assert (seen.compare[0].key, seen.compare[0].range_end) == (b"n/guard", b"n/guard0")
    nested = seen.failure[0].request_txn
    assert nested is not None
    assert nested.success[0].request_put == m.PutRequest(b"n/deep", b"v")


def test_a_lease_shows_only_keys_of_the_namespace() -> None:
    answer = encode(m.LeaseTimeToLiveResponse(None, 1, 2, 3, [b"n/a", b"other", b"n/b"]))
    shown = decode(m.LeaseTimeToLiveResponse, Namespace(b"n/").take_out(TTL, answer))
    assert shown.keys == [b"a", b"b"]


def test_messages_in_pieces_and_messages_that_are_none() -> None:
    call = Translation(Namespace(b"n/"), RANGE, 1000)
    whole = frame(encode(m.RangeRequest(b"k")))
    passed = b"".join(call.put_in(whole[at : at + 1]) for at in range(len(whole)))
    assert passed == frame(encode(m.RangeRequest(b"n/k")))
    for bad in (frame(encode(m.RangeRequest())), frame(b"\xff"), b"\x01\0\0\0\0", b"\0\xff\0\0\0"):
        with pytest.raises(ApiError):
            Translation(Namespace(b"n/"), RANGE, 1000).put_in(bad)
