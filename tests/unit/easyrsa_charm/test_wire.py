"""The companion authority: requests in the legacy form in, answers in the legacy form out."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "charms/easyrsa/src/wire.py"


@pytest.fixture(scope="module")
def wire():
    spec = importlib.util.spec_from_file_location("easyrsa_wire", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["easyrsa_wire"] = module
    spec.loader.exec_module(module)
    return module


def test_the_top_level_request_is_answered_under_the_units_name(wire):
    bag = {"unit_name": "etcd_0", "common_name": "10.0.0.1", "sans": json.dumps(["b", "a"])}
    (request,) = wire.read_requests(bag)
    assert request.is_server
    answers = wire.encode_answers("etcd_0", [(request, "CERT", "KEY")])
    assert answers == {"etcd_0.server.cert": "CERT", "etcd_0.server.key": "KEY"}


def test_further_requests_are_answered_as_objects(wire):
    bag = {
        "cert_requests": json.dumps({"a": {"sans": ["x"]}}),
        "client_cert_requests": json.dumps({"c": {"sans": []}}),
        "application_cert_requests": json.dumps({"app": {"sans": ["y"]}}),
    }
    requests = wire.read_requests(bag)
    assert [request.is_server for request in requests] == [True, False, True]
    answers = wire.encode_answers("etcd_0", [(request, "C", "K") for request in requests])
    pair = {"cert": "C", "key": "K"}
    assert json.loads(answers["etcd_0.processed_requests"]) == {"a": pair}
    assert json.loads(answers["etcd_0.processed_client_requests"]) == {"c": pair}
    assert json.loads(answers["etcd_0.processed_application_requests"]) == {"app_data": pair}


def test_names_count_as_a_set(wire):
    one = wire.Request("server", "cn", ("a", "b"), is_server=True)
    other = wire.Request("server", "cn", ("b", "a", "a"), is_server=True)
    assert one.identity == other.identity


def test_an_old_requirer_without_a_unit_name_is_answered_too(wire):
    assert wire.unit_name_of("etcd/3", {}) == "etcd_3"
