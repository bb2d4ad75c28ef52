"""``python -m snn_exchange NETWORK FILE``: what is written, and one line for what cannot be."""

from __future__ import annotations

import pytest
import torch

from sequential_fmnist.checkpoint import load as load_checkpoint
from sequential_fmnist.checkpoint import save as save_checkpoint
from sequential_fmnist.networks import make_network
from sequential_fmnist.train import TrainingConfig, fit
from snn_core.functional import reset_net
from snn_exchange import OnImages, from_nir, read_nir
from snn_exchange.__main__ import main

pytestmark = pytest.mark.xdist_group("exchange")


@pytest.fixture(scope="module")
def run(embedded, tmp_path_factory):
    """The folder of a short run, and beside its checkpoint one of another network."""
    folder = tmp_path_factory.mktemp("run")
    fit(TrainingConfig(model="feedback", hidden=8, epochs=1), *embedded, output_dir=folder, progress=False)
    state = load_checkpoint(folder / "latest.pt")
    save_checkpoint(folder / "other.pt", state | {"config": state["config"] | {"model": "gru"}})
    return folder


def outputs(net, images):
    with torch.no_grad():
        found = net(images)
    reset_net(net)
    return found


def test_network_of_a_checkpoint_is_written(run, few, tmp_path, capsys):
    target = tmp_path / "out" / "net.nir"
    assert main([str(run / "latest.pt"), str(target), "--dialect", "snntorch"]) == 0
    net, images = make_network("feedback", hidden=8), few[1].images.float() / 255
    net.load_state_dict(load_checkpoint(run / "latest.pt")["model"])
    expected, graph = outputs(net, images), read_nir(target)
    assert torch.equal(outputs(OnImages(from_nir(graph)), images), expected)
    assert expected.max() > 0
    assert "sn1_sum" in graph.nodes
    assert capsys.readouterr().err == ""


def test_difference_that_is_allowed_is_named(tmp_path, capsys):
    assert main(["stateful-synapse", str(tmp_path / "net.nir"), "--allow", "synapse-filter"]) == 0
    said = capsys.readouterr().err
    assert "warning: not exact in NIR: sy1: a SynapseFilter" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plain", "net.h5"], "net.h5: the suffix must be one of .nir, .pt2, .onnx, got '.h5'"),
        (["stateful-synapse", "net.nir"], "sy1: NIR cannot say it exactly: a SynapseFilter"),
        (
            ["plain", "net.pt2", "--allow", "soft-reset"],
            "--allow and --dialect are for .nir files, got net.pt2",
        ),
        (["nosuch.pt", "net.nir"], "checkpoint nosuch.pt cannot be used: No such file"),
        (
            ["{run}/other.pt", "net.nir"],
            "other.pt holds none of plain, stateful-synapse, feedback: model must be",
        ),
        (["plain", "{run}/latest.pt/net.nir"], "cannot write"),
    ],
)
def test_what_cannot_be_written_is_one_line(arguments, message, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.nir").write_text("older")
    with pytest.raises(SystemExit, match=r"[12]"):
        main([text.format(run=run) for text in arguments])
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("python -m snn_exchange: error: ")
    assert message in last
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("net.nir", "older")]
