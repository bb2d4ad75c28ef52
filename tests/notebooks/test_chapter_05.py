from __future__ import annotations

import re
import shlex

import nbformat
import pytest
import torch
from support import ROOT
from support_notebooks import definitions
from torch import nn

from sequential_fmnist.data import Images
from sequential_fmnist.experiments.repeated import RECIPES
from sequential_fmnist.networks import TUTORIAL_NETWORKS
from sequential_fmnist.options import take_options
from sequential_fmnist.train import TrainingConfig, make_parser
from sequential_fmnist.variants import NetworkSpec
from snn_core.functional import SkipOverflow
from snn_tutorial.exercises.chapter_05 import EXERCISES


def test_the_rule_in_the_cell_and_that_of_the_package_skip_the_same_updates(run):
    assert int(re.search(r"(\d+) steps until the last skip", run.printed())[1]) > 0
    in_the_cell = definitions("05", "step_unless_overflow")["step_unless_overflow"]
    weights = [nn.Parameter(torch.zeros(3)) for _ in range(2)]
    ours, packaged = (torch.optim.SGD([weight], lr=1.0) for weight in weights)
    rule, scale, good = SkipOverflow(), 65_536.0, 0
    torch.manual_seed(0)
    for step in range(4_100):
        gradient = torch.rand(3) * {0: 4, 1: 8, 7: 16}.get(step, 0.1)
        for weight in weights:
            weight.grad = gradient.clone()
        scale, good = in_the_cell(ours, weights[:1], scale, good)
        rule.step(packaged)
        rule.update()
        assert rule.state_dict() == {"scale": scale, "good": good}
    assert torch.equal(*weights)


def test_the_printed_commands_give_the_published_runs():
    notebook = nbformat.read(ROOT / "notebooks" / "05_training_curves.ipynb", as_version=4)
    (block,) = re.findall(r"```bash\n(.*?)```", "\n".join(cell.source for cell in notebook.cells), re.DOTALL)
    commands = re.findall(r"^python -m sequential_fmnist (.*)", block.replace("\\\n", ""), re.MULTILINE)
    folders = set()
    for recipe in ("90 epochs, as published", "64 epochs, as published"):
        training, standardise, cut, others = RECIPES[recipe]
        for model in TUTORIAL_NETWORKS:
            given = vars(make_parser().parse_args(shlex.split(commands.pop(0))))
            folders.add(given.pop("output_dir"))
            network, images, config = (
                take_options(kind, given, {}) for kind in (NetworkSpec, Images, TrainingConfig)
            )
            where = cut if model == "feedback" else others
            assert network == NetworkSpec(model, detach_reset=where)
            assert images == Images(standardise=standardise)
            assert config == TrainingConfig(**training, drop_last=True, amp=True)
            assert not given
    assert len(folders) == 6
    assert not commands


@pytest.mark.parametrize(
    ("number", "answer", "why"),
    [
        ("05.1", [4_000, 6], "after update 4,000"),
        ("05.1", [4_001, 1], "doubles again"),
        ("05.2", 13, "counted from 1"),
        ("05.3", 10, "equal variances"),
    ],
)
def test_mistakes_are_named(number, answer, why):
    is_right, said = EXERCISES[number].reply(answer)
    assert not is_right
    assert why in said
