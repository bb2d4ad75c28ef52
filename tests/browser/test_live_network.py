"""The trained networks in a browser: every hidden spike and every answer is that of snn_core."""

from __future__ import annotations

import copy
from itertools import product

import numpy as np
import pytest
import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from support import ROOT
from support_live import live

from sequential_fmnist import pretrained
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.evaluate import rate_loss
from sequential_fmnist.networks import TUTORIAL_NETWORKS, columns_as_sequence
from sequential_fmnist.pretrained import PretrainedError
from snn_core.functional import reset_net, scan
from snn_tutorial import load_results
from snn_tutorial.live.javascript import with_cut
from snn_tutorial.live.network import WAITING, gradient_explorer, network_explorer, waiting_networks

pytestmark = pytest.mark.xdist_group("browser_live")

RECORD = load_results(ROOT / "results", "waiting")
NAMES = [kind.replace("-", " ") for kind in TUTORIAL_NETWORKS]


@pytest.fixture(scope="module")
def data():
    return SequentialFashionMNIST(train=False, source="embedded", verbose=False)


def pictures(data, count):
    """Return the first pictures, ``[n, 28, 28]``, as they are seen."""
    return data.images[:count].reshape(-1, 28, 28).numpy()


def explorer(data, count=8, record=None) -> HTML:
    labels = data.labels[:count].tolist()
    return network_explorer(pictures(data, count), labels, data.classes, Figure(figsize=(1, 1)), record)


def in_the_library(kind, images):
    """Return the answers ``[n]`` and the hidden spikes ``[T, n, hidden]``, in double precision as in JavaScript."""
    net, _ = pretrained.load(kind)
    x = torch.from_numpy(images)[:, None].double() / 255
    with torch.no_grad():
        answers = net.double()(x).argmax(1)
        reset_net(net)
        spikes = scan(columns_as_sequence(x), net.fc1, net.sn1)
    return answers.numpy(), spikes.numpy()


def gradients(net, data, count=2) -> HTML:
    labels = data.labels[:count].tolist()
    return gradient_explorer(net, pictures(data, count), labels, data.classes, Figure(figsize=(1, 1)))


@pytest.mark.parametrize("count", [6, pytest.param(1_000, marks=pytest.mark.nightly)])
def test_answers_and_spikes_are_those_of_the_library(browser, data, tmp_path, count):
    images = pictures(data, count)
    expected = {kind: in_the_library(kind, images) for kind in TUTORIAL_NETWORKS}
    with live(browser, explorer(data, count), tmp_path) as view:
        for k, label in enumerate(data.labels[:count].tolist()):
            view.set("picture", f"{k}: {data.classes[label]}")
            numbers = view.numbers()
            for name, (answers, spikes) in zip(NAMES, expected.values(), strict=True):
                assert spikes.any()
                assert np.array_equal(numbers[name]["spikes"], spikes[:, k])
                assert numbers[name]["best"] == answers[k]


def test_blank_columns_tau_and_feedback_change_the_networks_as_they_say(browser, data, tmp_path):
    image = torch.from_numpy(pictures(data, 1))[None].double() / 255
    with live(browser, explorer(data), tmp_path) as view:
        view.set("blank columns", 7)
        seen = torch.cat([image, torch.zeros(1, 1, 28, 7)], 3).double()
        view.set("feedback", False)
        view.set("tau (steps)", 10.0)
        numbers = view.numbers()
        for kind, name in zip(TUTORIAL_NETWORKS, NAMES, strict=True):
            net = pretrained.load(kind)[0].double()
            with torch.no_grad():
                if kind == "feedback":
                    net.sn1[0].rc.weight[:, 32:] = 0
                elif kind == "stateful-synapse":
                    net.sy1[0].w.fill_(-np.log(9.0))
                means = net(seen)[0]
            assert torch.equal(torch.tensor(numbers[name]["columns"], dtype=torch.float64), seen[0, 0].T)
            found = torch.tensor(numbers[name]["means"], dtype=torch.float64)
            torch.testing.assert_close(found, means, rtol=1e-9, atol=1e-9)


