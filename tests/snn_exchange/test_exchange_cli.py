"""``python -m sequential_fmnist --export FILE``: checked before the training, written after it."""

from __future__ import annotations

import pytest
import torch

from sequential_fmnist.checkpoint import load_checkpoint
from sequential_fmnist.networks import make_network
from sequential_fmnist.train import main
from snn_core.functional import reset_net
from snn_exchange import OnImages, from_nir, read_nir

pytestmark = pytest.mark.xdist_group("exchange")

ARGUMENTS = ["--source", "embedded", "--epochs", "1", "--hidden", "8", "--threads", "1", "--seed", "3"]


def test_trained_network_is_written(tmp_path, few):
    before = torch.get_num_threads()
    target = tmp_path / "out" / "net.nir"
    assert (
        main(
            [
                *ARGUMENTS,
                "--model",
                "feedback",
                "--output-dir",
                str(tmp_path / "run"),
                "--export",
                str(target),
            ]
        )
        == 0
    )
    torch.set_num_threads(before)
    net = make_network("feedback", hidden=8)
    net.load_state_dict(load_checkpoint(tmp_path / "run" / "latest.pt")["model"])
    images = few[1].images.float() / 255
    with torch.no_grad():
        expected = net(images)
        assert torch.equal(OnImages(from_nir(read_nir(target)))(images), expected)
    reset_net(net)
    assert expected.max() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--export", "net.h5"], "net.h5: the suffix must be one of .nir, .pt2, .onnx, got '.h5'"),
        (
            ["--model", "stateful-synapse", "--export", "net.nir"],
            "sy1: NIR cannot say it exactly: a SynapseFilter",
        ),
        (["--export", "."], "argument --export: must be a file to write, got the folder ."),
    ],
)
def test_what_cannot_be_written_is_said_before_the_training(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([*ARGUMENTS, "--output-dir", str(tmp_path / "run"), *arguments])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
