"""Sends one sequence to two servers and finds the first answer that differs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.conformance.api.runner import GrpcServer, Server, encode_body, normalise, parse
from tests.differential.sequences import Step, make_sequence

TTL_SLACK_S = 90
"""The whole run of one seed takes less; the time-outs in sequences differ by more."""


@dataclass(frozen=True)
class Difference:
    """What a seed found."""

    seed: int
    number: int
    step: Step
    theirs: Any
    ours: Any

    def __str__(self) -> str:
        return (
            f"seed {self.seed}, step {self.number}: {self.step}\n"
            f"  etcd   {json.dumps(self.theirs, ensure_ascii=False)}\n"
            f"  raftkv {json.dumps(self.ours, ensure_ascii=False)}"
        )


_INDEX = re.compile(r"(?<![\d-])\d+")
"""A number in an error's cause, but for the sequence's own in its paths."""


class Run:
    """One sequence at one server."""

    def __init__(self, url: str, name: str) -> None:
        self._gateway = Server(url)
        self._grpc = GrpcServer(url)
        self._name = name
        self._revision = self._gateway.revision()
        self._index = self._gateway.index()

    def close(self) -> None:
        """Hang up."""
        self._grpc.close()

    def ask(self, step: Step) -> Any:
        """A normalised answer."""
        return self._ask_v3(step) if step.api == "v3" else self._ask_v2(step)

    def _ask_v3(self, step: Step) -> Any:
        server = self._grpc if step.way == "grpc" else self._gateway
        body = encode_body(step.body, f"v3-{self._name}", self._revision)
        status, _, answer = server.ask(
            "POST", f"/v3/{step.path}", json.dumps(body).encode(), "application/json"
        )
        found = normalise(parse(answer), self._revision)
        if isinstance(found, dict):
            _level(step, found)
        return {"status": status, "body": found}

    def _ask_v2(self, step: Step) -> Any:
        form = {
            name: re.sub(r"\$\+(\d+)", lambda m: str(self._index + int(m.group(1))), value)
            for name, value in step.body.items()
        }
        path = "/v2/keys" + step.path.replace("%s", f"/v2-{self._name}")
        data = urlencode(form)
        if step.way in ("GET", "DELETE"):
            path, data = f"{path}?{data}" if data else path, ""
        kind = "application/x-www-form-urlencoded"
        status, headers, answer = self._gateway.ask(step.way, path, data.encode(), kind)
        found = normalise(parse(answer), self._index)
        if isinstance(found, dict) and "cause" in found:
            found["cause"] = _INDEX.sub(self._relative, found["cause"])
        index = int(headers.get("x-etcd-index", 0))
        return {"status": status, "index": index and index - self._index, "body": found}

    def _relative(self, match: re.Match[str]) -> str:
        number = int(match.group())
        return str(number - self._index) if number >= self._index else match.group()


def _level(step: Step, found: dict[str, Any]) -> None:
    """Take out what is chance in etcd, and what docs/reference/limits-and-differences.md names."""
    if step.path == "lease/leases":
        found.pop("leases", None)  # of other sequences too
    if step.path == "lease/timetolive":
        found["keys"] = sorted(found.get("keys", ()))  # of a Go map
        left_s = int(found["TTL"]) if str(found.get("TTL", "")).isdigit() else None
        if left_s is not None:  # one server may be a second ahead, or a minute behind the other
            is_whole = left_s > int(found["grantedTTL"]) - TTL_SLACK_S
            found["TTL"] = "<nearly all>" if is_whole else "<less>"


def compare(theirs: str, ours: str, seed: int, length: int) -> Difference | None:
    """The first difference, or None."""
    name = f"{seed}"
    runs = Run(theirs, name), Run(ours, name)
    try:
        for number, step in enumerate(make_sequence(seed, length)):
            answers = [run.ask(step) for run in runs]
            if answers[0] != answers[1]:
                return Difference(seed, number, step, *answers)
    finally:
        for run in runs:
            run.close()
    return None
