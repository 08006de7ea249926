"""Carries out a Dockerfile's stages without a container engine: real paths and real commands, in namespaces of the kernel.

The base image is stood in for by this machine: its /usr and /etc, read-only, and this Python, first on the path as in Python's images.
So the instructions are proven, and the paths, users and limits of a container; the base image's own content is not.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.dockerfiles import Instruction, Stage, sent_files

_BASE_PATH = f"{sys.base_prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# How this machine's pip reaches its registry; everything else of the environment stays outside, as it does with Docker.
_PIP = {key: value for key, value in os.environ.items() if key.startswith("PIP_") or key.endswith("_proxy")}
_UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]

_ENTER = """
set -eu
root=$1 python=$2 writable=$3 cache=$4 data=$5; shift 5
mount --bind "$root" "$root"
for folder in usr etc; do mount --bind "/$folder" "$root/$folder"; mount -o remount,ro,bind "$root/$folder"; done
mount -t overlay -o "lowerdir=$python,upperdir=$writable/upper,workdir=$writable/work" overlay "$root$python"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
if [ -n "$cache" ]; then mount --bind "$cache" "$root/root/.cache/pip"; fi
if [ -n "$data" ]; then
  mount -t tmpfs -o mode=1777,noexec,nosuid,nodev tmpfs "$root/tmp"
  mount --bind "$data" "$root/data"
  mount -o remount,ro,bind "$root$python"
  mount -o remount,ro,bind "$root"
fi
exec chroot "$root" "$@"
"""
_LOOPBACK_UP = "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 0x41))"
_REQUEST = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=30)
connection.request(sys.argv[1], sys.argv[2], sys.argv[3] or None)
answer = connection.getresponse()
print(answer.status)
print(answer.read().decode())
"""


def require_namespaces() -> None:
    """Skip where this machine cannot stand in for a container engine."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "setpriv", "chroot"))):
        pytest.skip("needs root, and unshare, nsenter and setpriv of util-linux: mounts and users are as in a container")
    if sys.base_prefix == "/usr":
        pytest.skip("needs a Python apart from the system's: the stages that install into it write to a layer above it")
    trial = [*_UNSHARE, "--net", "true"]
    if subprocess.run(trial, check=False, capture_output=True).returncode:
        pytest.skip("this machine does not allow namespaces")


@dataclass
class Image:
    """A stage that was carried out."""

    folder: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": _BASE_PATH})
    workdir: str = "/"
    user: str = "0:0"

    @property
    def root(self) -> Path:
        """Its file system, apart from what the base image brings."""
        return self.folder / "root"

    def entering(self, *, cache: Path | None = None, data: Path | None = None) -> list[str]:
        """Return the command that enters it; with `data`, all but /data and /tmp is read-only."""
        places = [str(self.root), sys.base_prefix, str(self.folder), str(cache or ""), str(data or "")]
        return ["sh", "-c", _ENTER, "sh", *places]

    def as_user(self, command: list[str]) -> list[str]:
        """Return how a command runs inside: as the image's user, without a capability, with the image's environment."""
        user, group = self.user.split(":")
        dropped = [f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        assigned = [f"{key}={value}" for key, value in self.environment.items()]
        return ["setpriv", *dropped, "env", "-i", "-C", self.workdir, *assigned, *command]


@dataclass
class Container:
    """A running image: what `docker run` starts, and `docker exec`, `docker stop` and a request to the published port."""

    image: Image
    process: subprocess.Popen[str]

    @property
    def first(self) -> int:
        """The process that is number 1 inside."""
        return int(_children(self.process))

    def execute(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        enter = ["nsenter", "--target", str(self.first), "--mount", "--net", "--pid", "--root"]
        return subprocess.run([*enter, *self.image.as_user(command)], check=False, capture_output=True, text=True, timeout=60)

    def request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Send a request to port 8080 and return status and JSON."""
        sent = "" if body is None else json.dumps(body)
        command = ["nsenter", "--target", str(self.first), "--net", sys.executable, "-c", _REQUEST, method, path, sent]
        output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
        status, _, text = output.partition("\n")
        return int(status), json.loads(text)


