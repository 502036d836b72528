"""The legacy form of `tls-certificates`, on both of its sides, and the bundles."""

import json

from etcd_charm.cluster.tls import (
    decode_answer,
    encode_request,
    join_authorities,
    list_distrusting,
    list_server_names,
)


def test_names_are_sorted_and_single():
    names = list_server_names(["10.0.0.2", "10.0.0.2"], "host")
    assert list(names) == sorted(set(names))
    assert {"127.0.0.1", "::1", "localhost", "host", "10.0.0.2"} == set(names)


def test_the_request_does_not_depend_on_the_order_of_names():
    assert encode_request("etcd/0", "cn", ["b", "a"]) == encode_request("etcd/0", "cn", ["a", "b"])
    assert json.loads(encode_request("etcd/0", "cn", ["b", "a"])["sans"]) == ["a", "b"]


def test_an_answer_is_merged_from_all_provider_units():
    bags = [{"ca": "CA"}, {"etcd_0.server.cert": "CERT", "etcd_0.server.key": "KEY", "ca": ""}]
    answer = decode_answer("etcd/0", bags)
    assert (answer.certificate, answer.key, answer.ca) == ("CERT\n", "KEY\n", "CA\n")
    assert decode_answer("etcd/1", bags) is None


def test_a_chain_follows_the_leaf():
    bag = {"ca": "CA", "chain": "MID", "u_0.server.cert": "LEAF\n", "u_0.server.key": "KEY"}
    assert decode_answer("u/0", [bag]).certificate == "LEAF\nMID\n"


def block(word: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{word}\n-----END CERTIFICATE-----\n"


def test_bundles_keep_order_and_drop_doubles_and_comments():
    a, b = block("A"), block("B")
    assert join_authorities(b, "", f"Certificate:\n  Version: 3\n{a}", b + a) == b + a


def test_a_unit_is_waited_for_until_it_shows_that_it_trusts():
    trusts = [("etcd/1", frozenset({"old", "new"})), ("etcd/2", frozenset({"old"}))]
    assert list_distrusting("old", trusts) == ()
    assert list_distrusting("new", trusts) == ("etcd/2",)
