"""What lies behind storage instances on the host: directories, loop images, tmpfs."""

import os
import shutil
import subprocess
from pathlib import Path

from localjuju.entities import Storage
from localjuju.errors import JujuError


class Volumes:
    """Makes and removes the backing of storage instances of one model."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _place(self, item: Storage) -> Path:
        return self._folder / item.id.replace("/", "-")

    def provision(self, item: Storage) -> str:
        """Make the backing if it is not there; return the host directory to show."""
        place = self._place(item)
        if item.provider == "hostdir":
            place = Path(item.directory) / item.id.replace("/", "-")
            place.mkdir(parents=True, exist_ok=True)
            return str(place)
        place.mkdir(parents=True, exist_ok=True)
        if item.provider == "tmpfs" and not os.path.ismount(place):
            _mount("-t", "tmpfs", "-o", f"size={item.size_mib}m", "ljj", str(place))
        if item.provider == "loop" and not os.path.ismount(place):
            self._mount_loop(item, place)
        return str(place)

    def _mount_loop(self, item: Storage, place: Path) -> None:
        image = place.with_suffix(".img")
        if not image.exists():
            with image.open("wb") as file:
                file.truncate(item.size_mib << 20)
            made = subprocess.run(
                ["mkfs.ext4", "-q", "-F", "-m", "0", str(image)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if made.returncode != 0:
                image.unlink()
                raise JujuError(f"cannot make a file system: {made.stderr.strip()}")
        _mount("-o", "loop", str(image), str(place))

    def bind(self, item: Storage) -> tuple[str, str]:
        """Return host directory and location of an instance, for a machine that boots."""
        return self.provision(item), item.location

    def release(self, item: Storage) -> None:
        """Unmount on the host; the content stays."""
        place = self._place(item)
        if os.path.ismount(place):
            subprocess.run(["umount", str(place)], check=False, capture_output=True)

    def destroy(self, item: Storage) -> None:
        """Remove the content; a directory given by the user as a pool keeps it."""
        self.release(item)
        if item.provider == "hostdir":
            return
        place = self._place(item)
        if not os.path.ismount(place):
            shutil.rmtree(place, ignore_errors=True)
        place.with_suffix(".img").unlink(missing_ok=True)

    def destroy_all(self) -> None:
        """Unmount and remove everything; also what an earlier daemon left."""
        if not self._folder.exists():
            return
        for place in sorted(self._folder.iterdir()):
            if os.path.ismount(place):
                subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)
        shutil.rmtree(self._folder, ignore_errors=True)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise JujuError(f"mount: {done.stderr.strip()}")
