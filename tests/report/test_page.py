"""The page in a real headless Chromium: no errors, nothing asked for from outside, readable on a desk and on a phone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.browser import CHROMIUM, Browser
from tests.report.sweep import realistic_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report, alone in a folder: it must need none of the files beside it."""
    return Path(shutil.copy(realistic_report() / "report.html", tmp_path_factory.mktemp("alone")))


@pytest.fixture(scope="module")
def browser(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"), 1280, 900)
    try:
        browser.open(page)
        yield browser
    finally:
        browser.close()


def test_no_errors_and_no_requests(browser: Browser, page: Path) -> None:
    assert browser.errors == []
    assert [url for url in browser.requests if not url.startswith("data:")] == [page.resolve().as_uri()]


def test_every_figure_is_visible(browser: Browser) -> None:
    sizes = browser.evaluate("[...document.images].map(i => [i.complete, i.naturalWidth, i.getBoundingClientRect().width])")
    assert len(sizes) > 10
    assert all(complete and natural > 0 and shown > 200 for complete, natural, shown in sizes)


def test_links_within_the_page_lead_somewhere(browser: Browser) -> None:
    links = browser.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.getAttribute('href').slice(1))")
    assert len(links) > 10
    assert browser.evaluate(f"{json.dumps(links)}.filter(id => !document.getElementById(id))") == []


@pytest.mark.parametrize("width", [390, 768, 1280, 1300])
def test_the_page_never_scrolls_sideways(browser: Browser, width: int) -> None:
    browser.resize(width, 844)
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    scrolled, visible = browser.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert scrolled == visible <= width
    # Whatever is wider than the page lies in a container that scrolls by itself.
    loose = browser.evaluate(
        f"[...document.querySelectorAll('main *, header *')].filter(e => e.getBoundingClientRect().right > {visible} + 1"
        " && !e.closest('.table, .scroll, nav')).map(e => e.tagName + ' ' + e.className)"
    )
    assert loose == []


def test_text_is_readable_on_a_phone(browser: Browser) -> None:
    browser.resize(390, 844)
    smallest = browser.evaluate(
        "Math.min(...[...document.querySelectorAll('p, li, td, th, figcaption')]"
        ".map(e => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert smallest >= 12
    narrowest = browser.evaluate("Math.min(...[...document.images].map(i => i.getBoundingClientRect().width))")
    assert narrowest >= 340


def test_the_browser_would_notice_an_error(browser: Browser, tmp_path: Path) -> None:
    """The checks above are only worth something if they can fail."""
    broken = tmp_path / "broken.html"
    broken.write_text('<img src="missing.png"><script>console.error("seen"); nothing.at.all</script>')
    before = len(browser.errors)
    browser.open(broken)
    browser.evaluate("new Promise(resolve => setTimeout(resolve, 200))")
    noticed = " ".join(browser.errors[before:])
    del browser.errors[before:]
    assert "seen" in noticed
    assert "ReferenceError" in noticed
    assert "ERR_FILE_NOT_FOUND" in noticed
