"""Views of snn_tutorial.live in a browser, as a reader has them: opened from a file, with no other host to ask."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.display import HTML

from snn_tutorial.live import bundle

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

#: What is around a view.
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>A view</title><body>{}</body></html>"""


class LiveView:
    """A view on a page, the first one or that of another number.

    Attributes:
        page: the page.
        figure: the view.
        problems: what the page has reported so far: errors, and requests to other hosts.
    """

    def __init__(self, page: Page, problems: list[str], number: int = 0) -> None:
        self.page, self.problems = page, problems
        self.figure = page.locator("figure.snn-live").nth(number)

    def control(self, label: str) -> Locator:
        """Return the control with this label."""
        return self.figure.get_by_label(label, exact=True)

    def set(self, label: str, value: Any) -> None:
        """Give a control a value as a script would: a number for a slider, a name for a menu, or whether it is on."""
        control = self.control(label)
        kind = control.evaluate("input => input.type")
        if kind == "range":
            # The value of a slider with stops is what it shows.
            control.evaluate(
                """(input, value) => {
                    for (input.value = input.min; ; input.stepUp()) {
                        input.dispatchEvent(new Event("input", {bubbles: true}));
                        if (parseFloat(input.ariaValueText) === value || input.value === input.max) break;
                    }
                }""",
                value,
            )
            assert float(control.get_attribute("aria-valuetext").split()[0]) == value
        elif kind == "select-one":
            control.select_option(value)
        else:
            control.set_checked(value)

    def numbers(self) -> Any:
        """Return the numbers that are shown."""
        return self.figure.evaluate("figure => figure.view.numbers()")

    def said(self) -> str:
        """Return the sentence under the view."""
        return self.figure.locator(".snn-said").inner_text()

    def place(self, x: float, y: float, panel: int = 0) -> tuple[float, float]:
        """Return where a place in the units of a panel's axes is on the page."""
        return self.figure.locator("canvas").first.evaluate(
            """({ chart }, [x, y, panel]) => {
                const { left, top } = chart.canvas.getBoundingClientRect();
                const { across, down } = chart.places[panel];
                return [left + across(x), top + down(y)];
            }""",
            [x, y, panel],
        )

    def picture(self) -> list[str]:
        """Return what is drawn."""
        return self.figure.locator("canvas").evaluate_all("all => all.map(canvas => canvas.toDataURL())")


def problems_of(page: Page) -> list[str]:
    """Return a list that will hold what the page reports: errors, and requests to other hosts."""
    problems: list[str] = []
    page.on("console", lambda message: message.type == "error" and problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request",
        lambda request: request.url.startswith("http") and problems.append(f"asks for {request.url}"),
    )
    return problems


@contextmanager
def live(browser: Browser, view: HTML, folder: Path, **options: Any) -> Iterator[LiveView]:
    """Open a view from a file; at the end, nothing may have gone wrong on the page.

    Args:
        browser: Chromium.
        view: what a chapter's cell returns.
        folder: where the file goes.
        options: of the page, as in ``color_scheme="dark"``.
    """
    path = folder / "view.html"
    path.write_text(PAGE.format(view.data))
    page = browser.new_page(**({"viewport": {"width": 1280, "height": 900}} | options))
    page.set_default_timeout(120_000)  # on a busy machine
    problems = problems_of(page)
    try:
        page.goto(path.as_uri())
        yield LiveView(page, problems)
    finally:
        page.close()
    assert not problems, problems


def in_node(module: str, expression: str, *given: Any) -> list[Any]:
    """Return, for each of ``given``, what an expression of ``given`` is where a module of ``js/`` is ``$module``."""
    script = (
        f"{bundle(module)}\nconsole.log(JSON.stringify({json.dumps(given)}.map((given) => {expression})));"
    )
    done = subprocess.run(["node", "-"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


#: What makes a control of each kind change, from the keyboard, and at its end.
KEYS = {
    "range": "ArrowRight",
    "select-one": "ArrowDown",
    "checkbox": "Space",
    "button": "Enter",
    "number": "ArrowUp",
    "text": "7",
}
BACK = {"ArrowRight": "ArrowLeft", "ArrowDown": "ArrowUp", "ArrowUp": "ArrowDown"}


def _move(view: LiveView, control: Locator) -> None:
    kind, is_last = control.evaluate(
        """control => [control.type, control.max && control.value === control.max
            || control.tagName === "SELECT" && control.selectedIndex === control.length - 1]"""
    )
    control.focus()
    view.page.keyboard.press(BACK[KEYS[kind]] if is_last else KEYS[kind])


def dead_controls(view: LiveView) -> list[str]:
    """Move every control from the keyboard, and return the names of those that change nothing that is seen."""
    dead = []
    # Buttons come last, since one may clear what others change; those of the site copy a link and save a file.
    kinds = [view.figure.locator(kind) for kind in (":is(input, select)", "button[type=button]")]
    for control in [control for kind in kinds for control in kind.all()]:
        if not control.is_visible() or control.is_disabled():
            continue
        before = (view.numbers(), view.said(), view.picture())
        _move(view, control)
        if (view.numbers(), view.said(), view.picture()) == before:
            dead.append(control.get_attribute("aria-label") or control.inner_text())
    return dead
