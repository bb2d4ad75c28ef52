"""Training on the page: the same losses and weights as the ordinary loop of torch with snn_core."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sequential_fmnist.networks import TUTORIAL_NETWORKS, make_network
from snn_core.functional import reset_net
from snn_tutorial.live import bundle, literal, packed
from snn_tutorial.live.javascript import CUTS, PRELUDE, with_cut
from snn_tutorial.live.learner import equations, kind_of

pytestmark = pytest.mark.xdist_group("browser_live")

SIDE, CLASSES, BATCH = 28, 10, 32
OPTIMIZERS = {
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9),
    "adam": lambda weights: torch.optim.Adam(weights, lr=0.005),
}
#: Trains a network on given batches; returns the losses and the tensors.
TRAIN = """
function trained(kind, pixels, labels, settings, weights, batches) {
  const tensors = Object.fromEntries(Object.entries(weights).map(([name, w]) => [name, Float64Array.from(w)]));
  const pictures = {pixels: $numbers.bytes(pixels), labels: $numbers.bytes(labels)};
  const pupil = new $learner.Learner(kinds[kind], equations, settings, tensors);
  const losses = batches.map((which) => pupil.step(pictures, which));
  const found = Object.fromEntries(Object.entries(tensors).map(([name, w]) => [name, Array.from(w)]));
  return {losses, tensors: found, accuracy: pupil.accuracy(pictures)};
}
"""


@pytest.fixture(scope="module")
def page(browser):
    cells: dict = {}
    kinds = [kind_of(kind, [], cells) for kind in TUTORIAL_NETWORKS]
    scripts = PRELUDE + bundle("learner") + TRAIN
    page = browser.new_page()
    page.add_script_tag(
        content=f"{scripts}var kinds = {literal(kinds)}, equations = {literal(equations(cells))};"
    )
    yield page
    page.close()


def in_the_library(net, x, labels, optimizer, clip, batches):
    losses = []
    for which in batches:
        optimizer.zero_grad()
        loss = F.mse_loss(net(x[which]), F.one_hot(labels[which], CLASSES).double())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        reset_net(net)
        losses.append(loss.item())
    with torch.no_grad():
        accuracy = (net(x).argmax(1) == labels).double().mean().item()
    return losses, accuracy


def check(page, embedded, kind, opt, cut, steps, clip=1e9, hidden=32, blank=0, order=range(SIDE), size=BATCH):
    data, count = embedded[0], 200
    generator = torch.Generator().manual_seed(1)
    batches = [torch.randint(count, (size,), generator=generator).tolist() for _ in range(steps)]
    net = with_cut(make_network(kind, hidden), cut).double()
    before = {name: weight.detach().flatten().tolist() for name, weight in net.named_parameters()}
    images, labels = data.images[:count], data.labels[:count]
    x = torch.cat([images[..., list(order)], images.new_zeros(count, 1, SIDE, blank)], 3).double() / 255
    optimizer = OPTIMIZERS[opt](net.parameters())
    losses, accuracy = in_the_library(net, x, labels, optimizer, clip, batches)
    settings = {
        "cut": list(CUTS).index(cut),
        "optimizer": list(OPTIMIZERS).index(opt),
        "lr": optimizer.param_groups[0]["lr"],
        "clip": clip,
        "batch": BATCH,
        "blank": blank,
        "order": list(order),
    }
    found = page.evaluate(
        "given => trained(...given)",
        [
            list(TUTORIAL_NETWORKS).index(kind),
            packed(images.transpose(2, 3).numpy()),
            packed(labels.numpy()),
            settings,
            before,
            batches,
        ],
    )
    assert found["losses"] == pytest.approx(losses, rel=0, abs=1e-9)
    assert found["accuracy"] == pytest.approx(accuracy)
    for name, weight in net.named_parameters():
        theirs = torch.tensor(found["tensors"][name], dtype=torch.float64).view_as(weight)
        torch.testing.assert_close(theirs, weight.detach(), rtol=0, atol=1e-9)
        assert before[name] != found["tensors"][name]


@pytest.mark.parametrize("kind", TUTORIAL_NETWORKS)
def test_a_few_steps_are_those_of_the_library(page, embedded, kind):
    opt, cut = {
        "plain": ("sgd", "in hidden neurons"),
        "stateful-synapse": ("adam", "in all neurons"),
        "feedback": ("sgd", "nowhere"),
    }[kind]
    check(page, embedded, kind, opt, cut, steps=10)


def test_limit_size_order_and_blank_columns_are_those_of_the_library(page, embedded):
    order = torch.randperm(SIDE, generator=torch.Generator().manual_seed(2)).tolist()
    options = {"clip": 0.1, "hidden": 10, "blank": 5, "order": order, "size": BATCH - 3}
    for opt in OPTIMIZERS:
        check(page, embedded, "feedback", opt, "in all neurons", steps=5, **options)


@pytest.mark.nightly
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("opt", OPTIMIZERS)
@pytest.mark.parametrize("kind", TUTORIAL_NETWORKS)
def test_fifty_steps_are_those_of_the_library(page, embedded, kind, opt, cut):
    check(page, embedded, kind, opt, cut, steps=50)
