"""What stands outside the code stays true: README, Makefile, environment, continuous integration."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import tomllib

import pytest
import yaml
from support import ROOT

from snn_core import __version__

README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
readme_script = runpy.run_path(str(ROOT / "scripts" / "update_readme.py"))


def requirements(*extras: str) -> dict[str, str]:
    """Name of each package to its range of versions."""
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    pairs = (re.fullmatch(r"([\w-]+)(\[.*\])?(.*)", entry) for entries in lists for entry in entries)
    return {pair[1].lower(): pair[3] for pair in pairs}


def make(*arguments: str) -> str:
    """Return what make prints, also where the tests themselves run under make."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    argv = ["make", "--no-print-directory", *arguments]
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_version_is_written_once():
    assert PROJECT["version"] == __version__


def test_make_help_lists_every_command():
    listed = make("help")
    phony = re.findall(r"^\.PHONY: (\S+)", MAKEFILE, re.MULTILINE)
    assert {line.split()[0] for line in listed.splitlines()} == set(phony)
    assert {"tutorial", "test", "train", "lab", "figures", "ablation", "help"} <= set(phony)


def test_make_train_passes_model_and_epochs_on():
    dry = make("--dry-run", "train", "MODEL=plain", "EPOCHS=3", "ARGS=--tb")
    assert "-m snn_core.train --model plain --epochs 3 --tb" in dry


def test_make_ablation_passes_groups_and_options_on_and_installs_what_it_needs(tmp_path):
    dry = make("--dry-run", "ablation", f"VENV={tmp_path}", "ARGS=size --jobs 4")
    assert dry.rstrip().endswith("-m experiments size --jobs 4")
    assert "'.[experiments]'" in dry
    extra = PROJECT["optional-dependencies"]
    assert "snn-core[notebooks,experiments]" in extra["dev"]
    names = {re.match(r"[\w-]+", entry)[0] for entry in extra["experiments"]}
    assert names == {"joblib", "scipy", "distributed"}


def test_make_bench_uses_the_same_torch_for_every_library():
    dry = make("--dry-run", "bench", "ARGS=--quick")
    assert "-m benchmarks.throughput --quick" in dry
    for name in ("torch", "jax"):
        assert (
            f"--requirement benchmarks/requirements/{name}.txt --constraint build/bench/constraints.txt"
            in dry
        )


@pytest.mark.parametrize(
    ("argv", "options"), [([], "run_notebooks.py"), (["EPOCHS=4"], "run_notebooks.py --epochs 4 --out build")]
)
def test_make_tutorial_writes_in_place_only_without_parameters(argv, options):
    last = make("--dry-run", "tutorial", *argv).splitlines()[-1]
    assert last.rstrip().endswith(options)


def test_every_link_and_picture_of_the_readme_exists():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    local = [target for target in targets if "://" not in target]
    assert local
    assert [target for target in local if not (ROOT / target).exists()] == []


