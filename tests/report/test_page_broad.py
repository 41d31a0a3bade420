"""The page of a broad sweep: ten configurations with long names, five seeds, sixteen states."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.report.broad import broad_report
from tests.report.browser import CHROMIUM, Browser

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)")


def test_the_page_of_fifty_runs_is_light() -> None:
    folder = broad_report().folder
    assert "50 runs (50 complete) of 10 configurations" in (folder / "report.html").read_text()
    assert (folder / "report.html").stat().st_size < 3_000_000
    # What is too large to be in the page lies beside it all the same.
    assert len(list((folder / "figures").glob("*.svg"))) == len(broad_report().figures)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"), 1300, 900)
    try:
        browser.open(broad_report().folder / "report.html")
        browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        yield browser
    finally:
        browser.close()


CUT = """
[...document.querySelectorAll('h1, h2, h3, h4, p, li, td, th, summary, figcaption, footer')].filter(element => {
  const range = document.createRange();
  range.selectNodeContents(element);
  const text = range.getBoundingClientRect(), box = element.getBoundingClientRect();
  return text.left < box.left - 1 || text.right > box.right + 1 || text.top < box.top - 1 || text.bottom > box.bottom + 1;
}).map(element => element.tagName + ': ' + element.textContent)
"""

COVERED = """
[...document.querySelectorAll('.table')].filter(box => box.scrollWidth > box.clientWidth)
  .map(box => [...box.querySelectorAll('td:first-child')].map(cell => cell.offsetWidth / box.clientWidth)).flat()
"""
"""The share of a scrolling table's box that its first column takes, which stays where it is."""


@needs_chromium
@pytest.mark.parametrize("width", [1300, 390])
def test_no_text_is_cut_at_any_width(browser: Browser, width: int) -> None:
    browser.resize(width, 844)
    scrolled, visible = browser.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert scrolled == visible <= width
    assert browser.evaluate(CUT) == []
    covered = browser.evaluate(COVERED)
    assert len(covered) > 100
    assert max(covered) < 0.45
    outside = browser.evaluate(
        f"[...document.querySelectorAll('main *, header *')].filter(e => e.getBoundingClientRect().right > {visible} + 1"
        " && !e.closest('.table, .scroll, nav')).map(e => e.tagName + ' ' + e.className)"
    )
    assert outside == []


@needs_chromium
def test_a_cut_text_would_be_noticed(browser: Browser) -> None:
    browser.evaluate("document.querySelector('li').style.cssText = 'width: 40px; overflow-wrap: normal'")
    try:
        assert len(browser.evaluate(CUT)) == 1
    finally:
        browser.evaluate("document.querySelector('li').style.cssText = ''")
