"""Options that need more than a range: timing by distance, names, ports that move."""

import dataclasses

import pytest
import yaml

from etcd_charm.cluster.facts import DataState, EngineFacts
from etcd_charm.cluster.membership import is_listening
from etcd_charm.cluster.plan import decide
from etcd_charm.cluster.settings import Settings, choose_timing, load_settings
from etcd_charm.cluster.steps import UpdateMember
from etcd_charm.cluster.timing import choose_step, decide_record, decide_shown
from etcd_charm.cluster.tls import fill_names
from etcd_charm.workload import config_files
from etcd_charm.workload.engine_raftkv import RaftkvEngine
from tests.unit.etcd_charm.test_decisions import facts, member, view
from tests.unit.etcd_charm.test_workload_files import (
    Path,
    authorities,
    make_wanted,
    paths,
)

__all__ = ["authorities", "paths"]


@pytest.mark.parametrize(
    ("options", "round_trip_ms", "timing"),
    [
        ({}, 0, (100, 1000)),
        ({"network-profile": "wan"}, 0, (500, 5000)),
        ({"network-profile": "measured"}, 0, (100, 1000)),
        ({"network-profile": "measured"}, 256, (384, 3840)),
        ({"network-profile": "measured"}, 10_000, (5000, 50_000)),
        ({"network-profile": "wan", "heartbeat_interval": 200}, 0, (200, 1000)),
    ],
)
def test_timing_follows_the_distance_unless_an_operator_says_otherwise(
    options, round_trip_ms, timing
):
    settings, problems = load_settings(options)
    settings = choose_timing(settings, round_trip_ms)
    assert not problems
    assert (settings.heartbeat_ms, settings.election_ms) == timing


@pytest.mark.parametrize(
    ("shown", "measured", "step"),
    [
        (0, 3, 0),
        (0, 64, 64),
        (0, 65, 128),
        (128, 70, 128),
        (128, 130, 256),
        (256, 20, 0),
        (256, 64, 64),
        (256, 100, 256),
    ],
)
def test_measurements_are_shown_in_steps_that_do_not_flap(shown, measured, step):
    assert choose_step(shown, measured) == step


def test_the_leader_records_the_slowest_round_trip_only_when_asked_to():
    slow = view(member(0), round_trip_ms=100)
    lan = facts(is_leader=True, view=slow)
    assert decide_record(lan) is None
    assert decide_shown(lan, 128) == 0
    measured = dataclasses.replace(lan, settings=Settings(network_profile="measured"))
    assert decide_record(measured) == 128
    assert decide_record(dataclasses.replace(measured, round_trip_ms=128)) is None


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("certificate-extra-sans", "bad name!"),
        ("snapshot-schedule", "$(reboot)"),
        ("snapshot-retention", 0),
        ("memory-limit", "12M"),
        ("memory-limit", "plenty"),
        ("legacy-port", 2379),
        ("network-profile", "moon"),
        ("tls", "yes"),
    ],
)
def test_values_that_cannot_be_used_are_named(option, value):
    _, problems = load_settings({option: value})
    assert [problem.option for problem in problems] == [option]


def test_names_for_certificates_know_the_unit():
    settings, _ = load_settings({"certificate-extra-sans": "{unit}.example.org, 10.1.1.1 b.c"})
    assert fill_names(settings.extra_sans, "etcd/3") == ("10.1.1.1", "b.c", "etcd-3.example.org")


def render(paths, authorities, mode=config_files.STEADY, **options):
    settings, problems = load_settings(options)
    assert not problems
    wanted = make_wanted(authorities, settings=settings)
    return config_files.render_files(paths, RaftkvEngine(paths), wanted, Path("/srv/x"), mode)


def test_plain_http_is_for_clients_only(paths, authorities):
    config = yaml.safe_load(render(paths, authorities, tls=False).config)
    assert config["listen-client-urls"] == "http://0.0.0.0:2379"
    assert "client-transport-security" not in config
    assert config["listen-peer-urls"] == "https://0.0.0.0:2380"
    assert config["peer-transport-security"]["client-cert-auth"] is True


def test_the_legacy_port_is_plain_and_on_loopback_only(paths, authorities):
    config = yaml.safe_load(render(paths, authorities, **{"legacy-port": 4001}).config)
    assert config["listen-client-urls"] == "https://0.0.0.0:2379,http://127.0.0.1:4001"


def test_row_23_former_ports_are_listened_to_until_the_next_restart(paths, authorities):
    mode = config_files.StartMode(former_ports=(2379, 2380))
    options = {"port": 3379, "management_port": 3380}
    config = yaml.safe_load(render(paths, authorities, mode, **options).config)
    assert config["listen-client-urls"] == "https://0.0.0.0:3379,https://0.0.0.0:2379"
    assert config["listen-peer-urls"] == "https://0.0.0.0:3380,https://0.0.0.0:2380"


def test_the_unit_file_waits_for_the_storage_and_bounds_memory(paths, authorities):
    files = render(paths, authorities, **{"memory-limit": "1G"})
    assert "RequiresMountsFor=/srv/x" in files.unit_file
    assert f"MemoryMax={1 << 30}" in files.unit_file


def test_row_23_nobody_is_told_a_new_port_before_the_engine_listens_there():
    moved = "https://10.0.0.0:3380"
    engine = EngineFacts(is_running=True, data=DataState.OURS, started_with="old")
    known = facts(1, engine=engine, wanted="new", peer_url=moved, view=view(member(0), member(1)))
    assert not is_listening(known)
    assert not any(isinstance(step, UpdateMember) for step in decide(known).steps)
    restarted = dataclasses.replace(engine, started_with="new")
    known = dataclasses.replace(known, engine=restarted)
    assert decide(known).steps == (UpdateMember(member(0).member_id, moved),)
