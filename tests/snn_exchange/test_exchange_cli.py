"""``python -m snn_exchange NETWORK FILE``: what is written, and one line for what cannot be."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from sequential_fmnist import checkpoint
from sequential_fmnist.networks import columns_as_sequence, make_network
from sequential_fmnist.train import TrainingConfig, fit
from sequential_fmnist.variants import NetworkSpec
from snn_exchange import from_nir, read_nir
from snn_exchange.__main__ import main

pytestmark = pytest.mark.xdist_group("exchange")


def test_network_of_a_checkpoint_is_written(few, tmp_path, capsys):
    network = NetworkSpec("feedback", hidden=8)
    options = {"about": dataclasses.asdict(network), "output_dir": tmp_path, "progress": False}
    fit(network.build(), *few, TrainingConfig(epochs=1), **options)
    target = tmp_path / "out" / "net.nir"
    capsys.readouterr()
    assert main([str(tmp_path / "latest.pt"), str(target), "--dialect", "snntorch"]) == 0
    assert capsys.readouterr().err == ""
    net, images = make_network("feedback", hidden=8), few[1].images.float() / 255
    net.load_state_dict(checkpoint.load(tmp_path / "latest.pt")["model"])
    graph = read_nir(target)
    found, expected = from_nir(graph)(columns_as_sequence(images)).mean(0), net(images)
    assert torch.equal(found, expected)
    assert expected.max() > 0
    assert "sn1_sum" in graph.nodes


def test_difference_that_is_allowed_is_named(tmp_path, capsys):
    assert main(["stateful-synapse", str(tmp_path / "net.nir"), "--allow", "synapse-filter"]) == 0
    said = capsys.readouterr().err
    assert "warning: not exact in NIR: sy1: a SynapseFilter" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plain", "net.h5"], "net.h5: the suffix must be one of .nir, .pt2, .onnx, got '.h5'"),
        (["stateful-synapse", "net.nir"], "sy1: NIR cannot express it exactly: a SynapseFilter"),
        (
            ["plain", "net.pt2", "--allow", "soft-reset"],
            "--allow and --dialect are for .nir files, got net.pt2",
        ),
        (["other.pt", "net.nir"], "other.pt holds none of plain, stateful-synapse, feedback: model must be"),
        (["plain", "other.pt/net.nir"], "cannot write"),
    ],
)
def test_what_cannot_be_written_is_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    checkpoint.save("other.pt", {"config": {"model": "transformer"}, "model": {}})
    (tmp_path / "net.nir").write_text("older")
    with pytest.raises(SystemExit, match=r"[12]"):
        main(arguments)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("python -m snn_exchange: error: ")
    assert message in last
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.nir", "other.pt"]
    assert (tmp_path / "net.nir").read_text() == "older"
