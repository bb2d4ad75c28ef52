"""SpikingJelly's weights, here and back, and programs of torch.export and ONNX: the same outputs, image by image."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from support import count, require

from sequential_fmnist import pretrained
from sequential_fmnist.checkpoint import CheckpointError
from sequential_fmnist.networks import NETWORKS, TUTORIAL_NETWORKS, make_network
from snn_core.functional import reset_net
from snn_exchange import ExchangeError, export, from_spikingjelly, to_onnx, to_program, to_spikingjelly

pytestmark = pytest.mark.xdist_group("exchange_weights")

every_model = pytest.mark.parametrize("model", TUTORIAL_NETWORKS)


def spikingjelly_network(model: str) -> torch.nn.Module:
    """The network of SpikingJelly's own example, as its main function makes it."""
    require(find_spec("spikingjelly") is not None, "spikingjelly==2.0.0")
    from spikingjelly.activation_based import functional
    from spikingjelly.activation_based.examples import rsnn_sequential_fmnist as example

    net = getattr(example, NETWORKS[model].__name__)()
    functional.set_step_mode(net, "m")
    return net


def outputs(net, images):
    with torch.no_grad():
        result = net(images)
    reset_net(net)
    return result


@every_model
def test_spikingjellys_weights_here_and_back(model, embedded):
    theirs = spikingjelly_network(model)
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            if name.endswith("weight"):
                weight *= 3  # so that both layers fire
    ours = from_spikingjelly(theirs.state_dict())
    assert type(ours) is NETWORKS[model]
    images = embedded[1].images.float() / 255
    with torch.no_grad():
        expected = theirs(images.squeeze(1).permute(2, 0, 1))
    found = outputs(ours, images)
    assert 0.01 < found.mean() < 0.99
    assert torch.equal(found.argmax(1), expected.argmax(1))  # the accuracy, to the last image
    assert (found != expected).float().mean() < 1e-3  # a rate is k/28; it hangs on the last digit in few
    back = to_spikingjelly(ours)
    assert list(back) == list(theirs.state_dict())
    assert all(torch.equal(back[name], tensor) for name, tensor in theirs.state_dict().items())


def test_checkpoint_file_of_their_example_and_names_of_the_tutorials_text(tmp_path):
    net = make_network("feedback", hidden=16)
    assert torch.equal(from_spikingjelly(net.state_dict()).sn1[0].rc.weight, net.sn1[0].rc.weight)
    torch.save({"net": to_spikingjelly(net), "epoch": 3}, tmp_path / "c.pth")
    assert torch.equal(from_spikingjelly(tmp_path / "c.pth").fc1.weight, net.fc1.weight)
    (tmp_path / "c.pth").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"c\.pth cannot be used: "):
        from_spikingjelly(tmp_path / "c.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc.0.weight": torch.zeros(4, 27)}, r"no weights of a plain network: .*fc1\.weight.*\[4, 28\]"),
        ({"fc.9.bias": torch.zeros(10)}, "weights of none of SpikingJelly's PlainNet.*'fc.9.bias'"),
    ],
)
def test_wrong_weights_are_named(change, message):
    with pytest.raises(ExchangeError, match=message):
        from_spikingjelly(to_spikingjelly(make_network("plain", hidden=4)) | change)
    with pytest.raises(ExchangeError, match=r"net must be one of PlainNet, .* got a Identity"):
        to_spikingjelly(torch.nn.Identity())


# Programs. A trained network where time allows; few columns in every run, since each step is unrolled.


@pytest.fixture
def images(embedded) -> torch.Tensor:
    columns = count(fast=5, full=28)
    start = 9 if columns < 28 else 0
    return embedded[1].images[..., start : start + columns].float() / 255


@every_model
def test_exported_program_gives_the_same_outputs(model, images, tmp_path):
    net, _ = pretrained.load(model)
    expected = outputs(net, images)
    export(net, tmp_path / "net.pt2", columns=images.shape[3])
    program = torch.export.load(tmp_path / "net.pt2").module()
    found = program(images)
    assert torch.equal(found.argmax(1), expected.argmax(1))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    assert torch.equal(program(images[:1]), program(images[:3])[:1])  # any number of images, no state


@pytest.mark.parametrize(
    "model", [pytest.param("plain", marks=pytest.mark.nightly), "stateful-synapse", "feedback"]
)
def test_onnx_gives_the_same_outputs(model, images):
    onnxruntime = pytest.importorskip("onnxruntime")
    net, _ = pretrained.load(model)
    content = to_onnx(net, images.shape[3])
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(["outputs"], {"images": images.numpy()})
    expected = outputs(net, images).numpy()
    np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    assert b"site-packages" not in content  # nor any folder of this machine
    assert b"snn_core" not in content


def test_double_precision():
    net = make_network("plain", hidden=4).double().train()
    images = torch.rand(5, 1, 28, 3, dtype=torch.float64)
    expected = net(images)
    torch.testing.assert_close(to_program(net, 3).module()(images), expected)
    assert net.training and net.sn1.v is not None  # the network and its state are not changed


def test_network_that_cannot_be_traced_is_one_error():
    class Odd(torch.nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(ExchangeError, match=r"^torch\.export cannot trace a Odd: [^\n]+$"):
        to_program(Odd())


def test_missing_package_is_named_with_its_fix(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(ExchangeError, match=r"the package nir: pip install 'snn-core\[exchange\]'"):
        export(make_network("plain", hidden=2), tmp_path / "net.nir")
