"""The legacy form of `tls-certificates`, on both of its sides, and the bundles."""

import json

from etcd_charm.cluster.tls import (
    choose_server_bundle,
    decode_answer,
    encode_request,
    join_authorities,
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


def test_bundles_keep_order_and_drop_doubles():
    assert join_authorities("B\n", "", "A", "B") == "B\nA\n"


def test_the_own_authority_stays_while_a_unit_serves_with_it():
    assert choose_server_bundle("", "OWN", "f", []) == "OWN\n"
    assert choose_server_bundle("REL", "OWN", "f", ["f", "g"]) == "REL\nOWN\n"
    assert choose_server_bundle("REL", "OWN", "f", ["g", ""]) == "REL\nOWN\n"
    assert choose_server_bundle("REL", "OWN", "f", ["g", "g"]) == "REL\n"