def test_every_path_on_the_map_exists():
    table = README.partition("## Map")[2]
    names = [
        name
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(.*?)`", row)
    ]
    assert len(names) > 8
    missing = [
        name for name in names if not (ROOT / name).exists() and not (ROOT / "snn_core" / name).exists()
    ]
    assert missing == []


def test_code_of_the_readme_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["current"].shape == (28, 8, 32)


def test_readme_shows_what_is_in_results():
    new = readme_script["generate"](README, ROOT / "results")
    assert new == README


def test_readme_table_by_hand():
    def run(model, seed, accuracy):
        config = {"model": model, "seed": seed}
        return {
            "config": config,
            "is_subset": False,
            "history": [{"test_accuracy": 0.1}, {"test_accuracy": accuracy}],
        }

    runs = [
        run("plain", 0, 0.7),
        run("plain", 1, 0.72),
        run("stateful-synapse", 0, 0.5),
        run("feedback", 0, 0.6),
    ]
    rows = readme_script["results_table"](runs).splitlines()
    assert rows[2] == "| plain | 1,258 | 71.0 % | 70.0 to 72.0 % |"
    assert rows[4] == "| feedback | 3,338 | 60.0 % | 60.0 to 60.0 % |"
    with pytest.raises(ValueError, match="embedded subset"):
        readme_script["results_table"]([runs[0] | {"is_subset": True}])


def test_readme_throughput_by_hand():
    def entry(batch, ours, theirs, key):
        return {
            "config": {"model": "feedback", "batch": batch, "T": 28, "hidden": 32},
            "libraries": {
                "snn_core": {key: {"median": ours}, "ratio": 1.0},
                "peer": {key: {"median": theirs}, "ratio": theirs / ours},
            },
        }

    results = {
        "libraries": {
            "snn_core": {"label": "snn_core, fused", "versions": {"snn-core": "0.1.0", "torch": "2.6"}},
            "peer": {"label": "Peer", "versions": {"peer": "3.2"}},
        },
        "steps": [entry(256, 2.0, 8.0, "ms"), entry(32, 1.0, 3.0, "ms"), entry(1024, 4.0, 8.0, "ms")],
        "epochs": [entry(256, 0.5, 1.0, "seconds")],
    }
    rows = readme_script["throughput_table"](results).splitlines()
    assert rows[2] == "| snn_core 0.1.0, fused | 2.00 ms |  | 0.50 s |"
    assert rows[3] == "| Peer 3.2 | 8.00 ms (4.0x) | 2.0x to 3.0x | 1.00 s (2.0x) |"
    with pytest.raises(ValueError, match="embedded subset"):
        readme_script["throughput_section"]({"is_subset": True})


def test_a_collapse_is_a_fall_by_more_than_ten_points_after_the_first_epochs():
    def run(seed, *accuracies):
        return {"config": {"seed": seed}, "history": [{"test_accuracy": accuracy} for accuracy in accuracies]}

    steady, falls = [0.1, 0.7, 0.2, 0.7, 0.2, 0.7, 0.61, 0.6], [0.7] * 7 + [0.59]
    assert readme_script["collapses"]([run(0, *steady), run(1, *falls)]) == [1]


@pytest.mark.parametrize(
    "name", ["training.json", *(path.name for path in (ROOT / "results").glob("seeds*.json"))]
)
def test_results_come_from_the_full_data_and_say_where(name):
    results = json.loads((ROOT / "results" / name).read_text())
    for run in results.get("runs", [results]):
        assert not run["is_subset"]
        assert run["provenance"]["torch"]
        assert run["provenance"]["processor"]


def test_conda_environment_asks_for_what_the_package_needs():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = {}
    for entry in environment["dependencies"]:
        name, bounds = re.fullmatch(r"([\w-]+)(.*)", entry).groups()
        conda[{"pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}.get(name, name)] = bounds
    assert requirements("notebooks").items() <= conda.items()


def test_every_dependency_has_a_lower_and_an_upper_bound():
    bounds = requirements("notebooks", "experiments", "dev", "cuda12", "cuda13")
    bounds.pop("snn-core")
    assert [name for name, bound in bounds.items() if ">=" not in bound or "<" not in bound] == []


def test_post_build_stops_at_the_first_error_and_fetches_the_data():
    script = (ROOT / "postBuild").read_text()
    assert "set -euo pipefail" in script
    assert "python -m snn_core.data" in script
    assert (ROOT / "postBuild").stat().st_mode & 0o111


def test_continuous_integration_calls_the_commands_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text()
    assert "make test" in script
    assert "make tutorial" in script
    assert "export CI=true" in script
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert workflow["jobs"]["test"]["steps"][-1]["run"] == "bash .ci/run"


def test_pre_commit_runs_the_linter_that_make_lint_runs():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = {hook["id"] for repo in config["repos"] for hook in repo["hooks"]}
    assert {"ruff-check", "ruff-format"} <= hooks
