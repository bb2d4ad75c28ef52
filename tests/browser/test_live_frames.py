"""Views of what Python has computed: for each choice and step they draw the numbers of the library, runs and data."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from IPython.display import HTML
from support import ROOT
from support_live import LiveView, live

from sequential_fmnist.networks import make_network
from snn_core.functional import scan
from snn_core.synapse import LowPassSynapse
from snn_exchange import DIFFERENCES, to_nir
from snn_tutorial import load_results
from snn_tutorial.live.border import border_explorer
from snn_tutorial.live.divergence import Run, first_difference, side_by_side
from snn_tutorial.live.graph import graph_walker
from snn_tutorial.live.reading import column_reader
from snn_tutorial.live.schedule import schedule
from snn_tutorial.plot.fair import MEMORIES

pytestmark = pytest.mark.xdist_group("browser_live")

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 28, 28)) * (np.arange(28) % 3 > 0)
STEPS, PICTURES, NEURONS = 6, 3, 4
INSIDE, FAIR = (load_results(ROOT / "results", name) for name in ("fair_inside", "fair"))
RATIOS = FAIR["groups"]["fair-ratios"]


def runs() -> tuple[Run, Run]:
    """Return runs that differ in images 0 and 2, first in steps 2 and 0."""
    generator = np.random.default_rng(0)
    spikes = generator.integers(0, 2, (STEPS, PICTURES, NEURONS)).astype(np.float32)
    other = spikes.copy()
    for place in ((2, 0, 3), (2, 0, 1), (4, 0, 0), (0, 2, 2)):
        other[place] = 1 - other[place]
    potentials = generator.normal(size=(2, STEPS, PICTURES, NEURONS)).astype(np.float32)
    return Run("ours", spikes, potentials[0]), Run("theirs", other, potentials[1])


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


VIEWS = {
    "reading": lambda: column_reader(IMAGES, [1, 0, 1], ("boot", "bag")),
    "border": lambda: border_explorer(RATIOS, INSIDE),
    "schedule": lambda: schedule({"fc1": 32, "sn1": 32, "fc2": 10}, 28, 64, 16),
    "divergence": lambda: side_by_side({"a change": runs(), "none": (runs()[0], runs()[0])}),
    "graph": lambda: walker()[0],
}


@pytest.fixture
def view(request, browser, tmp_path):
    with live(browser, VIEWS[request.param](), tmp_path) as opened:
        yield opened


def on(name: str):
    return pytest.mark.parametrize("view", [name], indirect=True)


def panels(view: LiveView, chart: int = 0) -> list[list[dict]]:
    """Return the marks of each panel of a chart."""
    return [panel["marks"] for panel in view.numbers()["charts"][chart]]


@on("reading")
def test_pictures_are_read_by_columns_and_by_rows(view):
    assert view.numbers()["t"] == 9
    for image, name in enumerate(["0: bag", "1: boot", "2: bag"]):
        for order in ("column", "row"):
            view.set("image", name)
            view.set("read by", order)
            x_seq = (IMAGES[image].T if order == "column" else IMAGES[image]) / 255
            seen = np.where(np.arange(28)[:, None] <= 9, x_seq, 0.08 + 0.22 * x_seq)
            seen = seen if order == "column" else seen.T
            [[shown, _]], [[now, _]], [[so_far, _]] = (panels(view, chart) for chart in range(3))
            assert shown["columns"] == pytest.approx(seen, abs=1e-6)
            assert now["x"] == pytest.approx(x_seq[9], abs=1e-6)
            assert so_far["columns"][:10] == pytest.approx(x_seq[:10], abs=1e-6)
            assert np.unique(so_far["columns"][10:]) == pytest.approx([0.08])


@on("reading")
def test_plays_to_the_end_once_is_stopped_by_the_slider_and_begins_anew(view):
    def wait_for(condition: str) -> None:
        view.page.wait_for_function(
            f"() => {{ const {{t}} = document.querySelector('figure').view.numbers(); return {condition}; }}"
        )

    play, again = (view.figure.get_by_role("button", name=name) for name in ("play", "start again"))
    assert not again.is_visible()
    view.set("time step t", 24)
    view.figure.get_by_role("button", name="step").click()
    assert view.numbers()["t"] == 25
    play.click()
    wait_for("t === 27")
    view.page.wait_for_timeout(300)
    assert view.numbers()["t"] == 27
    play.click()  # from the start
    wait_for("t >= 2")
    view.control("time step t").press("ArrowRight")
    stopped = view.numbers()["t"]
    view.page.wait_for_timeout(300)
    assert view.numbers()["t"] == stopped < 27
    view.page.emulate_media(reduced_motion="reduce")
    play.click()
    assert view.numbers()["t"] == 27
    view.set("image", "2: bag")
    again.click()
    assert (view.numbers()["t"], view.control("image").input_value()) == (9, "0: bag")
    assert not again.is_visible()


@on("border")
def test_numbers_are_those_of_the_runs(view):
    mean = {(case["kind"], case["name"]): case["accuracy"]["mean"] for case in RATIOS}
    for k, ratio in enumerate((100, 30, 10, 3, 1, 0.3, 0.1)):
        tau = round(200 / ratio, 1)
        view.set("τ at the start (steps)", tau if tau < 100 else round(tau))
        for word, flag in (("learned", True), ("fixed", False)):
            view.set("train τ as well", flag)
            [[left], *shown] = panels(view)
            expected = [
                [mean[kind, f"tau {word}, D / tau = {ratio}"] for kind in MEMORIES],
                [INSIDE["ratios"][kind]["cue"][k] for kind in MEMORIES],
            ]
            here = [[mark["y"] for mark in marks if mark.get("hollow")] for marks in shown]
            assert here == [[[pytest.approx(100 * one)] for one in row] for row in expected]
        spike = torch.zeros(201, 1, 1, dtype=torch.float64)
        spike[0] = 1
        current = scan(spike, LowPassSynapse(tau).double()).flatten()
        assert left["y"] == pytest.approx((current / current[0]).tolist(), rel=1e-6, abs=1e-30)


@on("schedule")
def test_both_orders_do_all_the_work_after_the_layer_before_and_one_of_them_keeps_less(view):
    begun: list[list[list[int]]] = [[], []]
    for stop in range(0, 48, 4):  # four parts of a sequence
        view.set("work done", stop + 1)
        for order, (_, _, now, *_) in zip(begun, panels(view), strict=True):
            (place,) = np.argwhere(now["columns"]).tolist()
            order.append([place[0] // 4, place[1]])
    for order in begun:
        assert sorted(order) == [[block, layer] for block in range(4) for layer in range(3)]
        assert all([block, layer - 1] in order[:k] for k, (block, layer) in enumerate(order) if layer)
    kilobytes = 4 * 28 * 16 * 32 / 1000  # of a block's output of 32 neurons
    view.set("work done", 4 * 4)  # four blocks: the first layer
    assert view.said().startswith(
        f"{4 * kilobytes:.0f} kB wait for the next layer in one order, {kilobytes:.0f} kB"
    )
    waits = [np.sum(waiting["columns"]) for _, waiting, *_ in panels(view)]
    assert waits == [4 * 4, 4]
    view.set("work done", 3 * 4 * 4)
    assert view.said().startswith("0 kB wait for the next layer in one order, 0 kB")


@on("divergence")
def test_first_difference_is_found_and_shown(view):
    def differing() -> list[int]:
        here, there = (np.array(panels(view)[0][k]["columns"]).sum(1) for k in range(2))
        return (here + there).tolist()

    here, there = runs()
    assert [first_difference(here, there, image) for image in range(PICTURES)] == [(2, 1), None, (0, 2)]
    assert differing() == [0, 0, 2, 0, 1, 0]
    for mark, run in zip(panels(view)[1][1:], (here, there), strict=True):
        np.testing.assert_allclose(mark["y"], run.potentials[:, 0, 1], rtol=1e-6)
    who = "here" if here.spikes[2, 0, 1] else "there"
    assert f"First difference: step 2, neuron 1 fires {who} alone. So far 12.5 %" in view.said()
    view.set("time step t", 2)
    assert differing() == [0, 0, 2, 0, 0, 0]
    assert len(panels(view)[1][1]["y"]) == 3
    view.set("image", 1)
    assert "No spike of this image differs." in view.said()
    view.set("change", "none")
    view.set("image", 2)
    assert "No spike of this image differs." in view.said()


@pytest.mark.parametrize(
    ("model", "options"), [("feedback", {}), ("feedback", {"dialect": "snntorch"}), ("stateful-synapse", {})]
)
def test_nodes_give_what_was_recorded(browser, tmp_path, model, options):
    html, record = walker(model, **options)
    with live(browser, html, tmp_path) as view:
        for image, t in ((0, 9), (2, 0), (2, 27)):
            view.set("test image", str(image))
            view.set("time step t", t)
            shown = {
                panel["title"].split()[1].strip(":"): panel["marks"] for panel in view.numbers()["charts"][1]
            }
            assert {name: marks[0]["y"] for name, marks in shown.items()} == {
                name: values[t, image].tolist() for name, values in record.items()
            }
            mean = record["output"][: t + 1, image].mean(0, dtype=np.float64)
            np.testing.assert_allclose(shown["output"][1]["y"], mean, rtol=1e-6, atol=1e-6)
