"""Bodies of JSON documents that come in pieces, and gRPC's time-outs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdwire.grpc import parse_timeout
from etcdwire.json_v3 import DocumentSplitter, JsonError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.text(), VALUES), max_size=4),
    st.integers(1, 40),
    st.booleans(),
)
def test_documents_are_found_wherever_the_cuts_are(
    documents: list[dict[str, object]],
    step: int,
    is_ascii: bool,
) -> None:
    body = "\n ".join(json.dumps(one, ensure_ascii=is_ascii) for one in documents)
    data = body.encode("utf-8", "surrogatepass")
    splitter = DocumentSplitter(1 << 20)
    found: list[bytes] = []
    for at in range(0, len(data), step):
        found += splitter.feed(data[at : at + step])
    assert [json.loads(one.decode("utf-8", "surrogatepass")) for one in found] == documents
    assert splitter.is_between


@pytest.mark.parametrize("body", [b"[", b"}", b"null", b'{"a":1} x', b'{"a":1}}'])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(JsonError):
        DocumentSplitter(100).feed(body)


def test_a_document_without_end_is_refused_at_the_limit() -> None:
    splitter = DocumentSplitter(100)
    assert splitter.feed(b'{"key": "') == []
    assert not splitter.is_between
    with pytest.raises(JsonError, match="more than 100 bytes"):
        splitter.feed(b"a" * 100)


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [(b"5S", 5.0), (b"1500m", 1.5), (b"2M", 120.0), (b"1H", 3600.0), (b"10u", 1e-5), (b"0n", 0.0),
     (b"99999999n", 0.099999999), (b"", None), (b"S", None), (b"5", None), (b"-1S", None),
     (b"1.5S", None), (b"123456789S", None), (b"5s", None)],
)  # fmt: skip
def test_time_outs(raw: bytes, seconds: float | None) -> None:
    found = parse_timeout(raw)
    assert found == (None if seconds is None else pytest.approx(seconds))
