"""What stands outside the code stays true: README, Makefile, environment, continuous integration."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from unittest.mock import MagicMock
from urllib.parse import unquote

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from support import ROOT
from support_notebooks import NOTEBOOKS

from snn_core import __version__

README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
writer = runpy.run_path(str(ROOT / "tools" / "update_docs.py"))


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
    assert "-m sequential_fmnist --model plain --epochs 3 --tb" in dry


def test_make_ablation_passes_groups_and_options_on_and_installs_what_it_needs(tmp_path):
    dry = make("--dry-run", "ablation", f"VENV={tmp_path}", "ARGS=size --jobs 4")
    assert dry.rstrip().endswith("-m experiments size --jobs 4")
    assert "'.[ablation]'" in dry
    extra = PROJECT["optional-dependencies"]
    assert "snn-core[notebooks,site,ablation,exchange]" in extra["dev"]


def test_make_bench_uses_the_same_torch_for_every_library():
    dry = make("--dry-run", "--always-make", "bench", "ARGS=--quick")
    for benchmark in ("throughput", "cells", "large_layers"):
        assert f"-m benchmarks.{benchmark} --quick" in dry
    for name in ("torch", "jax"):
        assert (
            f"--requirement benchmarks/requirements/{name}.txt --constraint build/bench/constraints.txt"
            in dry
        )


@pytest.mark.parametrize(("argv", "options"), [([], ""), (["EPOCHS=4"], " --epochs 4")])
def test_make_tutorial_says_what_it_does_and_writes_to_build(argv, options):
    dry = make("--dry-run", "tutorial", *argv)
    assert "1 of 5: packages" in dry.splitlines()[0]
    assert f"tools/run_notebooks.py --out build{options}\n" in re.sub(r" +\n", "\n", dry)
    assert "cp -r build/" in dry or "site CHAPTERS=build" in dry


def test_make_notebooks_refreshes_what_is_committed_and_make_site_executes_nothing():
    assert make("--dry-run", "notebooks").rstrip().endswith("tools/run_notebooks.py")
    assert "run_notebooks" not in make("--dry-run", "site")


def test_make_lab_opens_a_copy_which_make_clean_leaves_alone():
    assert make("--dry-run", "lab").rstrip().endswith("jupyter lab build/lab/notebooks")
    assert "build/lab" not in make("--dry-run", "clean").split()


def test_readme_fits_a_screen_or_two():
    assert len(README.splitlines()) <= 150
    assert len(README.encode()) <= 10_000
    first = README.partition("\n## ")[0]
    for part in ("recurrent_connection_and_stateful_synapse.html", "figures/reading.gif", "Start here"):
        assert part in first


@pytest.mark.parametrize("page", writer["PAGES"], ids=lambda page: page.stem)
def test_every_link_and_picture_of_a_page_exists(page):
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert [t for t in targets if "://" not in t and not (page.parent / t).exists()] == []


def test_every_path_on_the_map_exists():
    names = re.findall(r"`([\w/]+/)`", README.partition("## Map")[2])
    assert len(names) > 10
    assert [name for name in names if not (ROOT / name).is_dir()] == []


def test_code_of_the_readme_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["current"].shape == (28, 8, 32)


def test_pages_show_what_is_in_results_and_each_part_once():
    parts, texts = writer["sections"](ROOT / "results"), [page.read_text() for page in writer["PAGES"]]
    assert [writer["fill"](text, parts) for text in texts] == texts
    for name in parts:
        assert sum(text.count(f"<!-- {name}: written by tools/update_docs.py -->\n") for text in texts) == 1


def test_results_by_hand():
    def case(kind, at, mean):
        estimate = {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "n": 10}
        return {"kind": kind, "at": at, "parameters": 1258, "accuracy": estimate}

    kinds = ("plain", "stateful-synapse", "feedback")
    groups = {
        "best": [case(kind, None, 0.8) for kind in kinds],
        "reproduction": [case("plain", 90, 0.5), case("plain", 64, 0.7)],
        "delay": [case("plain", 0, 0.5), case("plain", 56, 0.6)],
        "reset": [case("plain", None, 0.71) | {"name": "64 epochs, cut nowhere"}],
        "refined": [case("plain", None, 0.82)],
        "gated": [case("gru", None, 0.9)],
    }
    published = {"runs": {"64 epochs": {"right": dict.fromkeys(kinds, 7045), "images": 10000}}}
    rows = writer["results_table"]({"groups": groups}, published).splitlines()
    assert rows[2] == ("| plain | 1,258 | 70.5 | 71.0 ± 1.0 | 70.0 ± 1.0 | 80.0 ± 1.0 | 60.0 ± 1.0 |")
    assert rows[5] == "| plain, 86 hidden | 1,258 |  |  |  | 82.0 ± 1.0 |  |"


def _measured(ours, theirs, key="ms", name="peer", **config):
    return {
        "config": {"model": "feedback", "batch": 256, "T": 28, "hidden": 32} | config,
        "libraries": {
            "snn_core": {key: {"median": ours}, "ratio": 1.0},
            name: {key: {"median": theirs}, "ratio": theirs / ours},
        },
    }


def test_table_of_training_steps_by_hand():
    results = {
        "libraries": {
            "snn_core": {"label": "snn_core, one kernel", "versions": {"snn-core": "0.1.0", "torch": "2.6"}},
            "peer": {"label": "Peer", "versions": {"peer": "3.2"}},
            "other": {"label": "torch.compile", "versions": {"torch": "2.6"}},
        },
        "steps": [_measured(2.0, 8.0), _measured(1.0, 3.0, batch=32)],
        "epochs": [_measured(0.5, 1.0, "seconds")],
    }
    rows = writer["throughput_table"](results).splitlines()
    assert rows[2] == "| snn_core 0.1.0, one kernel | 2.00 ms | 0.50 s |"
    assert rows[3] == "| Peer 3.2 | 8.00 ms (4.0x) | 1.00 s (2.0x) |"
    assert rows[4] == "| torch.compile |  |  |"  # not measured
    with pytest.raises(ValueError, match="embedded subset"):
        writer["throughput_section"]({"is_subset": True})


def test_table_of_cells_by_hand():
    def timed(name, kind, ours, loop, **peers):
        found = {name: {"ratio": ratio} for name, ratio in ({"snn_core-torch": loop} | peers).items()}
        return {"name": name, "kind": kind, "libraries": {"snn_core": {"ms": {"median": ours}}, **found}}

    results = {
        "is_provisional": False,
        "date": "2026-01-02",
        "size": {"T": 100, "N": 64, "H": 128},
        "provenance": {"cores": 2, "processor": "P", "torch": "2.6", "torch_threads": 2},
        "libraries": {
            "snn_core": {"label": "snn_core", "versions": {"snn-core": "0.1.0"}, "notes": {}},
            "snn_core-torch": {"label": "torch loop", "versions": {"snn-core": "0.1.0"}, "notes": {}},
            "peer": {
                "label": "Peer",
                "versions": {"peer": "3.2"},
                "notes": {"IF": "none", "LI": "never timed"},
            },
        },
        "cells": [
            timed("IF", "neuron", 0.5, 12.0, peer=3.0),
            timed("linear", "feedback", 1.25, 4.0),
        ],
    }
    rows = writer["cells_table"](results).splitlines()
    assert rows[0] == "| layer | snn_core | torch loop 0.1.0 | Peer 3.2 |"
    assert rows[2:] == ["| IF | 0.50 ms | 12.0x | 3.0x |", "| linear feedback | 1.25 ms | 4.0x |  |"]
    section = " ".join(writer["cells_section"](results).split())
    assert "at T = 100, N = 64, H = 128" in section and "takes 4.0 to 12.0 times ours" in section
    assert "Below 5 times: linear 4.0." in section
    assert "- Peer, IF: none" in section and "never timed" not in section


def test_table_of_other_sizes_by_hand():
    steps = [
        _measured(1.0, 3.0, name="spyx"),
        _measured(0.5, 1.0, name="spyx", model="plain", batch=1024),
        _measured(1.0, 4.0, name="spyx", batch=1024),
        _measured(1.0, 5.0, name="spyx", T=784, batch=32),
    ]
    busy = [_measured(2.0, 9.0, name="torch-compile")]
    _, _, *rows = writer["sizes_table"]({"steps": steps, "busy": busy}).splitlines()
    assert rows == [
        "| batch 1,024 | 0.50, 1.00 |  | 2.0x, 4.0x |  |  |  |  |",
        "| T = 784, batch 32, feedback | 1.00 |  | 5.0x |  |  |  |  |",
        "| one core kept busy | 2.00 |  |  |  | 4.5x |  |  |",
    ]


def test_table_of_memory_by_hand():
    entry = {
        "config": {"model": "feedback", "batch": 256, "T": 784, "hidden": 32},
        "saved_bytes": {"snn_core": 2**19, "snn_core-torch": 10 * 2**20},
        "peak_bytes": {"snn_core": 2**20, "snn_core-torch": 3 * 2**20},
    }
    rows = writer["memory_table"]({"memory": [entry]}).splitlines()
    assert rows[2] == "| 784, 256 | 0.5 of 10.0 (5.0%) | 1.0 of 3.0 |"


@pytest.mark.parametrize("name", ["training.json", "throughput.json"])
def test_results_come_from_the_full_data_and_say_where(name):
    results = json.loads((ROOT / "results" / name).read_text())
    assert not results["is_subset"]
    assert results["provenance"]["torch"]
    assert results["provenance"]["processor"]


def test_conda_environment_asks_for_what_the_package_needs():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = {}
    for entry in environment["dependencies"]:
        name, bounds = re.fullmatch(r"([\w-]+)(.*)", entry).groups()
        conda[{"pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}.get(name, name)] = bounds
    by_pip = dict(re.findall(r"'([\w-]+)([<>=][^']+)'", (ROOT / "postBuild").read_text()))
    needed = requirements("experiment", "notebooks")
    needed.pop("snn-core")
    assert needed.items() <= conda.items() | by_pip.items()


def test_conda_environment_has_valid_names_and_takes_torch_from_conda_alone():
    """A conda solve cannot be tried here. Torch by pip would bring CUDA into the image."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    pip = [name for entry in environment["dependencies"] if isinstance(entry, dict) for name in entry["pip"]]
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    assert [e for e in conda if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*([<>=]=?[\d.]+(,<[\d.]+)?)?", e)] == []
    assert "pytorch-cpu" in {re.match(r"[\w-]+", entry)[0] for entry in conda}
    # With nothing for pip, postBuild's `pip install --no-deps` is all that pip does on Binder.
    assert pip == []
    installs = re.findall(r"pip install (.*)", (ROOT / "postBuild").read_text())
    assert all(line.startswith("--no-deps ") for line in installs)


def test_links_of_chapters_lead_to_files_of_this_repository():
    owner_and_name = REPOSITORY.removeprefix("https://github.com/")
    patterns = {
        "mybinder.org": rf"https://mybinder\.org/v2/gh/{owner_and_name}/main\?labpath=(\S+)",
        "colab.research": rf"https://colab\.research\.google\.com/github/{owner_and_name}/blob/main/(\S+)",
        "nbviewer.org": rf"https://nbviewer\.org/github/{owner_and_name}/blob/main/(\S+)",
    }
    for path in NOTEBOOKS:
        first = nbformat.read(path, as_version=4).cells[0].source
        targets = re.findall(r"\]\((https://[^)]+)\)", first.partition("<!-- end of links")[0])
        assert len(targets) == len(patterns)
        for target, pattern in zip(targets, patterns.values(), strict=True):
            assert unquote(re.fullmatch(pattern, target)[1]) == f"notebooks/{path.name}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_colab_cell_clones_goes_to_the_notebooks_and_installs_what_is_above(path, monkeypatch):
    (cell,) = (c for c in nbformat.read(path, as_version=4).cells if "colab" in c.metadata.get("tags", []))
    code = TransformerManager().transform_cell(cell.source)
    shell, said, run = MagicMock(), [], MagicMock()
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    exec(code, {"get_ipython": lambda: shell})
    assert shell.mock_calls == run.mock_calls == []
    monkeypatch.setitem(sys.modules, "google.colab", MagicMock())
    run.return_value.returncode = 128
    with pytest.raises(
        SystemExit, match=f"Nothing can be fetched from {REPOSITORY}: not published yet, or no"
    ):
        exec(code, {"get_ipython": lambda: shell, "print": said.append})
    assert shell.mock_calls == []
    run.return_value.returncode = 0
    exec(code, {"get_ipython": lambda: shell, "print": said.append})
    *options, source, target = run.call_args.args[0]
    assert options == ["git", "clone", "--quiet", "--depth", "1", "--branch", "main"]
    assert source == REPOSITORY
    (cd, folder), (pip, arguments) = (call.args for call in shell.method_calls)
    assert (cd, folder) == ("cd", f"{target}/{path.parent.name}")
    # What chapter 10 needs, which Binder's postBuild fetches too: Colab's images hold the rest.
    beyond = re.findall(r"'([^']+)'", (ROOT / "postBuild").read_text()) if path.stem.startswith("10") else []
    assert (pip, shlex.split(arguments)) == ("pip", ["install", "--quiet", "..[experiment]", *beyond])


def test_every_dependency_has_a_lower_and_an_upper_bound():
    bounds = requirements("experiment", "notebooks", "site", "ablation", "dev", "cuda12", "cuda13")
    bounds.pop("snn-core")
    assert [name for name, bound in bounds.items() if ">=" not in bound or "<" not in bound] == []


def test_post_build_stops_at_errors_fetches_the_data_and_compiles_the_kernels():
    script = (ROOT / "postBuild").read_text()
    assert "set -euo pipefail" in script
    assert "python tools/fetch_data.py || echo" in script  # without a network the build goes on
    assert "python tools/compile_kernels.py" in script
    assert (ROOT / "postBuild").stat().st_mode & 0o111


def test_continuous_integration_calls_the_commands_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text()
    assert "make test" in script
    assert "make tutorial" in script
    assert "export CI=true" in script
    assert re.search("apt-get install .* chromium", script)
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert workflow["jobs"]["test"]["steps"][-1]["run"] == "bash .ci/run"
    assert workflow["jobs"]["core"]["strategy"]["matrix"]["os"] == ["macos-latest", "windows-latest"]


def test_pre_commit_runs_the_linter_that_make_lint_runs():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = {hook["id"] for repo in config["repos"] for hook in repo["hooks"]}
    assert {"ruff-check", "ruff-format"} <= hooks
