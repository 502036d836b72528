"""Gives a secret word to one application, takes that of another, and keeps it in its storage."""

from pathlib import Path
from typing import Any

import ops

DESK = Path("/srv/desk")


class Scribe(ops.CharmBase):
    """One word, shared as a secret."""

    _stored = ops.StoredState()

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        self._stored.set_default(starts=0, removed=0)
        for event, handler in (
            (self.on.start, self._start),
            (self.on.gives_relation_created, self._give),
            (self.on.takes_relation_changed, self._take),
            (self.on.secret_changed, self._take_again),
            (self.on.secret_remove, self._forget),
            (self.on.rewrite_action, self._rewrite),
        ):
            framework.observe(event, handler)

    def _start(self, _: Any) -> None:
        self._stored.starts += 1
        self.unit.status = ops.ActiveStatus(f"started {self._stored.starts}")

    def _give(self, event: ops.RelationCreatedEvent) -> None:
        if self.unit.is_leader():
            secret = self.app.add_secret({"word": "one"}, label="word")
            secret.grant(event.relation)
            event.relation.data[self.app]["secret"] = secret.id or ""

    def _take(self, event: ops.RelationChangedEvent) -> None:
        identifier = event.relation.data[event.app].get("secret")
        if identifier:
            self._read(self.model.get_secret(id=identifier, label="taken"))

    def _take_again(self, event: ops.SecretChangedEvent) -> None:
        self._read(event.secret)

    def _read(self, secret: ops.Secret) -> None:
        word = secret.get_content(refresh=True)["word"]
        (DESK / "word").write_text(word)
        self.unit.status = ops.ActiveStatus(f"read {word}")

    def _forget(self, event: ops.SecretRemoveEvent) -> None:
        event.secret.remove_revision(event.revision)
        self._stored.removed += 1
        self.unit.status = ops.ActiveStatus(f"removed {self._stored.removed}")

    def _rewrite(self, event: ops.ActionEvent) -> None:
        self.model.get_secret(label="word").set_content({"word": event.params["word"]})
        event.set_results({"starts": self._stored.starts})


if __name__ == "__main__":
    ops.main(Scribe)
