"""The legacy form of `tls-certificates`, seen from the authority. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """One certificate that a unit asks for, and the key under which the answer is published."""

    answer: str
    """`server` for the top-level request, else the name of the answer's JSON object."""
    common_name: str
    sans: tuple[str, ...]
    is_server: bool

    @property
    def identity(self) -> str:
        """What makes two requests the same: names count as a set."""
        return json.dumps([self.answer, self.common_name, *sorted(set(self.sans))])


def read_requests(bag: Mapping[str, str]) -> list[Request]:
    """Return all requests in a requirer's unit databag."""
    requests = []
    common_name = bag.get("common_name", "")
    if common_name:
        sans = tuple(json.loads(bag.get("sans") or "[]"))
        requests.append(Request("server", common_name, sans, is_server=True))
    for key, answer in (
        ("cert_requests", "processed_requests"),
        ("client_cert_requests", "processed_client_requests"),
        ("application_cert_requests", "processed_application_requests"),
    ):
        wanted = json.loads(bag.get(key) or "{}")
        for name, details in sorted(wanted.items()):
            sans = tuple(details.get("sans") or ())
            is_server = answer != "processed_client_requests"
            requests.append(Request(answer, name, sans, is_server=is_server))
    return requests


def unit_name_of(unit: str, bag: Mapping[str, str]) -> str:
    """Return the prefix of the answers for a unit."""
    return bag.get("unit_name") or unit.replace("/", "_")


def encode_answers(unit_name: str, answers: Iterable[tuple[Request, str, str]]) -> dict[str, str]:
    """Return the databag content for one unit: (request, certificate, key) per answer."""
    content: dict[str, str] = {}
    objects: dict[str, dict[str, dict[str, str]]] = {}
    for request, certificate, key in answers:
        if request.answer == "server":
            content[f"{unit_name}.server.cert"] = certificate
            content[f"{unit_name}.server.key"] = key
            continue
        is_shared = request.answer == "processed_application_requests"
        name = "app_data" if is_shared else request.common_name
        objects.setdefault(request.answer, {})[name] = {"cert": certificate, "key": key}
    for answer, entries in objects.items():
        content[f"{unit_name}.{answer}"] = json.dumps(entries, sort_keys=True)
    return content
