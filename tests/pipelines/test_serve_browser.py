"""The search page in a real browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bridge.index.catalogue import Catalogue
from bridge.index.folder import open_index_manifest
from pipelines import serve
from pipelines.serve import ServeConfig
from tests.serving import free_port

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.remote.webelement import WebElement  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver"
    ),
]
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)
PATIENCE = 60


@pytest.fixture(scope="module")
def index(searchable: Path) -> Path:
    return searchable / "index"


@pytest.fixture(scope="module")
def catalogue(index: Path) -> Catalogue:
    return Catalogue(str(index), open_index_manifest(str(index)))


@pytest.fixture(scope="module")
def address(index: Path) -> Iterator[str]:
    with serve.service(ServeConfig(index=str(index), port=free_port())) as address:
        yield address


class Page:
    """The page in a browser, opened anew."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self._driver = driver
        driver.get(address)
        self.until(lambda: self.all("#levels input"))

    def all(self, selector: str) -> list[WebElement]:
        return self._driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self._driver.find_element(By.CSS_SELECTOR, selector)

    def until(self, condition: Callable[[], object]) -> None:
        WebDriverWait(self._driver, PATIENCE).until(lambda _: condition())

    def results(self) -> list[str]:
        """What a screen reader says of each result."""
        buttons = "[...document.querySelectorAll('#results button')]"
        return self._driver.execute_script(f"return {buttons}.map(b => b.ariaLabel)")

    def levels(self) -> set[int]:
        """Blur levels of the results."""
        return {int(re.findall(r"blur level (\d+)", said)[0]) for said in self.results()}

    def upload(self, file: Path) -> None:
        self.one("#file").send_keys(str(file))

    def complaints(self) -> list[str]:
        """What the browser's console holds: errors, and loads that the page's policy forbids."""
        return [entry["message"] for entry in self._driver.get_log("browser")]


@pytest.fixture
def page(address: str, tmp_path: Path) -> Iterator[Page]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        yield Page(driver, address)
    finally:
        driver.quit()


@pytest.fixture
def picture(catalogue: Catalogue, tmp_path: Path) -> Path:
    file = tmp_path / "mine.jpg"
    file.write_bytes(catalogue.entries([7])[0].picture())
    return file


def test_an_uploaded_picture_is_found_and_filtered(
    page: Page, catalogue: Catalogue, picture: Path
) -> None:
    page.upload(picture)
    page.until(lambda: len(page.results()) == 20)
    wanted = catalogue.entries([7])[0]
    first = page.results()[0]
    assert first.startswith(f"Rank 1, {wanted.object_id}, blur level {wanted.blur_level}, ")
    assert "similarity 1.000" in first
    shown = page.one("#results img")
    page.until(lambda: int(shown.get_property("naturalWidth")) == 32)
    assert "Predicted blur level" in page.one("#query").text
    assert len(page.all("#results .box")) == 20 and len(page.all("#query .box.guessed")) == 1

    page.one("#boxes").click()
    assert not any(box.is_displayed() for box in page.all(".box"))

    page.one("#levels input[value='2']").click()
    page.until(lambda: page.levels() == {2})
    page.one("#levels input[value='3']").send_keys(Keys.SPACE)  # without a mouse
    page.until(lambda: page.levels() == {2, 3})
    page.one("#object").send_keys("shape2/101")
    page.until(lambda: all("shape2/101" in said for said in page.results()))
    assert page.results() and page.complaints() == []


def test_examples_and_results_can_be_searched_with(page: Page) -> None:
    page.all("#examples button")[0].send_keys(Keys.ENTER)
    page.until(lambda: len(page.results()) == 20)
    before = page.results()
    assert any("same object" in said for said in before)
    page.all("#results button")[5].click()
    page.until(lambda: page.results() != before)
    assert "similarity 1.000" in page.results()[0]
    assert page.complaints() == []


def test_what_cannot_be_searched_is_explained(page: Page, picture: Path, tmp_path: Path) -> None:
    def error() -> str:
        return page.one("#error").text

    notes, torn, big = (tmp_path / name for name in ("notes.txt", "torn.png", "big.jpg"))
    notes.write_text("only text")
    torn.write_bytes(b"\x89PNG\r\n\x1a\n torn")
    big.write_bytes(np.random.default_rng(0).bytes(10_000_001))
    page.upload(notes)
    page.until(lambda: error() == "notes.txt is not a JPEG, PNG or WebP picture.")
    page.upload(torn)
    page.until(lambda: error() == "torn.png is damaged: it cannot be read.")
    page.upload(big)
    page.until(lambda: error() == "big.jpg is larger than 10 MB.")
    page.upload(picture)
    page.until(lambda: page.results() and not error())