def test_reader_draws_a_picture_by_finger_and_by_keys(browser, data, tmp_path):
    with live(browser, explorer(data), tmp_path, has_touch=True, reduced_motion="reduce") as view:
        word = lambda: view.figure.evaluate("figure => figure.view.shared.drawing.value")  # noqa: E731
        pad = view.figure.locator("canvas.snn-pad")
        box = pad.bounding_box()
        across = [box["x"] + part * box["width"] for part in (0.2, 0.8)]
        for how in ("touch", "keyboard"):
            view.page.get_by_role("button", name="clear").click()
            assert not np.any(view.numbers()["plain"]["columns"])
            assert view.said().startswith("Draw a garment")
            if how == "touch":
                for part in range(21):
                    at = across[0] + part / 20 * (across[1] - across[0])
                    view.page.touchscreen.tap(at, box["y"] + box["height"] / 2)
            else:
                pad.focus()
                for key in [*["ArrowLeft"] * 8, *["Space", "ArrowRight"] * 17]:
                    view.page.keyboard.press(key)
            assert view.control("picture").input_value() == "your drawing"
            drawn = np.array(view.numbers()["plain"]["columns"])
            # As wide as the square, in its middle.
            assert (drawn[3:25, 13:15] > 0.5).all()
            assert not drawn[:, :11].any()
        strokes = len(word())
        view.page.get_by_role("button", name="undo").click()
        assert len(word()) < strokes
        view.page.get_by_role("button", name="start again").click()
        assert word() == ""
        assert view.control("picture").input_value().startswith("0: ")


def test_site_links_to_the_pad_and_a_new_start_clears_the_address(browser, data, tmp_path):
    with live(browser, explorer(data, record=RECORD), tmp_path, reduced_motion="reduce") as view:
        view.page.add_script_tag(path=ROOT / "docs" / "site.js")
        view.page.keyboard.press("Tab")
        view.page.keyboard.press("Enter")
        assert view.page.evaluate("document.activeElement.matches('canvas.snn-pad')")
        view.set("tau (steps)", 1.1)
        assert view.page.evaluate("location.hash") == "#tau=1.1"
        view.figure.get_by_role("button", name="start again").click()
        assert view.page.evaluate("location.hash") == ""


def test_damaged_weights_are_refused(tmp_path):
    (tmp_path / "weights").write_bytes(WAITING.read_bytes()[:-1] + b"?")
    with pytest.raises(PretrainedError, match="damaged"):
        waiting_networks(RECORD, file=tmp_path / "weights")


def test_gradients_are_those_of_autograd(browser, data, tmp_path):
    net = pretrained.load("feedback")[0].double()
    with live(browser, gradients(net, data), tmp_path) as view:
        for (k, label), times in product(enumerate(data.labels[:2].tolist()), (0.0, 1.0, 1.5)):
            view.set("picture", f"{k}: {data.classes[label]}")
            view.set("weights of the loop, times", times)
            numbers = view.numbers()
            for way, where in (("detached", "in hidden neurons"), ("attached", "nowhere")):
                scaled = with_cut(copy.deepcopy(net), where)
                with torch.no_grad():
                    scaled.sn1[0].rc.weight[:, 32:] *= times
                x = torch.from_numpy(pictures(data, 2)[k])[None, None].double() / 255
                current = scaled.fc1(columns_as_sequence(x)).detach().requires_grad_()
                rates = scan(current, *list(scaled)[1:]).mean(0) * scaled.scale
                (expected,) = torch.autograd.grad(rate_loss(rates, data.labels[k : k + 1]), current)
                found = torch.tensor(numbers[way], dtype=torch.float64)
                torch.testing.assert_close(found, expected[:, 0], rtol=1e-9, atol=1e-12)
