"""Words and numbers that several outputs write alike."""

from __future__ import annotations

import pytest

from prune.base.text import dataset_label, duration, flatten, listed, ranges, rounded


@pytest.mark.parametrize(("seconds", "text"), [(5, "0:05"), (245.4, "4:05"), (3723, "1:02:03")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_ranges() -> None:
    assert ranges([]) == ""
    assert ranges([4]) == "4"
    assert ranges([3, 1, 2, 7, 14, 15]) == "1–3, 7, 14–15"
    assert ranges([0, 1, 2, 5, 7, 8], "-", ",") == "0-2,5,7-8"


def test_words_are_listed_as_in_a_sentence() -> None:
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


def test_nested_sections_become_dotted_keys() -> None:
    tree = {"seed": 1, "method": {"name": "rsst", "penalty": {"ceiling": 0.5, "exponents": [4]}}, "none": {}}
    assert flatten(tree) == {"seed": 1, "method.name": "rsst", "method.penalty.ceiling": 0.5, "method.penalty.exponents": [4]}
    assert flatten({"kept": {"heads": 7}}, "/") == {"kept/heads": 7}


def test_a_dataset_chosen_by_its_folder_is_named_by_it() -> None:
    assert dataset_label("cifar10") == "cifar10"
    assert dataset_label("image_folder", "/data/cub") == "image_folder-cub"


@pytest.mark.parametrize(
    ("value", "text"), [(999, "999"), (60_000, "60 k"), (999_600, "1 M"), (21_342_346, "21.3 M"), (1_420_309_248, "1.42 G")]
)
def test_large_numbers_are_rounded_to_three_digits(value: float, text: str) -> None:
    assert rounded(value) == text
