from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from empathetic_train.__main__ import main
from empathetic_train.config import TrainConfig
from empathetic_train.errors import DataError, HubError
from safetensors import SafetensorError


class FakeRunner:
    """Stands for the real run: remembers its configuration, and raises what it was given."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.config: TrainConfig | None = None

    def __call__(self, config: TrainConfig) -> Path | None:
        self.config = config
        if self.error:
            raise self.error
        return None


def fail(*arguments: str, error: BaseException | None = None, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command that must exit; return its status and the one line that it printed."""
    with pytest.raises(SystemExit) as exited:
        main(["classifier", *arguments], runner=FakeRunner(error))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("empathetic-train: error: ")
    assert captured.err.count("\n") == 1
    assert isinstance(exited.value.code, int)
    return exited.value.code, captured.err


def test_flags_reach_the_run_over_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("batch_size = 8\nseed = 5\n")
    runner = FakeRunner()
    main(["classifier", "--recipe", str(tmp_path / "recipe.toml"), "--seed", "6"], runner=runner)
    assert runner.config == TrainConfig(batch_size=8, seed=6)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--recipe", "absent.toml"], "recipe absent.toml"),
        (["--batch-size", "0"], "batch_size = 0: must be above 0"),
        (["--batch-size", "many"], "invalid int value: 'many'"),
        (["--pooling", "max"], "invalid choice: 'max'"),
        (["--unheard-of"], "unrecognized arguments: --unheard-of"),
        (["--view-results", "absent"], "absent: holds no summary.txt"),
    ],
    ids=["recipe", "range", "type", "choice", "flag", "results"],
)
def test_a_wrong_command_is_one_line_and_status_2(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, line = fail(*arguments, capsys=capsys)
    assert status == 2
    assert complaint in line


@pytest.mark.parametrize(
    ("error", "status", "complaint"),
    [
        (DataError("train.tsv:3: not UTF-8"), 2, "train.tsv:3: not UTF-8"),
        (HubError("no route"), 1, "no route"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "the disk is full"),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), 1, "the disk is full"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), 1, "the disk is full"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=["data", "hub", "disk-full", "disk-full-in-safetensors", "disk-full-in-torch", "interrupt"],
)
def test_an_expected_failure_is_one_line(error: BaseException, status: int, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    found, line = fail(error=error, capsys=capsys)
    assert found == status
    assert complaint in line


def test_a_full_disk_is_recognised_behind_another_error(capsys: pytest.CaptureFixture[str]) -> None:
    error = RuntimeError("cannot save")
    error.__cause__ = OSError(errno.EDQUOT, "Disk quota exceeded")
    assert fail(error=error, capsys=capsys)[0] == 1


@pytest.mark.parametrize("error", [ZeroDivisionError("bug"), OSError(errno.EIO, "Input/output error")])
def test_an_unexpected_failure_is_not_swallowed(error: Exception) -> None:
    with pytest.raises(type(error)):
        main(["classifier"], runner=FakeRunner(error))


def test_help_and_old_results_need_no_heavy_library() -> None:
    code = "import sys, empathetic_train.__main__; sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'transformers')))"
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "train")}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_a_responder_without_data_is_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["responder", "--checkpoint-dir", str(tmp_path)])
    assert exited.value.code == 2
    assert "data = None: the responder needs a directory" in capsys.readouterr().err
