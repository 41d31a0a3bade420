"""How a command ends when it cannot go on: quietly, or with one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from prune.base.errors import UserError
from prune.base.trouble import in_words

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

NOBODY_READS = 141
"""Exit code when the reader of the output has gone, as shells have it for SIGPIPE."""


def exit_code(command: Callable[[], int]) -> int:
    """The exit code of a command, which never ends with a traceback for what the user or the machine has done.

    Ctrl-C and a reader of the output that has gone (`| head`) end it quietly; bad input, a full disk and the like with one
    sentence on standard error.
    """
    try:
        try:
            return command()
        finally:
            if sys.stdout is not None:  # None where it was closed before the start
                sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter writes what is left of standard output at its end, and would complain.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        return NOBODY_READS
    except UserError as error:
        sentence = str(error)
    except Exception as error:
        words = in_words(error, "the output")
        if words is None:
            raise
        sentence = f"{words}."
    print(f"error: {sentence}", file=sys.stderr)
    return 1
