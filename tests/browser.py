"""A real browser that shows pages as a phone does. It is spoken to over two pipes."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")

_FLAGS: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-zygote", "--remote-debugging-pipe"),
    *("--in-process-gpu", "--disable-features=SpareRendererForSitePerProcess"),
)


class Screen(NamedTuple):
    """CSS pixels; `font` is the size of letters that the reader has chosen, px."""

    width: int = 390
    height: int = 844
    dark: bool = False
    font: int = 16
    printed: bool = False


PHONE: Final = Screen()


class Browser:
    """One page at a time."""

    def __init__(self, says: int, hears: int) -> None:
        self._says, self._hears = says, hears
        self._heard = b""
        self._number = 0
        self._session: str | None = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        self._frame = self.ask("Page.getFrameTree")["frameTree"]["frame"]["id"]
        # Our pages must do without scripts; what a test asks is asked all the same.
        self.ask("Emulation.setScriptExecutionDisabled", value=True)

    def ask(self, method: str, **params: Any) -> Any:
        """One command of the devtools protocol, and what comes of it."""
        self._number += 1
        said = {"id": self._number, "method": method, "params": params}
        if self._session:
            said["sessionId"] = self._session
        rest = memoryview(json.dumps(said).encode() + b"\0")
        while rest:
            rest = rest[os.write(self._says, rest) :]
        while True:
            heard = json.loads(self._message())
            if heard.get("id") == self._number:
                if "error" in heard:
                    raise AssertionError(f"{method}: {heard['error']['message']}")
                return heard["result"]

    def show(self, html: str, screen: Screen = PHONE) -> None:
        """Show a page. It is laid out when this returns."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=screen.width,
            height=screen.height,
            deviceScaleFactor=1,
            mobile=not screen.printed,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if screen.dark else "light"}
        self.ask(
            "Emulation.setEmulatedMedia",
            media="print" if screen.printed else "screen",
            features=[scheme],
        )
        self.ask("Page.setFontSizes", fontSizes={"standard": screen.font, "fixed": screen.font})
        self.ask("Page.setDocumentContent", frameId=self._frame, html=html)

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript is worth in the page."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def picture(self, file: Path) -> None:
        """The whole page as PNG."""
        found = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(found["data"]))

    def pdf(self) -> bytes:
        """The page as it is printed on A4."""
        found = self.ask(
            "Page.printToPDF", preferCSSPageSize=True, printBackground=False, paperWidth=8.27
        )
        return base64.b64decode(found["data"])

    def _message(self) -> bytes:
        while b"\0" not in self._heard:
            some = os.read(self._hears, 1 << 20)
            if not some:
                raise AssertionError("the browser has ended")
            self._heard += some
        message, _, self._heard = self._heard.partition(b"\0")
        return message


@contextmanager
def opened(folder: Path) -> Iterator[Browser]:
    """A browser whose profile lies in `folder`. Skips the test where none is installed."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip(f"needs a browser: {' or '.join(_NAMES)}")
    reads_it, says = os.pipe()
    hears, writes_it = os.pipe()
    # The browser reads from descriptor 3 and writes to descriptor 4.
    line = f'exec "$@" 3<&{reads_it} 4>&{writes_it}'
    profile = f"--user-data-dir={folder}"
    with (folder / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", line, "browser", program, *_FLAGS, profile, "about:blank"],
            pass_fds=(reads_it, writes_it),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
        )
    os.close(reads_it)
    os.close(writes_it)
    try:
        yield Browser(says, hears)
    finally:
        os.close(says)  # whoever hears nobody any more ends
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(hears)
