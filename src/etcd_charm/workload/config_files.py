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


@dataclass(frozen=True, slots=True)
class StartMode:
    """What is particular to the next start; none of it for a member in its steady state."""

    first_start: FirstStart | None = None
    former_ports: tuple[int, int] = (0, 0)
    """Ports for clients and members at which it listens too, until its next restart."""
    is_forced: bool = False
    """Remove all other members: the quorum is lost for good, or the data came from elsewhere."""


STEADY = StartMode()


def render_files(
    paths: Paths,
    engine: Engine,
    wanted: Wanted,
    home: Path,
    mode: StartMode,
) -> Rendered:
    """Render all files of the engine.

    With former ports it listens there too, until its next restart, so that nobody who has not
    heard of the new ones yet finds it gone.

    With a first start the configuration says how to found or join. Without it, the member has
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
    options = dict(engine.list_options(wanted.settings))
    top, client_tls = engine.list_client_options(paths.revoked)
    if wanted.settings.tls:
        options.update(top)
    if mode.is_forced:
        options["force-new-cluster"] = True
    steady = FirstStart(f"{wanted.member_name}={wanted.peer_url}", "existing")
    context = {
        "wanted": wanted,
        "settings": wanted.settings,
        "paths": paths,
        "home": home,
        "engine": engine,
        "options": options,
        "client_tls": client_tls,
        "wake_unit": service.name_wake(wanted.unit, "stopped"),
        "wake_command": shlex.join(service.list_wake_command(wanted.unit, paths.charm)),
        "user": USER,
        "first": mode.first_start or steady,
        "listen_client": list_client_listeners(wanted, mode.former_ports[0]),
        "listen_peer": list_peer_listeners(wanted, mode.former_ports[1]),
    }

    def render(name: str) -> str:
        return environment.get_template(name).render(context)

    return Rendered(
        config=render("etcd.conf.yml.j2"),
        unit_file=render("engine.service.j2"),
        environment=render("environment.j2"),
        wake=render("wake.sh.j2"),
    )


def list_client_listeners(wanted: Wanted, former_port: int = 0) -> str:
    """Return the listener URLs for clients; the legacy port is plain, and on loopback only."""
    settings = wanted.settings
    urls = [
        list_listeners(
            wanted.addresses.client_bind,
            port,
            everywhere=settings.bind_to_all_interfaces,
            loopback=True,
            scheme="https" if settings.tls else "http",
        )
        for port in dict.fromkeys((settings.client_port, former_port))
        if port and (port == settings.client_port or port != settings.peer_port)
    ]
    if settings.legacy_port:
        urls.append(f"http://127.0.0.1:{settings.legacy_port}")
    return ",".join(urls)


def list_peer_listeners(wanted: Wanted, former_port: int = 0) -> str:
    """Return the listener URLs for members."""
    settings = wanted.settings
    return ",".join(
        list_listeners(
            wanted.addresses.peer_bind,
            port,
            everywhere=settings.bind_to_all_interfaces,
            loopback=False,
        )
        for port in dict.fromkeys((settings.peer_port, former_port))
        if port and (port == settings.peer_port or port != settings.client_port)
    )


def list_listeners(
    bind: str, port: int, *, everywhere: bool, loopback: bool, scheme: str = "https"
) -> str:
    """Return the comma-joined listener URLs of one plane."""
    if everywhere:
        return f"{scheme}://{'[::]' if ':' in bind else '0.0.0.0'}:{port}"
    urls = [f"{scheme}://{bracket(bind)}:{port}"]
    if loopback:
        urls.append(f"{scheme}://127.0.0.1:{port}")
    return ",".join(urls)


def bracket(address: str) -> str:
    """Return an address as a URL wants it: an IPv6 one in brackets."""
    return f"[{address}]" if ":" in address else address
