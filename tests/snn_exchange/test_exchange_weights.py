"""SpikingJelly's weights, here and back, and programs of torch.export and ONNX: the same outputs, image by image."""

from __future__ import annotations

import io
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from support import require
from support_networks import spikingjelly_library

from experiments.networks import NetworkSpec, build
from sequential_fmnist import pretrained
from sequential_fmnist.networks import NETWORKS, FeedBackNet, make_network
from snn_core.functional import reset_net
from snn_exchange import (
    ExchangeError,
    OnImages,
    export,
    from_nir,
    from_spikingjelly,
    read_nir,
    to_nir,
    to_onnx,
    to_program,
    to_spikingjelly,
)

pytestmark = pytest.mark.xdist_group("exchange_weights")

every_model = pytest.mark.parametrize("model", NETWORKS)
THEIRS = {"plain": "PlainNet", "stateful-synapse": "StatefulSynapseNet", "feedback": "FeedBackNet"}


def spikingjelly_network(model: str) -> torch.nn.Module:
    """The network of SpikingJelly's own example, as its main function makes it."""
    try:
        from spikingjelly.activation_based import functional
        from spikingjelly.activation_based.examples import rsnn_sequential_fmnist as example
    except ImportError:
        require(False, "spikingjelly==2.0.0")
    net = getattr(example, THEIRS[model])()
    functional.set_step_mode(net, "m")
    return net


def firing(net: torch.nn.Module) -> torch.nn.Module:
    """Enlarge the weights, so that both layers fire."""
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.endswith("weight"):
                weight *= 3
    return net


def outputs(net, images):
    with torch.no_grad():
        result = net(images)
    if isinstance(net, torch.nn.Module):
        reset_net(net)
    return result


@every_model
def test_spikingjellys_weights_here(model, embedded):
    theirs = firing(spikingjelly_network(model))
    ours = from_spikingjelly(theirs.state_dict())
    assert type(ours) is NETWORKS[model]
    images = embedded[1].images.float() / 255
    with torch.no_grad():
        expected = theirs(images.squeeze(1).permute(2, 0, 1))
    found = outputs(ours, images)
    assert 0.01 < found.mean() < 0.99
    assert torch.equal(found.argmax(1), expected.argmax(1))  # the accuracy, to the last image
    assert (found != expected).float().mean() < 1e-3  # a rate is k/28; it hangs on the last digit in few


@every_model
def test_our_weights_there_and_back(model):
    ours = make_network(model)
    state = to_spikingjelly(ours)
    theirs = spikingjelly_network(model)
    assert list(state) == list(theirs.state_dict())
    theirs.load_state_dict(state, strict=True)
    back = from_spikingjelly(theirs.state_dict()).state_dict()
    assert all(torch.equal(tensor, back[name]) for name, tensor in ours.state_dict().items())


@every_model
def test_names_of_the_tutorials_text(model):
    """Networks as the tutorial's text writes them, which name their parts as ours."""
    require(find_spec("spikingjelly") is not None, "spikingjelly==2.0.0")
    theirs = spikingjelly_library().network(model, 16)
    assert all(
        torch.equal(tensor, theirs.state_dict()[name])
        for name, tensor in from_spikingjelly(theirs.state_dict()).state_dict().items()
    )


def test_checkpoint_file_of_their_example(tmp_path):
    theirs = spikingjelly_network("feedback")
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    torch.save(
        {"net": theirs.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, tmp_path / "c.pth"
    )
    ours = from_spikingjelly(str(tmp_path / "c.pth"))
    assert torch.equal(ours.fc1.weight, theirs.fc[0].weight)


def test_reading_weights_leaves_the_random_numbers_alone():
    state = to_spikingjelly(make_network("plain"))
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    from_spikingjelly(state)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc.0.weight": torch.zeros(4, 27)}, r"fc\.0\.weight must have shape \[4, 28\], got \[4, 27\]"),
        ({"fc.0.weight": torch.zeros(())}, r"fc\.0\.weight must have shape \[1, 28\], got \[\]"),
        ({"fc.2.bias": torch.full((10,), torch.nan)}, r"fc\.2\.bias holds NaN or infinity"),
        ({"fc.2.bias": torch.zeros(10, dtype=torch.long)}, r"fc\.2\.bias must be a tensor of floating-point"),
        ({"fc.2.bias": "text"}, r"fc\.2\.bias must be a tensor"),
        (
            {"fc.9.bias": torch.zeros(10)},
            "these are the weights of none of SpikingJelly's PlainNet.*'fc.9.bias'",
        ),
    ],
)
def test_wrong_weights_are_named(change, message):
    with pytest.raises(ExchangeError, match=message):
        from_spikingjelly(to_spikingjelly(make_network("plain", hidden=4)) | change)


