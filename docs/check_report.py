"""Show signal reports in headless Chromium, as phones and desktops would.

``python docs/check_report.py FOLDER`` saves the reports of a healthy network, of a sick
one and of one that has diverged, and a notebook's page with two of them. Each is opened
390 and 1280 pixels wide, light and dark. It fails if the console says anything, if
something is loaded from elsewhere, or if a page scrolls sideways; the pictures are left
in the folder, and the first report as it is printed.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler
from torch import nn

from sknorm.inspection import SignalReport
from sknorm.neural_network import NormMLPClassifier

WIDTHS = (390, 1280)
SCHEMES = ("light", "dark")
NAMES = ("chromium", "chromium-browser", "google-chrome")
# What its debugger reports that is something to read in the console.
COMPLAINTS = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")


def reports() -> dict[str, SignalReport]:
    """Return reports by name."""
    X, y = load_digits(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    look = SignalReport.from_estimator
    healthy = NormMLPClassifier((64,) * 4, max_epochs=3, random_state=0)
    sick = NormMLPClassifier(
        (64,) * 20, activation="sigmoid", norm="none", init="xavier_normal"
    )
    endless = NormMLPClassifier((64,) * 60, norm="none", init=nn.init.normal_)
    return {
        "sick": look(sick, X, y),
        "healthy": look(healthy.fit(X, y), X, y),
        "endless": look(endless, X, y),
    }


def notebook(*shown: SignalReport) -> str:
    """Return a page that shows reports as notebooks do."""
    cells = "\n".join(report._repr_html_() for report in shown)
    return (
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Notebook</title>'
        f"<style>:root {{ color-scheme: light dark }}</style>{cells}</html>"
    )


class Browser:
    """Chromium, spoken to by its debugging protocol over a pair of pipes.

    Parameters
    ----------
    program : str
        Path of Chromium.
    home : str
        Empty folder for its profile.
    """

    def __init__(self, program: str, home: str) -> None:
        its_input, self._output = os.pipe()
        self._input, its_output = os.pipe()
        # Out of the way of the two numbers that it expects them under.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (its_input, its_output)]

        def place() -> None:
            for number, fd in enumerate(high, start=3):
                os.dup2(fd, number)

        options = ["--headless", "--remote-debugging-pipe", f"--user-data-dir={home}"]
        options += ["--hide-scrollbars", "--disable-gpu", "--no-first-run"]
        if os.geteuid() == 0:
            options.append("--no-sandbox")  # It refuses one to root.
        self._process = subprocess.Popen(
            [program, *options, "about:blank"],
            preexec_fn=place,
            close_fds=False,
            stderr=subprocess.DEVNULL,
        )
        for fd in (its_input, its_output, *high):
            os.close(fd)
        self._buffer = b""
        self._count = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []

    def open_tab(self) -> None:
        """Go on in a tab of its own, and listen to what happens there."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method and return its result; events that come first are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._output, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._count:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def wait_for(self, event: str) -> None:
        """Wait until an event has come."""
        while all(seen.get("method") != event for seen in self.events):
            self.events.append(self._receive())

    def visit(self, path: Path) -> str:
        """Load a page, and return its address; older events are forgotten."""
        self.events.clear()
        url = path.resolve().as_uri()
        self.call("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")
        return url

    def evaluate(self, expression: str) -> Any:
        """Return what a line of JavaScript comes to."""
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True
        )
        return result["result"]["value"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._input, 1 << 20)
            if not part:
                raise RuntimeError("Chromium has gone away")
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def close(self) -> None:
        """Let it end."""
        self._session = None
        self.call("Browser.close")
        self._process.wait(timeout=30)


def look_at(browser: Browser, path: Path, width: int, scheme: str) -> list[str]:
    """Save a picture of a page and return what is wrong with it."""
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=800,
        deviceScaleFactor=1,
        mobile=width < 600,
    )
    preference = {"name": "prefers-color-scheme", "value": scheme}
    browser.call("Emulation.setEmulatedMedia", features=[preference])
    url = browser.visit(path)
    has, needs = browser.evaluate(
        "(({clientWidth, scrollWidth}) => [clientWidth, scrollWidth])"
        "(document.documentElement)"
    )
    picture = browser.call("Page.captureScreenshot", captureBeyondViewport=True)
    name = f"{path.stem}_{width}_{scheme}.png"
    path.with_name(name).write_bytes(base64.b64decode(picture["data"]))
    wrong = []
    if has != width:
        wrong.append(f"it is laid out {has} pixels wide")
    if needs > has:
        wrong.append(f"it needs {needs} pixels and scrolls sideways")
    for event in browser.events:
        if event["method"] in COMPLAINTS:
            wrong.append(f"the console says {json.dumps(event['params'])}")
        if event["method"] == "Network.requestWillBeSent":
            asked = event["params"]["request"]["url"]
            if asked != url:
                wrong.append(f"it loads {asked}")
    return [f"{name}: {what}" for what in wrong]


def save_pages(folder: Path) -> list[Path]:
    """Write the pages to look at and return where they are."""
    shown = reports()
    for name, report in shown.items():
        report.save(folder / f"{name}.html")
    both = notebook(shown["sick"], shown["healthy"])
    (folder / "notebook.html").write_text(both, encoding="utf-8")
    return [folder / f"{name}.html" for name in [*shown, "notebook"]]


def main() -> None:
    """Save, look and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where pages and pictures go")
    parser.add_argument("--chromium", help="the program, if it isn't on the PATH")
    args = parser.parse_args()
    program = args.chromium or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        sys.exit(f"None of {', '.join(NAMES)} is on the PATH. Give --chromium.")
    args.folder.mkdir(parents=True, exist_ok=True)
    pages = save_pages(args.folder)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        browser = Browser(program, home)
        browser.open_tab()
        wrong = [
            line
            for path in pages
            for width in WIDTHS
            for scheme in SCHEMES
            for line in look_at(browser, path, width, scheme)
        ]
        browser.visit(pages[0])
        printed = browser.call("Page.printToPDF", preferCSSPageSize=True)
        browser.close()
    pages[0].with_suffix(".pdf").write_bytes(base64.b64decode(printed["data"]))
    print(*wrong, sep="\n")
    shots = len(pages) * len(WIDTHS) * len(SCHEMES)
    print(f"{shots} pictures in {args.folder}, {len(wrong)} complaints")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
