"""Start the `tritonserver` that the package nvidia-pytriton carries, without a container: `make triton`.

Its own environment, `requirements/triton.txt`. Everything after the script's name goes to `tritonserver`, and so do signals; its exit
status comes back. Nothing of it is left behind, however it ends: a python backend that loses its server in the middle of a request would
wait for it forever.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = Path(sys.prefix)
# From <linux/prctl.h>.
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main() -> int:
    """Run `tritonserver` until it ends or is told to."""
    package = importlib.metadata.distribution("nvidia-pytriton")
    triton = Path(str(package.locate_file("pytriton/tritonserver")))
    libraries = Path(str(package.locate_file("nvidia_pytriton.libs")))
    command = [
        str(triton / "bin" / "tritonserver"),
        *([] if any(flag.startswith("--model-repository") for flag in sys.argv) else [f"--model-repository={ROOT / 'model_repository'}"]),
        f"--backend-directory={lay_out_backend(triton)}",
        "--model-control-mode=explicit",
        "--load-model=*",
        "--http-address=127.0.0.1",
        "--grpc-address=127.0.0.1",
        "--metrics-address=127.0.0.1",
        *sys.argv[1:],
    ]
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, (str(libraries), os.environ.get("LD_LIBRARY_PATH")))),
        # The models' Python finds its packages as this one does, and writes nothing beside the models.
        "VIRTUAL_ENV": str(ENVIRONMENT),
        "PATH": os.pathsep.join((str(ENVIRONMENT / "bin"), os.environ["PATH"])),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("PYTHONPATH", None)
    return run(command, environment)


def lay_out_backend(triton: Path) -> Path:
    """Link the python backend as `tritonserver` expects it, with the stub for this Python, and return its folder."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = triton / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        sys.exit(f"run_triton: nvidia-pytriton has no python backend for Python {version}")
    backend = ENVIRONMENT / "triton-backends" / "python"
    backend.mkdir(parents=True, exist_ok=True)
    for source in (*(triton / "backends" / "python").iterdir(), stub):
        link = backend / source.name
        if not link.is_symlink() or link.readlink() != source:
            link.unlink(missing_ok=True)
            link.symlink_to(source)
    return backend.parent


def run(command: list[str], environment: dict[str, str]) -> int:
    """Run a command, hand signals on to it, end what it leaves behind, and return its exit status as a shell would."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)  # what loses its parent becomes this process's child
    process = subprocess.Popen(  # noqa: S603  # that is what this script is for
        command,
        env=environment,
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM),  # noqa: PLW1509  # there is one thread
    )

    def forward(number: int, _: FrameType | None) -> None:
        process.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    status = process.wait()
    for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
