from __future__ import annotations

import pytest
import torch
from support_notebooks import definitions

from sequential_fmnist.data import DataError
from sequential_fmnist.experiments import collapse
from sequential_fmnist.networks import make_network
from snn_core.functional import reset_net


def test_the_chapter_runs_and_its_solutions_are_right(run):
    # What it says of its numbers, the chapter asserts itself.
    assert "one update" in run.notebook.cells[0].source.lower()


@pytest.mark.parametrize("detached", [True, False])
def test_factors_of_the_feedback_network_are_autograds(detached):
    torch.manual_seed(0)
    net, images = make_network("feedback"), torch.rand(1, 1, 28, 28)
    net.sn1[0].sub_module.detach_reset = detached
    node, rc = net.sn1[0].sub_module, net.sn1[0].rc
    chapter = definitions("06", "step_factors", "watch")
    factors = chapter["step_factors"](net, images, detached)
    h = chapter["watch"](net, images).h

    def next_h(h):
        reset_net(net)
        s = node(h)
        return node.v + rc(torch.cat((torch.zeros_like(h), s), -1))

    for t in (0, 5, 20):
        expected = torch.autograd.functional.jacobian(next_h, h[t, 0].detach())
        assert torch.allclose(factors[t, 0], expected, atol=1e-5)


def test_a_damaged_state_is_refused(tmp_path, monkeypatch):
    content = bytearray(collapse.PATH.read_bytes())
    content[-1] ^= 1
    (tmp_path / "collapse.npz").write_bytes(content)
    monkeypatch.setattr(collapse, "PATH", tmp_path / "collapse.npz")
    with pytest.raises(DataError, match="expected SHA-256"):
        collapse.load()
