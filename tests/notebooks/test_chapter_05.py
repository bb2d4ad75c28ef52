from __future__ import annotations

import re
import shlex

import nbformat
import pytest
from support import ROOT

from sequential_fmnist.data import Images
from sequential_fmnist.experiments.repeated import RECIPES
from sequential_fmnist.networks import TUTORIAL_NETWORKS
from sequential_fmnist.options import take_options
from sequential_fmnist.train import TrainingConfig, make_parser
from sequential_fmnist.variants import NetworkSpec
from snn_tutorial.exercises.chapter_05 import EXERCISES


def test_the_rule_in_the_cell_and_that_of_the_package_skip_the_same_updates(run):
    assert "same scale and count: True" in run.printed()
    assert int(re.search(r"(\d+) steps until the last skip", run.printed())[1]) > 0


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
        ("05.4", [0.7093, 0.8203], "per cent"),
        ("05.4", [69.0, 80.6], "one more run"),
    ],
)
def test_mistakes_are_named(number, answer, why):
    is_right, said = EXERCISES[number].reply(answer)
    assert not is_right
    assert why in said
