"""Attaching a directory or a filesystem to a running machine, with plain system calls.

``open_tree(OPEN_TREE_CLONE)`` on the host, ``setns`` into the machine's mount namespace,
``move_mount`` there. Needs Linux 5.2 and no machined. Runs in a child process, because changing
the mount namespace is only possible for a process with one thread.
"""

import ctypes
import os
import subprocess
import sys

OPEN_TREE = 428
MOVE_MOUNT = 429
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = 0o2000000
AT_FDCWD = -100
AT_RECURSIVE = 0x8000
MOVE_MOUNT_F_EMPTY_PATH = 4
CLONE_NEWNS = 0x20000


def attach(leader: int, source: str, target: str) -> None:
    """Show a host directory at a path of the machine with this init process."""
    command = [sys.executable, "-I", "-S", __file__, str(leader), source, target]
    subprocess.run(command, check=True, capture_output=True, text=True)


def detach(leader: int, target: str) -> str:
    """Unmount inside the machine; return what the kernel had against it (empty: done)."""
    inside = ["nsenter", "-t", str(leader), "-m", "-p", "--"]
    done = subprocess.run([*inside, "umount", target], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip()


def detach_lazily(leader: int, target: str) -> None:
    """Take the mount out of sight although it is in use, as Juju 3.6 does in the end."""
    inside = ["nsenter", "-t", str(leader), "-m", "-p", "--"]
    subprocess.run([*inside, "umount", "-l", target], capture_output=True, check=False)


def _move(leader: int, source: str, target: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def call(*arguments: object) -> int:
        result = int(libc.syscall(*arguments))
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE
    tree = call(OPEN_TREE, AT_FDCWD, source.encode(), ctypes.c_uint(flags))
    namespace = os.open(f"/proc/{leader}/ns/mnt", os.O_RDONLY)
    root = os.open(f"/proc/{leader}/root", os.O_RDONLY)
    if libc.setns(namespace, CLONE_NEWNS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    os.fchdir(root)
    os.chroot(".")
    os.makedirs(target, exist_ok=True)  # noqa: PTH103
    call(MOVE_MOUNT, tree, b"", AT_FDCWD, target.encode(), MOVE_MOUNT_F_EMPTY_PATH)


if __name__ == "__main__":
    _move(int(sys.argv[1]), sys.argv[2], sys.argv[3])