def test_other_contents(tmp_path):
    with pytest.raises(ExchangeError, match="got nothing"):
        from_spikingjelly({})
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(ExchangeError, match=r"list\.pt: must hold a state dict, got a list"):
        from_spikingjelly(tmp_path / "list.pt")
    with pytest.raises(ExchangeError, match=r"net must be one of PlainNet, .* got a SpikingNet"):
        to_spikingjelly(build(NetworkSpec("plain")))
    with pytest.raises(FileNotFoundError):
        from_spikingjelly(tmp_path / "gone.pt")


# Programs. A trained network where time allows; few columns in every run, since each step is unrolled.


@pytest.fixture
def images(torture, embedded) -> torch.Tensor:
    columns = torture.count(fast=5, full=28)
    start = 9 if columns < 28 else 0
    return embedded[1].images[..., start : start + columns].float() / 255


@every_model
def test_exported_program_gives_the_same_outputs(model, images, tmp_path):
    net, _ = pretrained.load(model)
    export(net, tmp_path / "net.pt2", columns=images.shape[3])
    loaded = torch.export.load(tmp_path / "net.pt2")
    assert not [node.target for node in loaded.graph.nodes if "snn_core" in str(node.target)]
    program = loaded.module()
    expected = outputs(net, images)
    found = outputs(program, images)
    assert torch.equal(found.argmax(1), expected.argmax(1))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    assert torch.equal(
        program(images[:1]), program(images[:3])[:1]
    )  # any number of images, and no state is kept


@every_model
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


def test_network_and_its_state_are_not_changed():
    net = make_network("plain", hidden=4).train()
    net(torch.rand(3, 1, 28, 3))
    to_program(net, columns=2)
    assert net.training
    assert net.sn1.v.shape == (3, 4)
    assert net.sn1.backend == "auto"


def test_double_precision(tmp_path):
    net = make_network("feedback", hidden=4).double()
    images = torch.rand(5, 1, 28, 3, dtype=torch.float64)
    torch.testing.assert_close(to_program(net, 3).module()(images), outputs(net, images))


def test_export_chooses_by_the_suffix(tmp_path):
    net = firing(make_network("feedback", hidden=4))
    export(net, tmp_path / "net.nir", dt=1e-3)
    images = torch.rand(4, 1, 28, 28)
    assert torch.equal(
        outputs(OnImages(from_nir(read_nir(tmp_path / "net.nir"))), images), outputs(net, images)
    )
    with pytest.raises(
        ExchangeError, match=r"net\.h5: the suffix must be one of \.nir, \.pt2, \.onnx, got '\.h5'"
    ):
        export(net, tmp_path / "net.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.nir"]


def test_network_that_cannot_be_traced_is_one_error():
    class Odd(torch.nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(ExchangeError, match=r"^torch\.export cannot trace a Odd: [^\n]+$"):
        to_program(Odd())


@pytest.mark.parametrize("suffix", [".nir", ".onnx"])
def test_missing_package_is_named_with_its_fix(suffix, tmp_path, monkeypatch):
    for package in ("nir", "onnx"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ExchangeError, match=r"needs the package (nir|onnx): pip install 'snn-core\[exchange\]'"
    ):
        export(make_network("plain", hidden=2), tmp_path / f"net{suffix}")


def test_without_the_packages_the_rest_still_works(monkeypatch):
    monkeypatch.setitem(sys.modules, "nir", None)
    assert isinstance(from_spikingjelly(to_spikingjelly(make_network("feedback"))), FeedBackNet)
    with pytest.raises(ExchangeError, match="needs the package nir"):
        to_nir(make_network("plain"))
    torch.export.save(to_program(make_network("plain", hidden=2), 1), io.BytesIO())
