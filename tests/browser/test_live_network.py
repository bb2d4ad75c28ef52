"""The trained networks in a browser: every hidden spike and every answer is that of snn_core."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from support_live import live

from sequential_fmnist import pretrained
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.networks import NETWORKS, columns_as_sequence
from snn_core.functional import reset_net, scan
from snn_tutorial.live.network import gradient_explorer, network_explorer

pytestmark = pytest.mark.xdist_group("browser_live")


@pytest.fixture(scope="module")
def data():
    return SequentialFashionMNIST(train=False, source="embedded", verbose=False)


def pictures(data, count):
    """Return the first pictures, ``[n, 28, 28]``, as they are seen."""
    return data.images[:count].reshape(-1, 28, 28).numpy()


def explorer(data, count=8, **options) -> HTML:
    labels = data.labels[:count].tolist()
    return network_explorer(pictures(data, count), labels, data.classes, Figure(figsize=(1, 1)), **options)


def in_the_library(kind, images):
    """Return the answers ``[n]`` and the hidden spikes ``[T, n, hidden]``, in double precision as in JavaScript."""
    net, _ = pretrained.load(kind)
    x = torch.from_numpy(images)[:, None].double() / 255
    with torch.no_grad():
        answers = net.double()(x).argmax(1)
        reset_net(net)
        spikes = scan(columns_as_sequence(x), net.fc1, net.sn1)
    return answers.numpy(), spikes.numpy()


def gradients(data, count=4) -> HTML:
    return gradient_explorer(
        pictures(data, count), data.labels[:count].tolist(), data.classes, Figure(figsize=(1, 1))
    )


@pytest.mark.parametrize("count", [20, pytest.param(1_000, marks=pytest.mark.nightly)])
def test_answers_and_spikes_are_those_of_the_library(browser, data, tmp_path, count):
    images = pictures(data, count)
    with live(browser, explorer(data, count), tmp_path) as view:
        for kind in NETWORKS:
            answers, spikes = in_the_library(kind, images)
            assert spikes.any()
            view.set("network", kind.replace("-", " "))
            for k, label in enumerate(data.labels[:count].tolist()):
                view.set("picture", f"{k}: {data.classes[label]}")
                numbers = view.numbers()
                assert np.array_equal(numbers["spikes"], spikes[:, k])
                assert np.argmax(numbers["means"]) == answers[k]


def test_blank_columns_threshold_tau_and_feedback_change_the_network_as_they_say(browser, data, tmp_path):
    image = torch.from_numpy(pictures(data, 1))[None].double() / 255
    with live(browser, explorer(data), tmp_path) as view:
        view.set("blank columns after it", 5)
        seen = torch.cat([image, torch.zeros(1, 1, 28, 5)], 3).double()
        assert torch.equal(torch.tensor(view.numbers()["columns"], dtype=torch.float64), seen[0, 0].T)
        for kind, change in (("feedback", "feedback"), ("stateful-synapse", "tau of the synapse")):
            net = pretrained.load(kind)[0].double()
            view.set("network", kind.replace("-", " "))
            view.set("threshold", 1.5)
            with torch.no_grad():
                if kind == "feedback":
                    view.set(change, False)
                    net.sn1[0].rc.weight[:, 32:] = 0
                    net.sn1[0].sub_module.v_threshold = 1.5
                else:
                    view.set(change, 10.0)
                    net.sy1[0].w.fill_(-np.log(9.0))
                    net.sn1.v_threshold = 1.5
                means = net(seen)[0]
            torch.testing.assert_close(
                torch.tensor(view.numbers()["means"], dtype=torch.float64), means, rtol=1e-9, atol=1e-9
            )


@pytest.mark.parametrize("how", ["touch", "keyboard"])
def test_reader_draws_a_picture(browser, data, tmp_path, how):
    with live(browser, explorer(data), tmp_path, has_touch=True) as view:
        view.page.get_by_role("button", name="clear").click()
        assert not np.any(view.numbers()["columns"])
        pad = view.figure.locator("canvas.snn-pad")
        pad.scroll_into_view_if_needed()
        box = pad.bounding_box()
        across = [box["x"] + part * box["width"] for part in (0.2, 0.8)]
        middle = box["y"] + box["height"] / 2
        if how == "touch":
            for part in range(21):
                view.page.touchscreen.tap(across[0] + part / 20 * (across[1] - across[0]), middle)
        else:
            pad.focus()
            for key in [*["ArrowLeft"] * 8, *["Space", "ArrowRight"] * 17]:
                view.page.keyboard.press(key)
        assert view.control("picture").input_value() == "your drawing"
        drawn = np.array(view.numbers()["columns"])
        assert (drawn[8:20, 13:15] > 0.5).all()
        assert not drawn[:, :8].any()


def test_landing_page_reads_until_it_is_drawn_over_the_outline(browser, data, tmp_path):
    with live(browser, explorer(data, draws_first=True), tmp_path, reduced_motion="reduce") as view:
        view.page.wait_for_function(
            "document.querySelector('.snn-said').value.startsWith('After 28 columns')"
        )
        pad = view.figure.locator("canvas.snn-pad")
        box = pad.bounding_box()
        view.page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 10)
        view.page.mouse.down()
        view.page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 10)  # at once: no gap, no dabs
        view.page.mouse.up()
        grey = pad.evaluate("canvas => [...canvas.getContext('2d').getImageData(0, 0, 28, 28).data]")
        grey = np.array(grey).reshape(28, 28, 4)[..., 0]
        assert np.ptp(grey[1, 7:21]) == 0 and grey[1, 7] > 200
        # The outline of the boot is faint, and is not read.
        assert 60 < grey[10:].max() < 80
        assert view.control("picture").input_value() == "your drawing"


@pytest.mark.parametrize("kind", NETWORKS)
def test_gradients_are_those_of_autograd(browser, data, tmp_path, kind):
    with live(browser, gradients(data), tmp_path) as view:
        view.set("network", kind.replace("-", " "))
        for k, label in enumerate(data.labels[:4].tolist()):
            view.set("picture", f"{k}: {data.classes[label]}")
            for is_cut in (False, True):
                view.set("cut the gradient through the reset", is_cut)
                net = pretrained.load(kind)[0].double()
                for part in net.modules():
                    if hasattr(part, "detach_reset"):
                        part.detach_reset = is_cut
                x = (torch.from_numpy(pictures(data, 4)[k])[None, None].double() / 255).requires_grad_()
                outputs = scan(columns_as_sequence(x), *net.children())[:, 0, label] * net.scale
                for output, total in (
                    ("of the last step alone", outputs[-1]),
                    ("mean of all steps", outputs.mean()),
                ):
                    view.set("output", output)
                    (expected,) = torch.autograd.grad(total, x, retain_graph=True)
                    found = torch.tensor(view.numbers()["columns"], dtype=torch.float64)
                    torch.testing.assert_close(found, expected[0, 0].T, rtol=1e-9, atol=1e-12)
