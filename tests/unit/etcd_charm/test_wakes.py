"""Timers that give a unit a hook: one at a time, so that they never keep its other hooks out."""

from pathlib import Path

import pytest

from etcd_charm.workload import host, service

CHARM = Path("/var/lib/juju/agents/unit-etcd-0/charm")


class Systemd:
    """Answers what the charm asks of systemd, and remembers the timers."""

    def __init__(self, fired: int = 0) -> None:
        self.fired = fired
        self.delays: list[str] = []
        self.is_listable = True

    def run(self, arguments, **_):
        if arguments[:2] == ["systemctl", "list-units"]:
            if not self.is_listable:
                raise host.ProgramFailed("systemctl: no bus")
            return "etcd-wake-etcd-0-x.service loaded active running wake\n" * self.fired
        self.delays += [word for word in arguments if word.startswith("--on-active=")]
        return ""


@pytest.fixture
def systemd(monkeypatch):
    fake = Systemd()
    monkeypatch.setattr(host, "run_program", fake.run)
    return fake


@pytest.mark.parametrize(
    ("dispatch", "fired", "delay"),
    [
        ("hooks/cluster-relation-changed", 0, 1),
        ("hooks/cluster-relation-changed", 1, service.BEHIND_ANOTHER_S),
        ("hooks/cluster_wake", 1, 1),
        ("hooks/cluster_wake", 2, service.BEHIND_ANOTHER_S),
    ],
)
def test_a_wake_that_has_fired_keeps_the_next_one_off(
    systemd, monkeypatch, dispatch, fired, delay
):
    monkeypatch.setenv("JUJU_DISPATCH_PATH", dispatch)
    systemd.fired = fired
    service.schedule_wake("etcd/0", CHARM, 1)
    assert systemd.delays == [f"--on-active={delay}"]


def test_a_wake_that_is_far_off_stays_so(systemd, monkeypatch):
    monkeypatch.setenv("JUJU_DISPATCH_PATH", "hooks/start")
    systemd.fired = 1
    service.schedule_wake("etcd/0", CHARM, 60)
    assert systemd.delays == ["--on-active=60"]


def test_without_an_answer_of_systemd_the_timer_is_set(systemd, monkeypatch):
    monkeypatch.setenv("JUJU_DISPATCH_PATH", "hooks/start")
    systemd.is_listable = False
    service.schedule_wake("etcd/0", CHARM, 5)
    assert systemd.delays == ["--on-active=5"]
