"""Stories about which hook comes next; each file is one behaviour, its name says which.

A story changes what the model says (the remote side) and then writes ``run`` followed by what
the unit does until it is at rest, one operation per indented line; ``step`` stops after one.

    relation N ENDPOINT peer|APP [implicit]                     gone N UNIT
    member N UNIT VERSION
    relation N dying|suspended       app-data N VERSION         removed N
    storage ID [pending|dying]       config TEXT                leader yes|no
    life dying   app dying           action ID                  command ID
    secret KIND ID REVISION          charm KEY [force]          resources N
    fail HOOK    retry    skip       reboot    status-due       leader-settings N
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from localjuju.resolver import committed, next_operation
from localjuju.resolver.state import (
    PENDING,
    QUEUED,
    Adopt,
    Deploy,
    Hook,
    LocalState,
    RelationRemote,
    RemoteState,
    RunCommands,
    RunHook,
    RunTask,
    SecretDue,
    SkipHook,
    StorageRemote,
    Terminate,
)

STORIES = sorted(Path(__file__).parent.glob("*.story"))
OPERATIONS_MAX = 60


class Teller:
    """Holds both sides and moves the local one as an agent would."""

    def __init__(self) -> None:
        self.local = LocalState()
        self.remote = RemoteState("ledger/1", fingerprint="first")
        self.failing: set[str] = set()

    def change(self, line: str) -> None:
        verb, *words = line.split()
        getattr(self, "on_" + verb.replace("-", "_"))(*words)

    def on_relation(
        self, number: str, endpoint: str, remote: str = "", implicit: str = ""
    ) -> None:
        relations = dict(self.remote.relations)
        if endpoint == "dying":
            relations[number] = replace(relations[number], life="dying")
        elif endpoint in {"suspended", "resumed"}:
            relations[number] = replace(relations[number], suspended=endpoint == "suspended")
        else:
            app = "ledger" if remote == "peer" else remote
            relations[number] = RelationRemote(
                endpoint, remote == "peer", app, implicit=implicit == "implicit"
            )
        order = tuple(sorted(relations, key=int))
        self.remote = replace(self.remote, relations=relations, relation_order=order)

    def on_removed(self, number: str) -> None:
        relations = {k: v for k, v in self.remote.relations.items() if k != number}
        self.remote = replace(self.remote, relations=relations, relation_order=tuple(relations))

    def on_member(self, number: str, unit: str, version: str) -> None:
        relation = self.remote.relations[number]
        members = {**relation.members, unit: int(version)}
        self._set(number, replace(relation, members=members))

    def on_gone(self, number: str, unit: str) -> None:
        relation = self.remote.relations[number]
        members = {k: v for k, v in relation.members.items() if k != unit}
        self._set(number, replace(relation, members=members))

    def on_app_data(self, number: str, version: str) -> None:
        self._set(number, replace(self.remote.relations[number], app_version=int(version)))

    def _set(self, number: str, relation: RelationRemote) -> None:
        relations = {**self.remote.relations, number: relation}
        self.remote = replace(self.remote, relations=relations)

    def on_storage(self, name: str, state: str = "") -> None:
        life = "dying" if state == "dying" else "alive"
        item = StorageRemote(life, provisioned=state != "pending")
        self.remote = replace(self.remote, storage={**self.remote.storage, name: item})

    def on_config(self, text: str) -> None:
        self.remote = replace(self.remote, fingerprint=text)

    def on_leader(self, text: str) -> None:
        self.remote = replace(self.remote, leader=text == "yes")

    def on_leader_settings(self, number: str) -> None:
        self.remote = replace(self.remote, leader_settings=int(number))

    def on_life(self, text: str) -> None:
        self.remote = replace(self.remote, life=text)

    def on_app(self, text: str) -> None:
        self.remote = replace(self.remote, app_life=text)

    def on_action(self, number: str) -> None:
        self.remote = replace(self.remote, actions=(*self.remote.actions, number))

    def on_command(self, number: str) -> None:
        self.remote = replace(self.remote, commands=(*self.remote.commands, number))

    def on_secret(self, kind: str, name: str, revision: str) -> None:
        due = SecretDue(f"secret-{kind}", name, int(revision))
        self.remote = replace(self.remote, secrets=(*self.remote.secrets, due))

    def on_charm(self, key: str, force: str = "") -> None:
        self.remote = replace(self.remote, charm=key, force_charm=force == "force")

    def on_resources(self, number: str) -> None:
        self.remote = replace(self.remote, resources=int(number))

    def on_fail(self, hook: str) -> None:
        self.failing.add(hook)

    def on_retry(self) -> None:
        self.remote = replace(self.remote, resolved="retry")

    def on_skip(self) -> None:
        self.remote = replace(self.remote, resolved="skip")

    def on_reboot(self) -> None:
        self.remote = replace(self.remote, rebooted=True)

    def on_status_due(self) -> None:
        self.remote = replace(self.remote, update_status_due=True)

    def run(self) -> Iterator[str]:
        """Do what the resolver says until it says nothing."""
        for _ in range(OPERATIONS_MAX):
            operation = next_operation(self.local, self.remote)
            match operation:
                case None:
                    return
                case Adopt(local):
                    self.local = local
                case Deploy(charm, upgrade):
                    yield f"deploy {charm}"
                    self._deployed(charm, upgrade=upgrade)
                case RunHook(hook):
                    yield self._hook(hook)
                case SkipHook(hook):
                    self.remote = replace(self.remote, resolved="")
                    self.local = committed(self.local, hook)
                    yield f"skip {hook.name}"
                case RunTask(task):
                    rest = tuple(item for item in self.remote.actions if item != task)
                    self.remote = replace(self.remote, actions=rest)
                    yield f"action {task}"
                case RunCommands(command):
                    rest = tuple(item for item in self.remote.commands if item != command)
                    self.remote = replace(self.remote, commands=rest)
                    yield f"command {command}"
                case Terminate():
                    yield "dead"
                    return
        raise AssertionError("the unit does not come to rest")

    def _deployed(self, charm: str, *, upgrade: bool) -> None:
        self.local = replace(self.local, deployed=charm)
        if not self.local.failed:
            hook = Hook("upgrade-charm" if upgrade else "install", version=self.remote.resources)
            resources = self.remote.resources
            self.local = replace(self.local, hook=hook, step=QUEUED, resources=resources)

    def _hook(self, hook: Hook) -> str:
        self.remote = replace(self.remote, resolved="")
        words = [hook.name, hook.remote_unit]
        if hook.departing_unit:
            words.append(f"({hook.departing_unit} leaves)")
        text = " ".join(word for word in words if word)
        if hook.name in self.failing:
            self.failing.discard(hook.name)
            self.local = replace(self.local, hook=hook, step=PENDING, failed=True)
            return f"{text} fails"
        self.local = committed(self.local, hook)
        if hook.kind == "update-status":
            self.remote = replace(self.remote, update_status_due=False)
        if hook.kind == "start":
            self.remote = replace(self.remote, rebooted=False)
        if hook.kind == "storage-detaching":
            kept = {k: v for k, v in self.remote.storage.items() if k != hook.storage}
            self.remote = replace(self.remote, storage=kept)
        if hook.kind in {"secret-rotate", "secret-expired"}:
            rest = tuple(due for due in self.remote.secrets if due.secret != hook.secret)
            self.remote = replace(self.remote, secrets=rest)
        return text


@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.stem)
def test_story(story: Path) -> None:
    teller = Teller()
    told: list[str] = []
    for raw in story.read_text().splitlines():
        line = raw.strip()
        if raw.startswith("    ") or not line or line.startswith("#"):
            if not raw.startswith("    "):
                told.append(raw)
            continue
        told.append(line)
        if line in {"run", "step"}:
            operations = list(islice(teller.run(), 1 if line == "step" else None))
            told += ["    " + text for text in operations]
        else:
            teller.change(line)
    assert "\n".join(told) == story.read_text().rstrip("\n")


def test_there_are_stories() -> None:
    assert len(STORIES) >= 15
