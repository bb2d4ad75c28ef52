"""``python -m snn_exchange NETWORK FILE``: what is written, and one line for what cannot be."""

from __future__ import annotations

import pytest
import torch

from sequential_fmnist import pretrained
from sequential_fmnist.checkpoint import load as load_checkpoint
from sequential_fmnist.checkpoint import save as save_checkpoint
from sequential_fmnist.networks import NETWORKS, make_network
from sequential_fmnist.train import TrainingConfig, fit
from snn_core.functional import reset_net
from snn_exchange import OnImages, from_nir, read_nir
from snn_exchange.__main__ import main

pytestmark = pytest.mark.xdist_group("exchange")


@pytest.fixture(scope="module")
def run(embedded, tmp_path_factory):
    """The folder of a short run, and beside its checkpoints files that are none."""
    folder = tmp_path_factory.mktemp("run")
    config = TrainingConfig(model="feedback", hidden=8, epochs=1, seed=3)
    fit(config, *embedded, output_dir=folder, progress=False)
    state = load_checkpoint(folder / "latest.pt")
    save_checkpoint(folder / "other.pt", state | {"config": state["config"] | {"model": "plain"}})
    save_checkpoint(folder / "gru.pt", state | {"config": state["config"] | {"model": "gru"}})
    save_checkpoint(folder / "empty.pt", {})
    (folder / "damaged.pt").write_bytes((folder / "latest.pt").read_bytes()[:-1])
    return folder


@pytest.fixture
def images(few):
    return few[1].images.float() / 255


def outputs(net, images):
    with torch.no_grad():
        found = net(images)
    reset_net(net)
    return found


@pytest.mark.parametrize("name", ["latest.pt", "best.pt"])
def test_network_of_a_checkpoint_is_written(name, run, images, tmp_path, capsys):
    target = tmp_path / "out" / "net.nir"
    assert main([str(run / name), str(target)]) == 0
    net = make_network("feedback", hidden=8)
    net.load_state_dict(load_checkpoint(run / name)["model"])
    expected = outputs(net, images)
    assert torch.equal(outputs(OnImages(from_nir(read_nir(target))), images), expected)
    assert expected.max() > 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", NETWORKS)
def test_shipped_weights_are_written(kind, images, tmp_path):
    assert main([kind, str(tmp_path / "net.pt2"), "--columns", "3"]) == 0
    program = torch.export.load(tmp_path / "net.pt2").module()
    expected = outputs(pretrained.load(kind)[0], images[..., 9:12])
    torch.testing.assert_close(program(images[..., 9:12]), expected, rtol=1e-5, atol=1e-4)


def test_difference_that_is_allowed_is_named(tmp_path, capsys):
    assert main(["stateful-synapse", str(tmp_path / "net.nir"), "--allow", "synapse-filter"]) == 0
    said = capsys.readouterr().err
    assert "warning: not exact in NIR: sy1: a SynapseFilter" in said
    assert said.count("\n") == 1
    assert "sy1" in read_nir(tmp_path / "net.nir").nodes


def test_dialect_is_passed_on(tmp_path):
    assert main(["feedback", str(tmp_path / "net.nir"), "--dialect", "snntorch"]) == 0
    assert "sn1_sum" in read_nir(tmp_path / "net.nir").nodes


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["plain", "net.h5"], 2, "net.h5: the suffix must be one of .nir, .pt2, .onnx, got '.h5'"),
        (["", "net.nir"], 1, "checkpoint cannot be used: Is a directory"),
        (["plain"], 2, "the following arguments are required: FILE"),
        (["stateful-synapse", "net.nir"], 2, "sy1: NIR cannot say it exactly: a SynapseFilter"),
        (["plain", "net.nir", "--allow", "all"], 2, "argument --allow: invalid choice: 'all'"),
        (["plain", "net.nir", "--dialect", "x"], 2, "argument --dialect: invalid choice: 'x'"),
        (["plain", "net.nir", "--columns", "3"], 2, "argument --columns: is for .pt2 and .onnx files"),
        (["plain", "net.pt2", "--columns", "0"], 2, "argument --columns: must be at least 1, got 0"),
        (["plain", "net.pt2", "--allow", "soft-reset"], 2, "argument --allow: is for .nir files"),
        (["nosuch.pt", "net.nir"], 1, "checkpoint nosuch.pt cannot be used: No such file"),
        (["{run}/damaged.pt", "net.nir"], 1, "damaged.pt cannot be used"),
        (
            ["{run}/empty.pt", "net.nir"],
            1,
            "empty.pt holds none of plain, stateful-synapse, feedback: 'config'",
        ),
        (["{run}/other.pt", "net.nir"], 1, "other.pt holds none of plain, stateful-synapse, feedback: Error"),
        (["{run}/gru.pt", "net.nir"], 1, "model must be one of plain, stateful-synapse, feedback, got 'gru'"),
        (["plain", "{run}/latest.pt/net.nir"], 1, "cannot write"),
    ],
)
def test_what_cannot_be_written_is_one_line(arguments, status, message, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.nir").write_text("older")
    try:
        assert main([text.format(run=run) for text in arguments]) == status
    except SystemExit as exit_:  # of argparse, after its usage
        assert exit_.code == status == 2
    said = capsys.readouterr()
    last = said.err.splitlines()[-1]
    assert last.startswith("python -m snn_exchange: error: ")
    assert message in last
    assert said.out == ""
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("net.nir", "older")]
