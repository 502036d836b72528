"""The engine's configuration, its systemd unit and the operator's environment, by jinja2.

The only module that knows `jinja2`. An unknown variable in a template is an error, never an empty
string: an empty `trusted-ca-file` would switch a check off.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

import jinja2

from etcd_charm.workload import service
from etcd_charm.workload.engine import Engine, Wanted
from etcd_charm.workload.memory import FirstStart
from etcd_charm.workload.paths import USER, Paths


@dataclass(frozen=True, slots=True)
class Rendered:
    """The texts."""

    config: str
    unit_file: str
    environment: str
    wake: str


def render_files(
    paths: Paths, engine: Engine, wanted: Wanted, home: Path, first_start: FirstStart | None
) -> Rendered:
    """Render all files of the engine.

    With `first_start` the configuration says how to found or join. Without it, the member has
    data, which outranks these keys; they then hold what stays true: itself, and `existing`, so
    that a lost data directory can never found a second cluster.
    """
    loader = jinja2.FileSystemLoader(paths.templates)
    environment = jinja2.Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        autoescape=False,  # noqa: S701 - the output is YAML and ini, values go through `tojson`
    )
    steady = FirstStart(f"{wanted.member_name}={wanted.peer_url}", "existing")
    context = {
        "wanted": wanted,
        "settings": wanted.settings,
        "paths": paths,
        "home": home,
        "engine": engine,
        "options": dict(engine.list_options()),
        "wake_unit": service.name_wake(wanted.unit, "stopped"),
        "wake_command": shlex.join(service.list_wake_command(wanted.unit, paths.charm)),
        "user": USER,
        "first": first_start or steady,
        "listen_client": list_listeners(
            wanted.addresses.client_bind,
            wanted.settings.client_port,
            everywhere=wanted.settings.bind_to_all_interfaces,
            loopback=True,
        ),
        "listen_peer": list_listeners(
            wanted.addresses.peer_bind,
            wanted.settings.peer_port,
            everywhere=wanted.settings.bind_to_all_interfaces,
            loopback=False,
        ),
    }

    def render(name: str) -> str:
        return environment.get_template(name).render(context)

    return Rendered(
        config=render("etcd.conf.yml.j2"),
        unit_file=render("engine.service.j2"),
        environment=render("environment.j2"),
        wake=render("wake.sh.j2"),
    )


def list_listeners(bind: str, port: int, *, everywhere: bool, loopback: bool) -> str:
    """Return the comma-joined listener URLs of one plane."""
    if everywhere:
        return f"https://{'[::]' if ':' in bind else '0.0.0.0'}:{port}"
    urls = [f"https://{bracket(bind)}:{port}"]
    if loopback:
        urls.append(f"https://127.0.0.1:{port}")
    return ",".join(urls)


def bracket(address: str) -> str:
    """Return an address as a URL wants it: an IPv6 one in brackets."""
    return f"[{address}]" if ":" in address else address
