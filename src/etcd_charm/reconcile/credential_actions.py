"""Client certificates for operators."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import ops

from etcd_charm.reconcile import credentials
from etcd_charm.reconcile.desk import HOME, Desk, Refused
from etcd_charm.workload.certificates import issue_leaf

ARCHIVE = "etcd_client_credentials.tar.gz"
OPERATOR = "operator"
"""Common name of the certificates that the action hands out."""
README = """Client credentials of the etcd application {application}.

  export ETCDCTL_API=3
  export ETCDCTL_ENDPOINTS={endpoints}
  export ETCDCTL_CACERT=$(pwd)/ca.crt
  export ETCDCTL_CERT=$(pwd)/client.crt
  export ETCDCTL_KEY=$(pwd)/client.key
  etcdctl member list

For version 2 of the API the names are ETCDCTL_ENDPOINT, ETCDCTL_CA_FILE, ETCDCTL_CERT_FILE and
ETCDCTL_KEY_FILE. curl takes --cacert ca.crt --cert client.crt --key client.key.
Whoever holds client.key can read and write every key of the cluster.
"""


class CredentialActions:
    """Actions that hand out and take back credentials."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def list_work(self) -> dict[str, Callable[[ops.ActionEvent], None]]:
        """Return the actions by name."""
        return {
            "generate-client-certificates": self._make_credentials,
            "package-client-credentials": self._make_credentials,
        }

    def _make_credentials(self, event: ops.ActionEvent) -> None:
        juju, facts = self.desk.observe()
        wanted = juju.describe_wanted()
        if wanted is None or facts.view is None:
            raise Refused("there is no cluster yet")
        name = OPERATOR
        leaf = issue_leaf(wanted.authorities.client, name, (), credentials.now(), serves=False)
        urls = sorted({url for member in facts.view.voters for url in member.client_urls})
        readme = README.format(application=self.desk.charm.app.name, endpoints=",".join(urls))
        files = {
            "client.crt": leaf.certificate,
            "client.key": leaf.key,
            "ca.crt": wanted.server_bundle,
            "README.txt": readme,
        }
        path = HOME / ARCHIVE
        self.desk.workload.write_private(path, lambda target: _pack(target, files))
        unit = self.desk.charm.unit.name
        event.set_results({"path": str(path), "copy": {"cmd": f"juju scp {unit}:{ARCHIVE} ."}})


def _pack(target: Path, files: dict[str, str]) -> None:
    with tarfile.open(target, "w:gz") as archive:
        for name, content in files.items():
            data = content.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o600
            archive.addfile(info, io.BytesIO(data))
