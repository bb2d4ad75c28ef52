"""The view that trains three networks: it trains, pauses, begins again, says what fails, and its networks read."""

from __future__ import annotations

import numpy as np
import pytest
from IPython.display import HTML
from support import ROOT
from support_live import LiveView, live

from sequential_fmnist.networks import NETWORKS
from snn_tutorial import load_results
from snn_tutorial.live.train import EPOCHS, LR, TESTED, TRAINED, train_on_page, trained

pytestmark = pytest.mark.xdist_group("browser_live")

NAMES = [kind.replace("-", " ") for kind in NETWORKS]


@pytest.fixture(scope="module")
def recorded():
    return load_results(ROOT / "results", "page_training")


@pytest.fixture(scope="module")
def shown(recorded):
    """A view that is quick: five epochs."""
    html = train_on_page(recorded).data
    first, rest = html.split('"schedule": [', 1)
    return HTML(f'{first}"schedule": [1, 1, 1, 1, 1], "unused": [{rest}')


def small(view: LiveView) -> None:
    view.set("training images", 250)
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
        for run in view.numbers()["runs"]:
            losses = [one["loss"] for one in run["history"]]
            assert losses[-1] < losses[0]
            assert run["history"][-1]["accuracy"] > 0.2
        assert "After 5 of 5 epochs" in view.said()
        view.figure.get_by_text("the curves as a table").click()
        assert view.figure.locator("tr").count() == 6
        reader = LiveView(view.page, view.problems, number=1)
        assert reader.said().count("(yours): ") == len(NETWORKS)
        for name in NAMES:
            reader.set("network", f"{name} (yours)")
            assert f"the {name} (yours) network answers: " in reader.said()
            assert np.shape(reader.numbers()["spikes"]) == (28, 8)
            assert "after 5 epochs" in reader.said()
        assert not reader.control("tau of the synapse").is_visible()


def test_the_same_seed_gives_the_same_curves_paused_or_not_and_another_one_others(browser, shown, tmp_path):
    with live(browser, shown, tmp_path) as view:
        view.set("training images", 500)
        view.set("hidden neurons", 8)
        losses = []
        for name in ("Train", "Train", "again with another seed"):
            press(view, name)
            if not losses:
                wait(view, "runs.some(({history}) => history.length)")
                press(view, "Pause")
                assert view.said() == "Paused."
                view.page.wait_for_timeout(300)  # what was on its way has come
                stopped = view.numbers()
                view.page.wait_for_timeout(500)
                assert view.numbers() == stopped
                press(view, "Resume")
            wait(view, ENDED)
            losses.append([one["loss"] for run in view.numbers()["runs"] for one in run["history"]])
        assert losses[0] == losses[1]
        assert not np.isclose(losses[0], losses[2]).any()


@pytest.mark.parametrize(
    ("part", "broken", "why", "failed"),
    [
        ("learner.lr = factor", "learner.lr = (kind === 2 ? NaN : 1) * factor", "no longer finite", [2]),
        ("new Worker(url)", "(kind ? null.x : new Worker(url))", "null", [1, 2]),
        ('"worker": "', '"worker": "no.such();', "no is not defined", [0, 1, 2]),
        ('"images": "7', '"images": "!', "atob", [0, 1, 2]),
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


def test_curves_of_python_are_those_of_the_file(recorded):
    """One epoch again; the rest is as long as the command."""
    assert {name: recorded[name] for name in ("images", "tested", "epochs", "lr")} == {
        "images": TRAINED, "tested": TESTED, "epochs": EPOCHS, "lr": LR,
    }  # fmt: skip
    first = trained("plain", epochs=1)[0]
    assert first["train_loss"] == pytest.approx(recorded["networks"]["plain"][0]["train_loss"], rel=1e-3)
