"""Where everything lives on a unit. One root, so that tests and the simulation use a directory."""

from dataclasses import dataclass
from pathlib import Path

USER = "etcd"
LOGIN_USER = "ubuntu"
"""The user of `juju ssh` and `juju scp`, who finds archives and snapshots in the home."""


@dataclass(frozen=True, slots=True)
class Paths:
    """All paths of the charm. The daemon never reads anything below `charm`."""

    charm: Path
    root: Path = Path("/")

    @property
    def wheelhouse(self) -> Path:
        """The engine's wheels as packed into the charm."""
        return self.charm / "engine"

    @property
    def templates(self) -> Path:
        """Templates as packed into the charm."""
        return self.charm / "templates"

    @property
    def engines(self) -> Path:
        """One directory per version of raftkv, and the link `current`."""
        return self.root / "opt/raftkv"

    @property
    def engine(self) -> Path:
        """The link to the version of raftkv that starts next."""
        return self.engines / "current"

    @property
    def etcd_versions(self) -> Path:
        """One directory per version of etcd, and the link `current`."""
        return self.root / "opt/etcd-engine"

    @property
    def distribution(self) -> Path:
        """Where a distribution's packages put their programs."""
        return self.root / "usr/bin"

    @property
    def commands(self) -> Path:
        """Where operators find the command line on the machine."""
        return self.root / "usr/local/bin"

    @property
    def etc(self) -> Path:
        """Configuration of the engine."""
        return self.root / "etc/etcd"

    @property
    def config(self) -> Path:
        """The engine's configuration file."""
        return self.etc / "etcd.conf.yml"

    @property
    def environment(self) -> Path:
        """Variables for the command line, for root."""
        return self.etc / "environment"

    @property
    def tls(self) -> Path:
        """Certificates and keys that the engine reads."""
        return self.etc / "tls"

    @property
    def revoked(self) -> Path:
        """Client certificates that are not welcome any more, as a list that engines read."""
        return self.tls / "client.crl"

    @property
    def server_key(self) -> Path:
        """The key of this unit's certificate requests; it never leaves the unit."""
        return self.admin / "server-request.key"

    @property
    def requests(self) -> Path:
        """This unit's certificate requests, newest first."""
        return self.admin / "server-requests.pem"

    @property
    def server_authority(self) -> Path:
        """The related authority of the server certificate; empty or absent for the charm's own."""
        return self.admin / "server-authority.crt"

    @property
    def admin(self) -> Path:
        """The charm's own client certificate; only root may look inside."""
        return self.etc / "charm"

    def find_unit_file(self, service: str) -> Path:
        """Return the file of a systemd service."""
        return self.root / f"etc/systemd/system/{service}.service"

    @property
    def var(self) -> Path:
        """State of this unit."""
        return self.root / "var/lib/etcd-charm"

    @property
    def data(self) -> Path:
        """The data directory of the engine: here, or a link to attached storage."""
        return self.var / "data"

    @property
    def wake(self) -> Path:
        """The script that gives the charm a hook when the engine has stopped by itself."""
        return self.var / "wake.sh"

    @property
    def memory(self) -> Path:
        """What this machine remembers and nobody else can tell."""
        return self.var / "memory.json"

    @property
    def login_home(self) -> Path:
        """Home of the login user."""
        return self.root / "home" / LOGIN_USER
