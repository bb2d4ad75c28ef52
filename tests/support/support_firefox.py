"""Firefox through WebDriver BiDi, its own protocol: Playwright drives only a Firefox that it has built itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import websocket
from support import require

#: How long anything may take, in seconds.
WAIT = 60
_KEYS = {"ArrowLeft": "\ue012", "ArrowUp": "\ue013", "ArrowRight": "\ue014", "ArrowDown": "\ue015"}


class Firefox:
    """A page in Firefox; ``problems`` are the errors that it has reported, as far as answers have been read."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self.socket, self.asked, self.problems = socket, 0, []
        self.ask("session.new", capabilities={})
        self.ask("session.subscribe", events=["log.entryAdded"])
        self.page = self.ask("browsingContext.create", type="tab")["context"]

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self.asked += 1
        self.socket.send(json.dumps({"id": self.asked, "method": method, "params": params}))
        end = time.monotonic() + WAIT  # the socket's own limit starts anew with each event
        while time.monotonic() < end:
            told = json.loads(self.socket.recv())
            if told.get("method") == "log.entryAdded" and told["params"]["level"] == "error":
                self.problems.append(told["params"]["text"])
            elif told.get("id") == self.asked:
                assert told["type"] == "success", f"{method}: {told['message']}"
                return told["result"]
        raise TimeoutError(method)

    def value(self, code: str) -> Any:
        code, target = f"JSON.stringify({code})", {"context": self.page}
        told = self.ask("script.evaluate", expression=code, target=target, awaitPromise=False)
        assert told["type"] == "success", told["exceptionDetails"]["text"]
        return json.loads(told["result"].get("value", "null"))

    def act(self, kind: str, *actions: dict[str, Any]) -> None:
        source = {"type": kind, "id": kind, "actions": actions}
        self.ask("input.performActions", context=self.page, actions=[source])

    def press(self, key: str) -> None:
        self.act("key", *({"type": kind, "value": _KEYS[key]} for kind in ("keyDown", "keyUp")))


@contextmanager
def firefox(home: Path) -> Iterator[Firefox]:
    """Yield a Firefox with its profile and log in ``home``; without one the tests are skipped, in CI they fail."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    require(program is not None, "Firefox")
    command = [program, "--headless", "--no-remote", "--profile", home, "--remote-debugging-port", "0"]
    log, end = home / "log.txt", time.monotonic() + WAIT
    with log.open("w") as out:
        running = subprocess.Popen(command, env=os.environ | {"HOME": str(home)}, stdout=out, stderr=out)
    try:
        while not (found := re.search(r"BiDi listening on (ws:\S+)\n", log.read_text())):
            assert running.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        # Firefox turns away whoever names an origin, which pages do; a proxy could not reach this machine's own.
        options = {"suppress_origin": True, "http_no_proxy": ["127.0.0.1"], "timeout": WAIT}
        with closing(websocket.create_connection(f"{found[1]}/session", **options)) as socket:
            yield Firefox(socket)
    finally:
        running.kill()
        running.wait(timeout=WAIT)
