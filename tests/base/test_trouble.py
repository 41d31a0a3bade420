"""What the machine did to us is one sentence; what the program did wrong is none."""

from __future__ import annotations

import errno
import os

import pytest
import torch

from prune.base.trouble import disk_is_full, in_words, memory_is_short

FULL = ("ENOSPC", "EDQUOT", "EFBIG")


def test_every_error_of_the_system_is_a_sentence_about_its_file() -> None:
    errors = {name: OSError(number, os.strerror(number), "a.json") for number, name in errno.errorcode.items()}
    expected = {name: f"a.json cannot be used ({error.strerror})" for name, error in errors.items()}
    expected |= {name: f"the disk of a.json is full ({errors[name].strerror})" for name in FULL}
    expected["ENOMEM"] = f"there is not enough memory ({errors['ENOMEM']})"
    assert {name: in_words(error) for name, error in errors.items()} == expected
    assert [name for name, error in errors.items() if disk_is_full(error) and name not in FULL] == []
    assert [name for name, error in errors.items() if memory_is_short(error)] == ["ENOMEM"]


def test_without_a_file_the_place_that_was_written_to_is_named() -> None:
    assert in_words(OSError(errno.ENOSPC, "no space"), "the output") == "the disk of the output is full (no space)"
    assert in_words(OSError(errno.EIO, "input/output error"), "the output") == "the output cannot be used (input/output error)"
    assert in_words(OSError("a library's own words.\nand more")) == "this place cannot be used (a library's own words)"
    assert in_words(OSError()) == "this place cannot be used (OSError)"


MEMORY = [
    (MemoryError(), "MemoryError"),
    (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried 2 GiB.\nGPU 0 has 1"), "CUDA out of memory. Tried 2 GiB"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "DefaultCPUAllocator: can't allocate memory"),
    (RuntimeError("can't start new thread"), "can't start new thread"),
    (RuntimeError("std::bad_alloc"), "std::bad_alloc"),
    (ImportError("lib.so: failed to map segment from shared object"), "lib.so: failed to map segment from shared object"),
]


@pytest.mark.parametrize(("error", "said"), MEMORY, ids=lambda value: type(value).__name__)
def test_each_librarys_word_for_too_little_memory_is_known(error: Exception, said: str) -> None:
    assert in_words(error) == f"there is not enough memory ({said})"


def test_memory_that_is_really_refused_is_told() -> None:
    """More than any process can address, so no machine has it."""
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**50, dtype=torch.uint8)
    sentence = in_words(refused.value)
    assert sentence is not None and sentence.startswith("there is not enough memory (")


def test_a_killed_worker_is_told() -> None:
    killed = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. \nmore")
    assert in_words(killed) == (
        "a process that decodes images was killed (DataLoader worker (pid 7) is killed by signal: Killed)"
    )


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError(""),
        ImportError("No module named 'memory'"),
        ValueError("out of memory"),
        KeyError("DataLoader worker"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_a_fault_of_the_program_is_no_trouble_of_the_machine(error: BaseException) -> None:
    assert in_words(error) is None
