"""The pages of `--html` in a real browser: nothing is loaded from outside, and nothing is wider than the window of a desktop or a phone.

It needs Chromium, which a bare machine has not. So it is not part of the suite, and fails where it is missing:

    apt-get install chromium && .ci/venv pytest tests/in_browser.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fabricated import Fabricated
from program import autonomous


class Browser:
    """Chromium without a window, over its debugging pipe. `events`: everything that it told so far."""

    def __init__(self, profile: Path) -> None:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        assert program, "Chromium is missing: apt-get install chromium"
        commands, self._commands = os.pipe()
        answers, theirs = os.pipe()
        # Chromium reads its third descriptor and writes its fourth.
        script = f'exec 3<&{commands} 4>&{theirs}; exec "$0" "$@"'
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ]
        self.process = subprocess.Popen(
            ["bash", "-c", script, program, *options], pass_fds=(commands, theirs), stderr=subprocess.DEVNULL
        )
        os.close(commands)
        os.close(theirs)
        self._answers = open(answers, "rb")
        self._rest = b""
        self._number = 0
        self._session = ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> Any:
        self._number += 1
        asked = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._commands, json.dumps(asked).encode() + b"\0")
        while True:
            told = self._read()
            if told.get("id") == self._number:
                assert "error" not in told, told
                return told["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            chunk = os.read(self._answers.fileno(), 1 << 16)
            assert chunk, "Chromium ended"
            self._rest += chunk
        message, _, self._rest = self._rest.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        self.events.append(told)
        return told

    def open(self, path: Path, width: int, scheme: str) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self._read()

    def value(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def close(self) -> None:
        os.close(self._commands)
        self.process.kill()
        self.process.wait()
        self._answers.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    opened = Browser(tmp_path / "profile")
    yield opened
    opened.close()


def test_pages_load_nothing_and_fit_a_desktop_and_a_phone(repo: Path, browser: Browser) -> None:
    task = Fabricated(repo, check="passed")
    items = [f"write {'a_very_long_name_' * 20}{number}" for number in range(10)]
    task.plan(*items, proposed=["try <img src=http://example.org/x>"])
    for number, item in enumerate(items):
        name = f"{'deep/' * 30}{number}.py"
        task.session(item, files={name: f"{'x = 1; ' * 300}\n<script src=//example.org>\n", ".envrc": f"{number}\n"})
    for command in (["review", "todo", "--html", "todo.html"], ["list", "--html", "tasks.html"]):
        assert autonomous(repo, *command).status == 0
    for page in ("todo.html", "tasks.html"):
        grounds = set()
        for width in (1280, 390):
            for scheme in ("light", "dark"):
                browser.open(repo / page, width, scheme)
                browser.value("document.querySelectorAll('details').forEach(each => each.open = true)")
                assert browser.value("document.documentElement.scrollWidth") <= width
                assert browser.value("innerWidth") == width
                grounds.add(browser.value("getComputedStyle(document.documentElement).backgroundColor"))
                asked = [
                    e["params"]["request"]["url"]
                    for e in browser.events
                    if e.get("method") == "Network.requestWillBeSent"
                ]
                assert {url for url in asked if not url.startswith("data:")} == {(repo / page).as_uri()}
        assert len(grounds) == 2
    browser.open(repo / "todo.html", 1280, "light")
    browser.value("document.querySelectorAll('details').forEach(each => each.open = true)")
    wide = "[...document.querySelectorAll('pre.diff')].some(each => each.scrollWidth > each.clientWidth)"
    assert browser.value(wide)
    curve = "(() => { const box = document.querySelector('.curve').getBoundingClientRect(); return box.width * box.height > 1000 })()"
    assert browser.value(curve)