def build(root: Path, stages: dict[str, Stage], target: str, folder: Path) -> Image:
    """Carry out a stage, and before it those that it is built on or copies from."""
    built: dict[str, Image] = {}

    def carry_out(name: str) -> Image:
        if name in built:
            return built[name]
        stage = stages[name]
        image = Image(folder / name)
        if stage.base in stages:
            base = carry_out(stage.base)
            shutil.copytree(base.folder, image.folder, symlinks=True)
            image.environment, image.workdir, image.user = dict(base.environment), base.workdir, base.user
        else:
            _lay_out_base(image)
        for instruction in stage.instructions:
            match instruction.name:
                case "ENV":
                    for key, value in instruction.assignments.items():
                        image.environment[key] = value.replace("$PATH", image.environment["PATH"])
                case "WORKDIR":
                    image.workdir = instruction.text
                    (image.root / image.workdir.lstrip("/")).mkdir(parents=True, exist_ok=True)
                case "USER":
                    image.user = instruction.text
                case "COPY":
                    source = carry_out(instruction.flags["from"]).root if "from" in instruction.flags else None
                    _copy(instruction, image, source, root)
                case "RUN":
                    _run(instruction, image)
        built[name] = image
        return image

    return carry_out(target)


@contextmanager
def running(image: Image, stage: Stage, data: Path) -> Iterator[Container]:
    """Start an image's command as process 1, read-only, in a network of its own with a loopback alone."""
    # The network's loopback comes up first: as with Docker, the command finds it there.
    up = ["sh", "-c", f'{sys.executable} -c "{_LOOPBACK_UP}" && exec "$@"', "sh"]
    command = [*_UNSHARE, "--net", *up, *image.entering(data=data), *image.as_user(stage.last("CMD").words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield Container(image, process)
        finally:
            for pid in _children(process).split():
                os.kill(int(pid), signal.SIGKILL)  # the first process, and with it all others of its namespace
            process.wait(10)


def _children(process: subprocess.Popen[str]) -> str:
    """Return the process ids below `unshare`: one, or none when it has ended."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return children.read_text() if process.poll() is None else ""


def _lay_out_base(image: Image) -> None:
    for name in ("usr", "etc", "dev", "proc", "tmp", "root/.cache/pip", sys.base_prefix.lstrip("/")):
        (image.root / name).mkdir(parents=True, exist_ok=True)
    (image.root / "tmp").chmod(0o1777)
    for name in ("bin", "lib", "lib64", "sbin"):
        (image.root / name).symlink_to(f"usr/{name}")
    for name in ("upper", "work"):
        (image.folder / name).mkdir()


def _copy(instruction: Instruction, image: Image, source: Path | None, context: Path) -> None:
    """Copy from another stage, or of the context what .dockerignore lets through; a folder's content, not the folder."""
    *patterns, target = instruction.words
    destination = image.root / os.path.join(image.workdir, target).lstrip("/")
    sent = None if source is not None else {context / name for name in sent_files(context)}
    for pattern in patterns:
        origins = sorted((source or context).glob(pattern.strip("/")))
        assert origins or "[" in pattern, f"COPY finds no {pattern}"
        for origin in origins:
            if origin.is_dir():

                def refused(folder: str, names: list[str]) -> list[str]:
                    return [n for n in names if sent is not None and (Path(folder) / n).is_file() and Path(folder) / n not in sent]

                shutil.copytree(origin, destination, symlinks=True, dirs_exist_ok=True, ignore=refused)
            else:
                assert sent is None or origin in sent, f".dockerignore keeps {pattern} out"
                is_folder = target.endswith("/") or target in (".", "./")
                (destination if is_folder else destination.parent).mkdir(parents=True, exist_ok=True)
                shutil.copy2(origin, destination)


def _run(instruction: Instruction, image: Image) -> None:
    """Run a shell command as root; a cache mount is pip's cache on this machine."""
    cache = None
    if mount := instruction.flags.get("mount"):
        assert mount == "type=cache,target=/root/.cache/pip", mount
        asked = [sys.executable, "-m", "pip", "cache", "dir"]
        cache = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
        cache.mkdir(parents=True, exist_ok=True)
    assigned = [f"{key}={value}" for key, value in {"HOME": "/root", **_PIP, **image.environment}.items()]
    inside = ["env", "-i", "-C", image.workdir, *assigned, "sh", "-c", instruction.text]
    command = [*_UNSHARE, *image.entering(cache=cache), *inside]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=540)
    assert done.returncode == 0, f"RUN {instruction.text}\n{done.stdout}"
