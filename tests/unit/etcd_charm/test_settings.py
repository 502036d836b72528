"""Options: every problem is named, sizes and counts are understood."""

import pytest

from etcd_charm.cluster.settings import Settings, load_settings


def test_defaults_are_the_settings_of_an_empty_configuration():
    assert load_settings({}) == (Settings(), ())


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("auto", 2 << 30),
        ("8G", 8 << 30),
        ("512M", 512 << 20),
        ("8GiB", 8 << 30),
        ("67108864", 64 << 20),
    ],
)
def test_sizes(text, size_bytes):
    settings, problems = load_settings({"quota": text})
    assert not problems
    assert settings.quota_bytes == size_bytes


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"port": "2379"}, ["port"]),
        ({"port": True}, ["port"]),
        ({"port": 70000, "quota": "1K"}, ["port", "quota"]),
        ({"snapshot_count": "99"}, ["snapshot_count"]),
        ({"heartbeat_interval": 500}, ["election_timeout"]),
        ({"bind_to_all_interfaces": "yes"}, ["bind_to_all_interfaces"]),
        ({"log-level": "LOUD", "engine": "zk"}, ["engine", "log-level"]),
    ],
)
def test_all_problems_are_named(options, names):
    _, problems = load_settings(options)
    assert [problem.option for problem in problems] == names


def test_the_limit_of_five_heartbeats_is_inclusive():
    _, problems = load_settings({"heartbeat_interval": 200, "election_timeout": 1000})
    assert not problems
