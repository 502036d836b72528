"""The dashboard, in a real browser: it shows the cluster, and keys with the caller's own rights."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvclient import Client
from tests.integration.daemon.test_faults import leader_of
from tests.kit.browser import PROGRAM, Browser
from tests.kit.servers import Cluster
from tests.kit.waiting import wait_for

WAIT_S = 15.0
needs_browser = pytest.mark.skipif(PROGRAM is None, reason="chromium is not here")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster("raftkv", tmp_path_factory.mktemp("dashboard"), size=3) as made:
        with Client(made.endpoints) as client:
            for number in range(30):
                client.put(b"app/key%02d" % number, b"value %d" % number)
            client.put(b"<script>alert(1)</script>", b"<b>markup</b>")
        put_v2(made, "dir/one", "1")
        put_v2(made, "dir/two", "2")
        yield made


def put_v2(cluster: Cluster, key: str, value: str) -> None:
    url = f"{cluster.endpoints[0]}/v2/keys/{key}"
    wanted = urllib.request.Request(url, data=f"value={value}".encode(), method="PUT")
    with urllib.request.urlopen(wanted, timeout=5):
        pass


@pytest.fixture
def browser(cluster: Cluster) -> Iterator[Browser]:
    with Browser() as opened:
        opened.open(f"{cluster.endpoints[leader_of(cluster)]}/dashboard")
        wait_for(lambda: opened.text("#health") == "healthy", WAIT_S, "the page shows health")
        yield opened
        assert opened.problems == []


@needs_browser
def test_members_leader_and_latency(cluster: Cluster, browser: Browser, tmp_path: Path) -> None:
    leader = leader_of(cluster)
    assert browser.text("#role") == "leads"
    assert browser.text("#name") == f"m{leader}"
    rows = browser.text("#members tbody").splitlines()
    assert len([row for row in rows if "follower" in row]) == 2
    followers = "document.querySelectorAll('#latency path').length"
    wait_for(lambda: browser.evaluate(followers) == 2, WAIT_S, "a line for each follower")
    drawn = "[...document.querySelectorAll('#latency path')].every(p => p.getTotalLength() > 20)"
    wait_for(lambda: browser.evaluate(drawn), WAIT_S, "the lines grow")
    assert "ms" in browser.text("#legend")
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        target = Path(os.environ.get("SCREENSHOTS", tmp_path)) / f"dashboard-{scheme}.png"
        browser.screenshot(target)
        assert target.stat().st_size > 10_000
    back = "getComputedStyle(document.body).backgroundColor"
    dark = browser.evaluate(back)
    browser.click("#theme")
    assert browser.evaluate(back) != dark


@needs_browser
def test_a_follower_points_to_the_leader(cluster: Cluster, browser: Browser) -> None:
    leader = leader_of(cluster)
    browser.open(f"{cluster.endpoints[(leader + 1) % 3]}/dashboard")
    wait_for(lambda: browser.text("#role") == f"follows m{leader}", WAIT_S, "it follows")
    assert f"Open m{leader}" in browser.text("#latency-note")


@needs_browser
def test_keys_of_v3_are_listed_read_and_watched(cluster: Cluster, browser: Browser) -> None:
    browser.type("#where", "app/")
    wait_for(lambda: browser.text("#browser-note").startswith("30 of 30"), WAIT_S, "the list")
    browser.click("#keys li:nth-child(3)")
    wait_for(lambda: browser.text("#detail pre") == "value 2", WAIT_S, "the value")
    browser.click("#live")
    with Client(cluster.endpoints) as client:
        seen = lambda: "put app/live fresh" in browser.text("#events")  # noqa: E731 - one condition
        wait_for(lambda: client.put(b"app/live", b"fresh") and seen(), WAIT_S, "the event")
        wait_for(lambda: "31 of 31" in browser.text("#browser-note"), WAIT_S, "the list follows")
        client.delete(b"app/live")
        wait_for(lambda: "deleted app/live" in browser.text("#events"), WAIT_S, "the deletion")
    browser.type("#where", "<script>")
    wait_for(lambda: browser.text("#browser-note").startswith("1 of 1"), WAIT_S, "odd keys")
    assert browser.text("#keys li") == "<script>alert(1)</script>"
    browser.click("#keys li")
    wait_for(lambda: browser.text("#detail pre") == "<b>markup</b>", WAIT_S, "markup is text")


@needs_browser
def test_directories_of_v2_are_entered_and_watched(cluster: Cluster, browser: Browser) -> None:
    browser.click("#tab-v2")
    wait_for(lambda: "/dir/" in browser.text("#keys"), WAIT_S, "the root")
    browser.click("#keys li")
    wait_for(lambda: browser.text("#keys").split() == ["/dir/one", "/dir/two"], WAIT_S, "inside")
    browser.click("#keys li")
    wait_for(lambda: browser.text("#detail pre") == "1", WAIT_S, "the value")
    browser.click("#live")

    def is_seen() -> bool:
        put_v2(cluster, "dir/three", "3")
        return "set /dir/three 3" in browser.text("#events")

    wait_for(is_seen, WAIT_S, "the event")


@needs_browser
def test_with_auth_on_it_asks_who_you_are_and_shows_what_you_may(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path) as cluster, Client(cluster.endpoints) as client:
        for key in (b"mine/a", b"other/b"):
            client.put(key, b"v")
        client.user_add("root", "secret")
        client.role_add("root")
        client.user_grant_role("root", "root")
        client.user_add("alice", "pass")
        client.role_add("mine")
        client.role_grant_permission("mine", b"mine/", b"mine0", "read")
        client.user_grant_role("alice", "mine")
        client.auth_enable()
        with Browser() as browser:
            browser.open(f"{cluster.endpoints[0]}/dashboard")
            wait_for(lambda: browser.text("#health") == "log in", WAIT_S, "it asks")
            assert browser.text("#members tbody").strip() == ""
            browser.click("#login input[name=name]")
            browser.call("Input.insertText", text="alice")
            browser.type("#login input[name=password]", "wrong")
            wait_for(lambda: "invalid" in browser.text("#login-error"), WAIT_S, "a refusal")
            browser.type("#login input[name=password]", "pass")
            wait_for(lambda: browser.text("#health") == "healthy", WAIT_S, "it shows")
            browser.type("#where", "mine/")
            wait_for(lambda: browser.text("#keys") == "mine/a", WAIT_S, "own keys")
            browser.type("#where", "other/")
            note = lambda: browser.text("#browser-note")  # noqa: E731 - one condition
            wait_for(lambda: "permission denied" in note(), WAIT_S, "no others")


def test_the_page_asks_nobody_else_and_carries_its_rules(cluster: Cluster) -> None:
    for path in ("/dashboard", "/dashboard/app.js", "/dashboard/style.css"):
        with urllib.request.urlopen(f"{cluster.endpoints[0]}{path}", timeout=5) as answer:
            body = answer.read().decode()
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "https://" not in body
    with urllib.request.urlopen(f"{cluster.endpoints[0]}/dashboard/state", timeout=5) as answer:
        assert len(json.load(answer)["members"]) == 3
