"""The bookkeeping around a graphed step; that a GPU replays it rightly is tested in test_cuda_gpu.py."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from sequential_fmnist import train, trainer
from sequential_fmnist.config import TrainingConfig
from sequential_fmnist.training import fit


class Stand:
    """In the place of a GraphedStep, which needs a GPU: captures nothing and runs the step at every call."""

    made: list[Stand] = []  # noqa: RUF012

    def __init__(self, step, images, labels):
        self.step, self.batch_size, self.calls = step, len(labels), 0
        Stand.made.append(self)

    def __call__(self, images, labels):
        assert len(labels) == self.batch_size
        self.calls += 1
        return self.step(images, labels)


@pytest.mark.parametrize("opt", ["sgd", "adam"])
def test_full_batches_but_the_first_go_through_the_graph(few, monkeypatch, opt):
    plain = TrainingConfig(model="feedback", epochs=2, batch_size=60, opt=opt)
    graphed = TrainingConfig(model="feedback", epochs=2, batch_size=60, opt=opt)
    object.__setattr__(graphed, "cuda_graph", True)  # the configuration asks for a GPU
    monkeypatch.setattr(trainer, "GraphedStep", Stand)
    monkeypatch.setattr(Stand, "made", [])
    if opt == "adam":  # capturable is for GPUs
        adam = torch.optim.Adam
        monkeypatch.setattr(torch.optim, "Adam", lambda *a, capturable, **k: adam(*a, **k))
    net, history = fit(graphed, *few)
    assert [stand.calls for stand in Stand.made] == [
        2,
        2,
    ]  # 200 images: one eager step, two graphed, 20 are left
    expected, expected_history = fit(plain, *few)
    assert history == [pytest.approx(record, rel=1e-3) for record in expected_history]
    torch.testing.assert_close(net.state_dict(), expected.state_dict(), rtol=1e-3, atol=1e-4)


def test_a_graphed_step_copies_the_batch_in_and_hands_out_copies(monkeypatch):
    """With a stand for the GPU's graph, which replays what ran while it was captured."""
    ran: list[list] = []
    stand = SimpleNamespace(replay=lambda: [out.copy_(work()) for work, out in ran[0]])
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: stand)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: nullcontext())

    def step(images, labels):
        loss, rate = images.sum(), images * labels
        ran.append([(lambda: images.sum(), loss), (lambda: images * labels, rate)])
        return loss, rate

    first = torch.ones(3)
    graphed = trainer.GraphedStep(step, first, torch.ones(3))
    first.fill_(9)  # the graph has a buffer of its own
    assert len(ran) == 1
    loss, rate = graphed(torch.full((3,), 2.0), torch.tensor([1.0, 2.0, 3.0]))
    assert loss == 6
    graphed(torch.zeros(3), torch.ones(3))
    assert (loss, rate.tolist()) == (6, [2, 4, 6])  # not what a later step has written
    assert len(ran) == 1


@pytest.mark.parametrize("wrong", [{}, {"device": "cuda", "amp": True}])
def test_cuda_graph_is_refused_where_it_cannot_be(wrong):
    with pytest.raises(ValueError, match="cuda_graph needs device 'cuda' and no amp, got device 'c"):
        TrainingConfig(cuda_graph=True, **wrong)


def test_command_line_refuses_it_on_the_cpu(capsys):
    with pytest.raises(SystemExit, match="2"):
        train.main(["--cuda-graph", "--source", "embedded", "--output-dir", "nowhere"])
    assert "cuda_graph needs device 'cuda'" in capsys.readouterr().err
