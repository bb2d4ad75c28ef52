"""The view that trains three networks: it trains, pauses, begins again, says what fails, and its networks read."""

from __future__ import annotations

import numpy as np
import pytest
from IPython.display import HTML
from support import ROOT
from support_live import LiveView, live

from sequential_fmnist.networks import TUTORIAL_NETWORKS
from snn_tutorial import load_results
from snn_tutorial.live.train import laboratory

pytestmark = pytest.mark.xdist_group("browser_live")

NAMES = [kind.replace("-", " ") for kind in TUTORIAL_NETWORKS]


@pytest.fixture(scope="module")
def stories():
    return load_results(ROOT / "results", "stories")


@pytest.fixture(scope="module")
def shown(stories):
    """A view that is quick: five epochs."""
    html = laboratory(stories).data
    first, rest = html.split('"schedule": [', 1)
    return HTML(f'{first}"schedule": [1, 1, 1, 1, 1], "unused": [{rest}')


def small(view: LiveView, images: int = 250) -> None:
    view.figure.get_by_text("more settings").click()
    view.set("training images", images)
    view.set("hidden neurons", 8)


def press(view: LiveView, name: str) -> None:
    view.figure.get_by_role("button", name=name, exact=True).click()


def wait(view: LiveView, condition: str) -> None:
    view.page.wait_for_function(
        f"""() => {{
            const {{runs, isPaused}} = document.querySelector("figure").view.numbers();
            return {condition};
        }}""",
        timeout=60_000,
    )


ENDED = "runs.every(({history, failed}) => failed || history.length === 5)"


def test_three_networks_learn_and_read_beside_the_others(browser, shown, tmp_path):
    with live(browser, shown, tmp_path) as view:
        small(view)
        press(view, "Train")
        wait(view, ENDED)
        assert view.said().startswith("They end at plain")
        for run in view.numbers()["runs"]:
            losses = [one["loss"] for one in run["history"]]
            assert losses[-1] < losses[0]
            assert run["history"][-1]["accuracy"] > 0.2
        assert view.figure.inner_text().count("epoch 5 of 5") == 3
        reader = LiveView(view.page, view.problems, number=1)
        numbers = reader.numbers()
        assert reader.figure.inner_text().count("trained here") == 3
        for name in NAMES:
            assert np.shape(numbers[name]["spikes"]) == (28, 8)


def test_the_same_seed_gives_the_same_curves_paused_or_not_and_another_one_others(browser, shown, tmp_path):
    with live(browser, shown, tmp_path) as view:
        small(view)
        losses = []
        for seed in (0, 0, 12):
            view.control("seed").fill(str(seed))
            press(view, "Train")
            if not losses:
                wait(view, "runs.some(({history}) => history.length)")
                press(view, "Pause")
                assert view.said() == "Paused."
                view.page.wait_for_timeout(700)  # what was on its way has come
                stopped = view.numbers()
                view.page.wait_for_timeout(500)
                assert view.numbers() == stopped
                press(view, "Resume")
            wait(view, ENDED)
            losses.append([one["loss"] for run in view.numbers()["runs"] for one in run["history"]])
        assert losses[0] == losses[1]
        assert not np.isclose(losses[0], losses[2]).any()


def test_a_click_begins_a_story_and_its_curves_go_with_its_settings(browser, shown, stories, tmp_path):
    with live(browser, shown, tmp_path) as view:
        for number, story in enumerate(stories["stories"]):
            press(view, story["name"])
            assert view.said() == story["says"]
            assert (view.numbers()["story"], view.numbers()["seed"]) == (number, story["seed"])
            wait(view, "runs.some(({history}) => history.length)")
        with_curves = view.picture()[:2]
        view.control("seed").fill("77")
        assert view.numbers()["story"] == -1
        assert view.picture()[:2] != with_curves


def test_a_view_ends_when_its_cell_runs_again(browser, shown, tmp_path):
    with live(browser, shown, tmp_path) as view:
        small(view)
        press(view, "Train")
        wait(view, "runs.some(({history}) => history.length)")
        old = view.figure.evaluate_handle("figure => figure")
        view.page.evaluate(
            """() => {
                const [figure] = document.querySelectorAll("figure");
                const script = document.querySelectorAll("script")[0];
                const again = document.createElement("figure");
                Object.assign(again, { className: "snn-live", innerHTML: "<img>" }).dataset.view = "train";
                figure.replaceWith(again);
                const copy = document.createElement("script");
                copy.textContent = script.textContent;
                script.replaceWith(copy);
            }"""
        )
        assert view.page.evaluate("snnRunning.size") == 2
        before = old.evaluate("figure => figure.view.numbers()")
        view.page.wait_for_timeout(700)
        assert old.evaluate("figure => figure.view.numbers()") == before


@pytest.mark.parametrize(
    ("part", "broken", "why", "failed"),
    [
        ("learner.lr = factor", "learner.lr = (kind === 2 ? NaN : 1) * factor", "no longer finite", [2]),
        ('"worker": "', '"worker": "no.such();', "no is not defined", [0, 1, 2]),
    ],
)
def test_what_fails_is_said_and_the_others_continue(browser, shown, tmp_path, part, broken, why, failed):
    assert part in shown.data
    with live(browser, HTML(shown.data.replace(part, broken, 1)), tmp_path) as view:
        small(view)
        press(view, "Train")
        wait(view, ENDED)
        runs = view.numbers()["runs"]
        assert [k for k, run in enumerate(runs) if run["failed"]] == failed
        for k in failed:
            assert why in runs[k]["failed"]
            assert f"{NAMES[k]}: stopped: " in view.figure.inner_text()
        view.problems.clear()  # the browser reports it, too
