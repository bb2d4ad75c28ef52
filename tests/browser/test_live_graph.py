"""The view of a NIR graph in a browser: it shows the record, and its steps follow each other."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from IPython.display import HTML
from support_live import live

from sequential_fmnist.networks import NETWORKS, make_network
from snn_exchange import DIFFERENCES, to_nir
from snn_tutorial.live.graph import graph_walker

pytestmark = pytest.mark.xdist_group("browser_live")


def walker(model: str = "feedback", images: int = 3, **options) -> tuple[HTML, dict[str, np.ndarray]]:
    """Return a view of a graph with made-up numbers, and these."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = to_nir(make_network(model, hidden=4), allow=DIFFERENCES, **options)
    generator = np.random.default_rng(0)
    record = {}
    for name, node in graph.nodes.items():
        size = int(np.prod(next(iter(node.output_type.values()))))
        values = generator.standard_normal((28, images, size)).astype(np.float32)
        record[name] = (values > 0).astype(np.float32) if type(node).__name__ in ("IF", "LIF") else values
    return graph_walker(graph, record, generator.random((images, 28, 28))), record


@pytest.mark.parametrize(
    ("model", "options"), [*((name, {}) for name in NETWORKS), ("feedback", {"dialect": "snntorch"})]
)
def test_numbers_are_those_of_the_record(browser, tmp_path, model, options):
    html, record = walker(model, **options)
    with live(browser, html, tmp_path) as view:
        for image in range(3):
            view.set("test image", str(image))
            for t in (0, 1, 9, 26, 27):
                view.set("time step t", t)
                shown = view.numbers()
                assert (shown["t"], shown["image"]) == (t, image)
                assert shown["given"] == {name: values[t, image].tolist() for name, values in record.items()}
                mean = record["output"][: t + 1, image].mean(0, dtype=np.float64)
                np.testing.assert_allclose(shown["mean"], mean, rtol=1e-12, atol=1e-12)
                fire = {name: record[name][t, image] for name in ("sn1", "sn2")}
                parts = [f"{int(s.sum())} of {s.size} neurons fire in {name}" for name, s in fire.items()]
                assert view.said() == (
                    f"Step {t} of test image {image}: {'; '.join(parts)}; "
                    f"the mean output so far is largest for class {mean.argmax()}."
                )


def middle_of_column(view, column: int) -> tuple[float, float]:
    """Return where a column of the picture is on the page, 112 pixels wide for 28 columns."""
    canvas = view.figure.locator("canvas").bounding_box()
    left = view.figure.evaluate(
        # The frame of the picture is the first thing that is drawn from the left in its rows.
        """figure => {
            const canvas = figure.querySelector("canvas");
            const row = canvas.getContext("2d").getImageData(0, 60, canvas.width, 1).data;
            for (let x = 0; ; x++) if (row[4 * x + 3]) return x / devicePixelRatio;
        }"""
    )
    return canvas["x"] + left + 1 + 4 * column + 2, canvas["y"] + 60


def test_mouse_drags_through_the_steps(browser, tmp_path):
    with live(browser, walker()[0], tmp_path) as view:
        view.page.mouse.move(*middle_of_column(view, 3))
        assert view.numbers()["t"] == 9  # no button is down
        view.page.mouse.down()
        assert view.numbers()["t"] == 3
        assert view.control("time step t").input_value() == "3"
        view.page.mouse.move(*middle_of_column(view, 20))
        assert view.numbers()["t"] == 20
        view.page.mouse.move(1000, 100)
        assert view.numbers()["t"] == 27
        view.page.mouse.up()
        view.page.mouse.move(*middle_of_column(view, 5))
        assert view.numbers()["t"] == 27


def test_finger_chooses_a_column(browser, tmp_path):
    options = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
    with live(browser, walker("plain")[0], tmp_path, **options) as view:
        view.page.touchscreen.tap(*middle_of_column(view, 17))
        assert view.numbers()["t"] == 17


def test_plays_until_it_is_paused_and_begins_again_at_the_end(browser, tmp_path):
    with live(browser, walker()[0], tmp_path) as view:
        view.set("time step t", 24)
        play = view.figure.get_by_role("button").first
        play.click()
        assert play.inner_text() == "pause"
        view.page.wait_for_function("document.querySelector('figure').view.numbers().t === 27")
        assert play.inner_text() == "play"
        play.click()
        view.page.wait_for_function("document.querySelector('figure').view.numbers().t === 2")
        assert view.said() == "Test image 0 is read."
        play.click()
        assert play.inner_text() == "play"
        t = view.numbers()["t"]
        assert view.said().startswith(f"Step {t} of test image 0")
        view.page.wait_for_timeout(800)
        assert view.numbers()["t"] == t


def test_nothing_moves_by_itself_for_those_who_ask_for_it(browser, tmp_path):
    with live(browser, walker()[0], tmp_path, reduced_motion="reduce") as view:
        for t in (10, 11):
            view.figure.get_by_role("button", name="step").click()
            view.page.wait_for_timeout(400)
            assert view.numbers()["t"] == t
        view.figure.get_by_role("button", name="play").click()
        assert view.numbers()["t"] == 27


def test_playing_ends_when_the_view_is_taken_away(browser, tmp_path):
    with live(browser, walker()[0], tmp_path) as view:
        view.figure.get_by_role("button", name="play").click()
        moved = view.page.evaluate(
            """async () => {
                const figure = document.querySelector("figure");
                figure.remove();
                const before = figure.view.numbers().t;
                await new Promise((done) => setTimeout(done, 800));
                return figure.view.numbers().t - before;
            }"""
        )
        assert moved == 0
