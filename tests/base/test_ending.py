"""How commands end: quietly, with one sentence, or, where the program itself is wrong, with its traceback."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from prune.base.ending import INTERRUPTED, NOBODY_READS, exit_code
from prune.base.errors import TrainingFailed, UserError

ENDLESS = """
import sys
from prune.base.ending import exit_code

def command():
    while True:
        print("a line", flush="--flush" in sys.argv)

sys.exit(exit_code(command))
"""

ONE_LINE = """
import sys
from prune.base.ending import exit_code

def command():
    sys.stdin.read()
    print("a line")
    return 0

sys.exit(exit_code(command))
"""


def ends(error: BaseException | None, code: int = 0) -> int:
    """The exit code of a command that raises, or returns a code."""

    def command() -> int:
        if error is not None:
            raise error
        return code

    return exit_code(command)


def start(script: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("code", [0, 3])
def test_a_command_that_ends_by_itself_gives_the_code(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(None, code) == code
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("seed=x must be a whole number."), "seed=x must be a whole number."),
        (TrainingFailed("the loss became nan."), "the loss became nan."),
        (OSError(errno.ENOSPC, "No space left on device", "a.json"), "the disk of a.json is full (No space left on device)."),
        (PermissionError(errno.EACCES, "Permission denied"), "the output cannot be used (Permission denied)."),
        (MemoryError(), "there is not enough memory (MemoryError)."),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_user_or_machine_have_done_is_one_sentence(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends(error) == 1
    assert capsys.readouterr() == ("", f"error: {said}\n")


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        ends(ZeroDivisionError())


def test_a_code_that_argparse_gives_goes_through() -> None:
    with pytest.raises(SystemExit, match="2"):
        ends(SystemExit(2))


@pytest.mark.parametrize("flush", [[], ["--flush"]], ids=["in the buffer", "line by line"])
def test_a_reader_that_has_gone_ends_it_quietly(flush: list[str]) -> None:
    """`| head -1`."""
    process = start(ENDLESS, *flush, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "a line\n"
    process.stdout.close()
    assert process.wait(60) == NOBODY_READS
    with process.stderr:
        assert process.stderr.read() == ""


def test_a_last_line_that_nobody_reads_ends_it_quietly() -> None:
    """It lies in the buffer until the command is over, and the interpreter would complain of it at its own end."""
    process = start(ONE_LINE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdout.close()
    process.stdin.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(60) == NOBODY_READS


def test_a_closed_standard_output_is_no_fault() -> None:
    """`>&-`: there is nothing to flush."""
    code = "from prune.base.ending import exit_code; import sys; sys.exit(exit_code(lambda: 3))"
    process = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, code], stderr=subprocess.PIPE, text=True, check=False
    )
    assert (process.returncode, process.stderr) == (3, "")


def test_ctrl_c_ends_it_quietly() -> None:
    process = start(ENDLESS, "--flush", stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "a line\n"
    process.send_signal(signal.SIGINT)
    with process.stdout, process.stderr:
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (INTERRUPTED, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("script", [ENDLESS, ONE_LINE], ids=["endless", "one line"])
def test_output_that_its_disk_refuses_is_one_sentence(script: str) -> None:
    with open("/dev/full", "w") as full:
        process = start(script, stdin=subprocess.DEVNULL, stdout=full)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (1, "error: the disk of the output is full (No space left on device).\n")
