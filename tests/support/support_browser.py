"""JupyterLab in a browser, and a check of every slider and menu of ipywidgets on a page."""

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbformat import NotebookNode
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from support import ROOT, require
from support_notebooks import runner

from snn_core.kernels.cpu.launch import COMPILING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

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
#: How long a picture may take to be drawn again, and how soon the next follows where several are drawn, in seconds.
DRAW, SETTLE = 10.0, 0.5

_ERRORS = ":is([data-mime-type$='jupyter.error'], [data-mime-type$='jupyter.stderr'])"
_READY = f"""() => {{
    const said = [...document.querySelectorAll("{_ERRORS}")].map(element => element.innerText.trim());
    const outputs = [...document.querySelectorAll('.widget-output')];
    const live = document.querySelectorAll('figure.snn-live[data-live]');
    const drawn = outputs.length + live.length > 0 && outputs.every(output => output.querySelector('img'));
    return drawn || said.some(text => text && !text.includes({json.dumps(COMPILING)}));
}}"""
# The picture, and whether it was drawn after the last mark was set; a new picture is a new element.
_PICTURE = """view => {
    const images = [...view.querySelectorAll('.widget-output img')];
    return [images.map(image => image.src).join(), images.every(image => !image.dataset.marked)];
}"""
_MARK = """view => {
    const images = [...view.querySelectorAll('.widget-output img')];
    for (const image of images) image.dataset.marked = true;
    return images.map(image => image.src).join();
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser; without one the tests are skipped, in CI they fail."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    require(
        found is not None and importlib.util.find_spec("playwright") is not None, "Chromium or Playwright"
    )
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


def view_names(notebook: NotebookNode, package: str) -> set[str]:
    """Return the names that a notebook imports from a package of views, snn_tutorial.live or snn_tutorial.widgets."""
    code = "\n".join(cell.source for cell in notebook.cells if package in cell.source)
    imports = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    return {n.name for node in imports if node.module.startswith(package) for n in node.names}


def quick_copy(path: Path, folder: Path) -> Path:
    """Write a copy of a chapter that runs in quick mode up to its last view; return it.

    It goes into ``folder``/notebooks, records into a folder of its own, and finds the committed results and the
    experiments where chapters look for them, in ../results and ../experiments.
    """
    parameters = runner["QUICK"].get(path.stem, {}) | runner["folders"](path, folder / path.stem)
    notebook = parameterize_notebook(load_notebook_node(str(path)), parameters)
    names = view_names(notebook, "snn_tutorial.live") | view_names(notebook, "snn_tutorial.widgets")
    last = max(n for n, cell in enumerate(notebook.cells) if any(f"{name}(" in cell.source for name in names))
    notebook.cells = notebook.cells[: last + 1]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    for name in ("results", "experiments"):
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
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
    return [text for text in texts if text and COMPILING not in text] + page.thrown


Move = tuple[Callable[[], object], Callable[[], object]]


@dataclass
class Control:
    """A control as a reader sees it, and moves of it to try, each with the move that takes it back."""

    name: str
    kind: str
    moves: list[Move]


def _slider(element: Locator) -> list[Move]:
    moves = []
    for handle in element.locator(".noUi-handle").all():
        at, low, high = (float(handle.get_attribute(f"aria-value{name}")) for name in ("now", "min", "max"))

        def press(key: str, times: int, handle: Locator = handle) -> None:
            for _ in range(times):
                handle.press(key)

        def back(key: str, handle: Locator = handle, at: str = handle.get_attribute("aria-valuenow")) -> None:
            for _ in range(10):
                if handle.get_attribute("aria-valuenow") != at:
                    handle.press(key)

        ways = [("ArrowRight", "ArrowLeft")] * (at < high) + [("ArrowLeft", "ArrowRight")] * (at > low)
        for times in (1, 5):
            moves += [(lambda k=k, n=times: press(k, n), lambda b=b: back(b)) for k, b in ways]
    return moves


def _select(element: Locator) -> list[Move]:
    menu = element.locator("select")
    chosen = menu.evaluate("menu => [...menu.options].flatMap((o, index) => o.selected ? [index] : [])")
    others = [index for index in range(menu.locator("option").count()) if index not in chosen]
    return [
        (lambda i=i: menu.select_option(index=i), lambda: menu.select_option(index=chosen)) for i in others
    ]


#: Rules by the class of a control's element; the first that fits counts.
RULES: dict[str, Callable[[Locator], list[Move]]] = {
    "widget-slider": _slider,
    "widget-dropdown": _select,
}
_PASSIVE = ("widget-box", "widget-output", "widget-html", "widget-label", "widget-valid", "widget-image")
_LABEL = "element => (element.querySelector('.widget-label')?.innerText || element.innerText).trim()"


def controls(view: Locator) -> list[Control]:
    """Return the controls of a view.

    Raises:
        LookupError: there is a widget for which RULES has none.
    """
    found = []
    for element in view.locator(".widget-box > *").all():
        classes = element.get_attribute("class").split()
        if set(classes) & set(_PASSIVE):
            continue
        kind = next((name for name in RULES if name in classes), None)
        if kind is None:
            raise LookupError(f"no rule for a control with the classes {classes}")
        label = element.evaluate(_LABEL) or kind
        found.append(Control(label, kind, RULES[kind](element)))
    return found


def views(page: Page) -> list[Locator]:
    """Return the boxes of controls with a picture on the page."""
    boxes = page.locator(".widget-vbox").filter(has=page.locator(".widget-output"))
    return boxes.filter(has_not=page.locator(".widget-vbox .widget-output")).all()


def _move(view: Locator, do: Callable[[], object], expected: str | None = None) -> str:
    """Do something, wait until the view has drawn again, and return its picture.

    Args:
        view: a box of controls with a picture.
        do: the move.
        expected: the picture to wait for; None waits for any other than before, and for a moment more where the first
            picture is the same, since several may be on their way.
    """
    before = view.evaluate(_MARK)
    end = time.monotonic() + DRAW
    do()
    while time.monotonic() < end:
        picture, drawn_again = view.evaluate(_PICTURE)
        if drawn_again and (picture != before if expected is None else picture == expected):
            break
        if drawn_again:
            end = min(end, time.monotonic() + SETTLE)
        time.sleep(0.03)
    return picture


def _moves_picture(page: Page, view: Locator, control: Control, problems: list[str]) -> bool:
    """Whether a move of the control changes the picture; add what goes wrong on the way to ``problems``."""
    for do, undo in control.moves:
        before, _ = view.evaluate(_PICTURE)
        changed = _move(view, do) != before
        problems += [f"{control.name}: {error}" for error in errors(page)]
        _move(view, undo, before)  # no check: a view that measures shows another picture each time
        if changed:
            return True
    return False


def problems_of_controls(page: Page) -> list[str]:
    """Move each control of each view on the page and back; return what is wrong, nothing if all is well.

    A control must change the picture, if not as the page starts, then in some state of a control that is a choice.
    """
    problems = errors(page)
    for view in views(page):
        found = controls(view)
        still = [c for c in found if not _moves_picture(page, view, c, problems)]
        for choice in (c for c in found if c not in still and c.kind != "widget-slider"):
            for do, undo in choice.moves if still else []:
                before, _ = view.evaluate(_PICTURE)
                _move(view, do)
                still = [c for c in still if not _moves_picture(page, view, c, problems)]
                _move(view, undo, before)
        problems += [f"{control.name}: the picture stays as it is" for control in still]
    return problems if views(page) else [*problems, "no controls with a picture on the page"]
