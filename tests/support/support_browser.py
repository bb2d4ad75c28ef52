"""JupyterLab in a browser."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbformat import NotebookNode
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from support import NO_BROWSER, ROOT, require
from support_notebooks import QUICK

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Nothing may depend on the internet: fonts from elsewhere are not found.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
#: How long a notebook may take to run, in milliseconds.
RUN = 120_000

_ERRORS = ":is([data-mime-type$='jupyter.error'], [data-mime-type$='jupyter.stderr'])"
_READY = f"""() => {{
    const said = [...document.querySelectorAll("{_ERRORS}")].map(element => element.innerText.trim());
    const live = document.querySelectorAll('figure.snn-live[data-live]');
    return live.length > 0 || said.some(Boolean);
}}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser; without one the tests are skipped, in CI they fail."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    is_there = found is not None and importlib.util.find_spec("playwright") is not None
    require(is_there, NO_BROWSER)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def serving(argv: list[str], home: Path) -> Iterator[tuple[str, str]]:
    """Run a Jupyter server on a free port of this machine; yield its address and its token.

    Args:
        argv: what follows ``python -m``; ``{port}`` and ``{token}`` are filled in.
        home: folder for the server's settings and its log, so that the reader's own are neither used nor changed.
    """
    require(importlib.util.find_spec(argv[0]) is not None, argv[0])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex()
    command = [sys.executable, "-m", *(part.format(port=port, token=token) for part in argv)]
    own = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    own["PYTHONPATH"] = os.pathsep.join(str(ROOT / name) for name in ("tests/support", "tools"))
    own |= {"IPYTHONDIR": str(home / "ipython"), "SNN_CORE_CACHE": str(home / "cache")}
    with (home / "log.txt").open("w") as log:
        server = subprocess.Popen(command, cwd=home, env=os.environ | own, stdout=log, stderr=log)
        try:
            _wait_for(server, port, home / "log.txt")
            yield f"http://127.0.0.1:{port}", token
        finally:
            _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < end:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"no server on port {port}:\n{log.read_text()}")


def lab(folder: Path, home: Path) -> Any:
    """Serve ``folder`` in JupyterLab, without its questions about news, with all cells of a notebook on the page."""
    settings = {
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
        "notebook-extension/tracker": {"windowingMode": "none"},
    }
    for name, values in settings.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": "{port}",
        "IdentityProvider.token": "{token}",
        "ServerApp.root_dir": folder,
        "LabApp.user_settings_dir": home / "settings",
        "LabApp.workspaces_dir": home / "workspaces",
    }
    argv = [f"--{name}={value}" for name, value in options.items()]
    return serving(["jupyterlab", "--no-browser", "--allow-root", *argv], home)


def view_names(notebook: NotebookNode) -> set[str]:
    """Return the names of the views that a notebook imports."""
    package = "snn_tutorial.live"
    code = "\n".join(cell.source for cell in notebook.cells if package in cell.source)
    imports = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    return {n.name for node in imports if node.module.startswith(package) for n in node.names}


def quick_copy(path: Path, folder: Path) -> Path:
    """Write a copy of a chapter that runs in quick mode up to its last view; return it.

    It goes into ``folder``/notebooks, records into a folder of its own, and finds the committed results where chapters
    look for them, in ../results.
    """
    parameters = QUICK.get(path.stem, {})
    notebook = parameterize_notebook(load_notebook_node(str(path)), parameters)
    names = view_names(notebook)
    last = max(n for n, cell in enumerate(notebook.cells) if any(f"{name}(" in cell.source for name in names))
    notebook.cells = notebook.cells[: last + 1]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    shutil.copytree(ROOT / "results", folder / "results", dirs_exist_ok=True)
    (folder / "notebooks").mkdir(exist_ok=True)
    return save(notebook, folder / "notebooks" / path.name)


def save(notebook: NotebookNode, path: Path) -> Path:
    """Write a notebook for this Python's kernel; return ``path``."""
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
    return path


def open_in_lab(browser: Browser, server: tuple[str, str], name: str) -> Page:
    """Return the page of the notebook ``name`` in JupyterLab, after all of its cells were run from the menu."""
    page = open_unrun_in_lab(browser, server, name)
    status = page.locator("#jp-main-statusbar")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(_READY, timeout=RUN)
    status.get_by_text("| Idle").wait_for(timeout=RUN)
    return page


def open_unrun_in_lab(browser: Browser, server: tuple[str, str], name: str) -> Page:
    """Return the page of the notebook ``name`` in JupyterLab, when it has a kernel."""
    address, token = server
    page = _new_page(browser)
    # With reset no notebook of a page before is opened, too, whose kernel might be taken for this one's.
    page.goto(f"{address}/lab/tree/{name}?token={token}&reset", timeout=RUN)
    # The mark in the notebook's toolbar says idle before there is a kernel; what is asked of it then is lost.
    page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for(timeout=RUN)
    return page


def _new_page(browser: Browser) -> Page:
    page = browser.new_page()
    page.thrown = []
    page.on("pageerror", lambda error: page.thrown.append(str(error)))
    return page


def errors(page: Page) -> list[str]:
    """Return what went wrong on the page so far: errors and warnings in outputs, exceptions in scripts."""
    texts = [text.strip() for text in page.locator(_ERRORS).all_inner_texts()]
    return [text for text in texts if text] + page.thrown
