"""One machine: start, run commands, stop, crash, freeze; found again by a restarted daemon.

The supervisor is the shell of ``launch_script``. It owns the mounts and the network namespace, so
a machine that is gone leaves nothing mounted and no interface. ``supervisor_pid`` with its start
time identifies it across a restart of the daemon (a process id alone may have been reused).
"""

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from localjuju.errors import MachineGone, Refused
from localjuju.machines import cgroups, clocks, disks, rootfs
from localjuju.machines.launch_script import LAUNCH_SCRIPT
from localjuju.network import Network

BOOT_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 15.0
REBOOT_CODE = 133
LOGIN_GROUP = "ljj-login"
PLAIN_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "SYSTEMD_NSPAWN_TMPFS_TMP": "0",
}
NAMESPACES = ("-m", "-u", "-i", "-n", "-p", "-C")


def process_start(pid: int) -> str:
    """Return when a process started (in clock ticks since boot), or nothing if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    after_name = text.rpartition(")")[2].split()
    return "" if after_name[0] == "Z" else after_name[19]


class Container:
    """The processes and files of one machine."""

    def __init__(self, directory: Path, tag: str, name: str) -> None:
        self.directory = directory
        self.tag = tag
        self.name = name
        self.leader = 0
        self.pid = 0
        self.started = ""
        self._child: subprocess.Popen[str] | None = None

    @property
    def root(self) -> Path:
        """Return the machine's root as plain files: valid for what no overlay covers."""
        return self.directory / "root"

    @property
    def live_root(self) -> Path:
        """Return the machine's root as the machine sees it."""
        return Path(f"/proc/{self.leader}/root")

    def is_up(self) -> bool:
        """Say whether the machine's supervisor and init are there."""
        return bool(self.started) and process_start(self.pid) == self.started and bool(self.leader)

    def adopt(self, pid: int, started: str) -> bool:
        """Take over a machine that an earlier daemon started."""
        if not pid or process_start(pid) != started:
            return False
        self.pid, self.started = pid, started
        self.leader = self._find_leader()
        return bool(self.leader)

    def start(
        self,
        *,
        base: Path,
        network: Network,
        address: str,
        mac: str,
        binds: Sequence[tuple[str, str]],
        hosts: Mapping[str, str],
        machine_id: str,
    ) -> str:
        """Boot; returns when systemd inside says that start-up is finished.

        Returns:
            What start-up still waits for when the machine is taken as it is, after
            ``BOOT_SECONDS_MAX``: a service of the base that hangs keeps nobody from working.
        """
        fresh = not (self.directory / "upper").exists()
        self._write_plan(base, binds)
        self._launch()
        try:
            assert self._child is not None
            seen = Path(f"/proc/{self.pid}/root") / str(self.root).lstrip("/")
            if fresh:
                proxy = f"http://{network.gateway}:3128"
                rootfs.neutralise(seen, hostname=self.name, machine_id=machine_id, apt_proxy=proxy)
            rootfs.write_hosts(seen, self.name, dict(hosts))
            network.connect(network.port_of(address), self.pid, address, mac)
            assert self._child.stdin is not None
            self._child.stdin.write("go\n")
            self._child.stdin.close()
            return self._wait_booted()
        except BaseException:
            self.kill()
            raise

    def _write_plan(self, base: Path, binds: Sequence[tuple[str, str]]) -> None:
        overlays = rootfs.layout(base, self.directory)
        boxes = cgroups.create(self.tag, self.name)
        lines = [" ".join(str(part) for part in overlay) for overlay in overlays]
        (self.directory / "overlays").write_text("\n".join(lines) + "\n")
        (self.directory / "box-groups").write_text("\n".join(map(str, boxes)) + "\n")
        launchers = [str(box.with_name("launcher")) for box in boxes]
        (self.directory / "launcher-groups").write_text("\n".join(launchers) + "\n")
        text = "".join(f"--bind={source}:{target}\n" for source, target in binds)
        (self.directory / "binds").write_text(text)
        (self.directory / "exit").unlink(missing_ok=True)
        (self.directory / "launch").write_text(LAUNCH_SCRIPT)

    def _launch(self) -> None:
        command = [
            "unshare", "--mount", "--net", "--propagation", "private",
            "sh", str(self.directory / "launch"), str(self.directory), self.name,
        ]  # fmt: skip
        with (self.directory / "console.log").open("ab") as console:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=console,
                text=True,
                start_new_session=True,
                env=PLAIN_ENVIRONMENT,
                cwd="/",
            )
        assert self._child.stdout is not None
        first = self._child.stdout.readline()
        if first.strip() != "mounted":
            self._child.wait()
            tail = (self.directory / "console.log").read_text(errors="replace")[-400:]
            raise Refused(f"cannot make the file system of a machine: {tail.strip()}")
        self.pid = self._child.pid
        self.started = process_start(self.pid)

    def _find_leader(self) -> int:
        """Return the machine's init: the grandchild of the supervisor by way of nspawn."""
        for nspawn in _children(self.pid):
            outside = _process_namespace(nspawn)
            for process in _children(nspawn):
                inside = _process_namespace(process)
                if inside and outside and inside != outside:  # one that has just ended has none
                    return process
        return 0

    def _wait_booted(self) -> str:
        deadline = time.monotonic() + BOOT_SECONDS_MAX
        self.leader = 0
        while time.monotonic() < deadline:
            if process_start(self.pid) != self.started:
                tail = (self.directory / "console.log").read_text(errors="replace")[-600:]
                raise Refused(f"machine {self.name} did not start: {tail.strip()}")
            self.leader = self.leader or self._find_leader()
            if self.leader and (self.live_root / "run/systemd/private").exists():
                return self._wait_started(deadline)
            time.sleep(0.02)
        raise Refused(f"machine {self.name} did not start within {BOOT_SECONDS_MAX:.0f} s")

    def _wait_started(self, deadline: float) -> str:
        limit = f"{max(deadline - time.monotonic(), 1.0):.0f}"
        waiting = ["timeout", limit, "systemctl", "is-system-running", "--wait"]
        state = self.call(waiting, check=False).strip()
        if state not in ("", "initializing", "starting"):
            return ""
        jobs = self.call(["systemctl", "list-jobs", "--no-legend", "--plain"], check=False)
        return ", ".join(" ".join(line.split()[1:]) for line in jobs.splitlines())

    def enter_command(self) -> list[str]:
        """Return the prefix that runs a program inside the machine."""
        return ["nsenter", "-t", str(self.leader), *NAMESPACES, "-r", "-w", "--"]

    def join_command(self) -> list[str]:
        """Return a prefix that puts a program into the machine's control groups first.

        Otherwise a program that looks at its own group (another container manager, say) would
        find itself outside of what the machine can see.
        """
        boxes = (self.directory / "box-groups").read_text().split()
        for box in boxes:
            if (Path(box) / "payload").is_dir():
                (Path(box) / "payload" / LOGIN_GROUP).mkdir(exist_ok=True)
        script = (
            f'for group in $(cat "$1/box-groups"); do inner=$group/payload/{LOGIN_GROUP}; '
            '[ -d "$inner" ] || inner=$group; echo $$ > "$inner/cgroup.procs" 2>/dev/null || :; '
            'done; shift; exec "$@"'
        )
        return ["sh", "-c", script, "sh", str(self.directory)]

    def call(self, command: Sequence[str], *, check: bool = True) -> str:
        """Run a short command inside and return its output."""
        done = subprocess.run(
            [*self.enter_command(), *command],
            capture_output=True,
            text=True,
            env=PLAIN_ENVIRONMENT,
            check=False,
            errors="replace",
        )
        if check and done.returncode != 0:
            if not self.is_up():
                raise MachineGone(f"machine {self.name} is down")
            raise Refused(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def spawn(
        self, unit: str, command: Sequence[str], environment: Mapping[str, str], folder: str
    ) -> subprocess.Popen[bytes]:
        """Start a command as a transient unit of the machine, so that it dies with it.

        The environment is exactly what is given. Processes that the command leaves behind
        live on, as they do under a real unit agent.
        """
        if not self.is_up():
            raise MachineGone(f"machine {self.name} is down")
        environment = {**environment, **clocks.environment(self.live_root)}
        settings = [f"{name}={value}" for name, value in environment.items()]
        argv = [
            *self.enter_command(), "systemd-run", "--quiet", "--pipe", "--wait", "--collect",
            f"--unit={unit}", "-p", "KillMode=process", "-p", "SendSIGKILL=no",
            f"--working-directory={folder}", "--", "/usr/bin/env", "-i", *settings, *command,
        ]  # fmt: skip
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=PLAIN_ENVIRONMENT,
            start_new_session=True,
            cwd="/",
        )

    def kill_unit(self, unit: str) -> None:
        """Kill what runs in a transient unit."""
        self.call(["systemctl", "kill", "-s", "KILL", unit], check=False)

    def wait_gone(self, timeout: float | None) -> bool:
        """Wait until the supervisor has ended."""
        if self._child is not None and self._child.pid == self.pid:
            try:
                self._child.wait(timeout)
            except subprocess.TimeoutExpired:
                return False
            return True
        if process_start(self.pid) != self.started:
            return True
        handle = os.pidfd_open(self.pid)
        try:
            limit = None if timeout is None else int(timeout * 1000)
            poller = select.poll()
            poller.register(handle, select.POLLIN)
            return bool(poller.poll(limit))
        finally:
            os.close(handle)

    def wants_reboot(self) -> bool:
        """Say whether the machine ended because it asked to be booted again."""
        try:
            return int((self.directory / "exit").read_text() or "0") == REBOOT_CODE
        except (OSError, ValueError):
            return False

    def stop(self) -> None:
        """Power off; kill what does not follow in time."""
        if not self.is_up():
            self.kill()
            return
        self._rouse()
        for nspawn in _children(self.pid):
            _signal(nspawn, signal.SIGTERM)
        if not self.wait_gone(STOP_SECONDS_MAX):
            self.kill()
        self._forget()

    def crash(self) -> None:
        """Kill the machine's init without notice, as a power cut does."""
        if self.leader:
            self._rouse()
            _signal(self.leader, signal.SIGKILL)
        if not self.wait_gone(5.0):
            self.kill()
        self._forget()

    def kill(self) -> None:
        """Make sure that nothing of the machine runs."""
        if self.pid and process_start(self.pid) == self.started:
            self._rouse()
            for nspawn in _children(self.pid):
                for process in _children(nspawn):
                    _signal(process, signal.SIGKILL)
                _signal(nspawn, signal.SIGKILL)
            _signal(self.pid, signal.SIGKILL)
            self.wait_gone(5.0)
        self._forget()

    def freeze(self) -> None:
        """Stop every process where it is."""
        cgroups.set_frozen(self.tag, self.name, frozen=True)

    def thaw(self) -> None:
        """Let them go on."""
        cgroups.set_frozen(self.tag, self.name, frozen=False)

    def _rouse(self) -> None:
        """Undo what keeps processes from ending when they are killed."""
        self.thaw()
        disks.lift(self.tag, self.name)

    def destroy(self) -> None:
        """Stop and remove every trace."""
        self._rouse()
        self.kill()
        cgroups.remove(self.tag, self.name)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _forget(self) -> None:
        self.leader = 0
        self.pid = 0
        self.started = ""
        if self._child is not None:
            self._child.poll()
            for stream in (self._child.stdin, self._child.stdout):
                if stream is not None and not stream.closed:
                    stream.close()
            self._child = None


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _process_namespace(pid: int) -> str:
    """Return which process namespace a process is in; nothing when it has ended."""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def missing_prerequisites() -> str:
    """Say what this machine lacks for real machines, or nothing."""
    if os.geteuid() != 0:
        return "machines need root: run this as root (sudo)"
    programs = {
        "systemd-nspawn": "systemd-container",
        "systemd-run": "systemd",
        "ip": "iproute2",
        "nsenter": "util-linux",
        "unshare": "util-linux",
    }
    lacking = sorted({pkg for name, pkg in programs.items() if shutil.which(name) is None})
    if lacking:
        return f"machines need packages that are not installed: apt install {' '.join(lacking)}"
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    if not int(line.split()[1], 16) >> 21 & 1:
        return "machines need the capability CAP_SYS_ADMIN, which this container was not given"
    if not cgroups.hierarchies():
        return "machines need a writable control group tree under /sys/fs/cgroup"
    return ""
