"""Execute the notebooks with papermill and print the time of each.

With --out all that they write goes to a folder of its own, and no tracked file changes. Without it they are executed in
place: results/ and figures/ are written, and the times and tables of chapters, README and docs/ are brought up to date.
A notebook is written only when it ran to its end.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import course
import nbformat
import papermill
import update_docs
from chapters import NOTEBOOKS, ROOT, has_tag, number, paths, source_digest
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode
from patient_kernel import PatientManager

from experiments.command import Parser, folder, whole
from experiments.results import provenance, write_json
from sequential_fmnist.checkpoint import atomic_write
from snn_core.kernels.cpu.launch import COMPILING

WIDGET = "application/vnd.jupyter.widget-view+json"

#: No cell takes longer, in seconds: a kernel that hangs ends with an error.
CELL_LIMIT = 900

#: Parameters that say where a chapter writes to.
FOLDERS = ("results_dir", "figures_dir", "runs_dir")

#: Parameters of the quick run that the tests make, for each notebook that has more than its folders to set.
QUICK: dict[str, dict[str, Any]] = {
    "03_reading_column_by_column": {"source": "embedded"},
    "04_three_networks": {"epochs": 1, "source": "embedded"},
    "06_the_gradient_through_time": {"epochs": 1, "source": "embedded"},
    "05_training_curves": {"epochs": 2, "source": "embedded"},
    "09_inside_the_fused_kernels": {"lengths": [28, 56], "repeats": 2},
    "07_what_does_memory_buy": {"epochs": 1},
    "10_take_your_network_elsewhere": {"source": "embedded", "images_to_run": 300},
    "08_how_long_is_long": {"live_steps": 100},
}


def known_parameters(path: Path) -> list[str]:
    """Return the names of the parameters in the notebook's cell tagged ``parameters``."""
    return list(papermill.inspect_notebook(str(path)))


def check_parameters(path: Path, parameters: dict[str, Any]) -> None:
    """Raise ValueError if the notebook does not know a parameter; papermill would only warn."""
    known = known_parameters(path)
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ValueError(f"{path.name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}")


def folders(path: Path, out: Path) -> dict[str, str]:
    """Return those of the parameters for folders that the notebook has, set to folders in ``out``."""
    known = known_parameters(path)
    return {name: str(out / name.removesuffix("_dir")) for name in FOLDERS if name in known}


def check_outputs(notebook: NotebookNode, name: str) -> None:
    """Raise RuntimeError if a cell did not run or a widget caught an error; papermill notices neither."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.strip() and cell.execution_count is None:
            raise RuntimeError(f"{name}: a cell did not run: {cell.source.splitlines()[0]}")
    widgets = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    for model in widgets.get("state", {}).values():
        for output in model.get("state", {}).get("outputs", []):
            if output.get("output_type") == "error":
                raise RuntimeError(f"{name}: a widget failed: {output['ename']}: {output['evalue']}")


def _is_passing(output: NotebookNode) -> bool:
    """Whether an output is a widget or the message of a first compilation, which no later reader would see."""
    return WIDGET in output.get("data", {}) or COMPILING in output.get("text", "")


def clean(notebook: NotebookNode) -> None:
    """Remove what papermill, widgets and progress bars leave behind; a page without a kernel would show bars at 0 %."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_passing(output)]
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
    # What one cell prints may arrive in pieces, another number of them in every run.
    CoalesceStreamsPreprocessor().preprocess(notebook, {})


def execute(path: Path, output: Path, parameters: dict[str, Any], with_solutions: bool = False) -> float:
    """Execute ``path`` with its own folder as working directory, write ``output``, return the time in seconds.

    Args:
        path: the notebook.
        output: file to write.
        parameters: values for names in its parameters cell.
        with_solutions: whether to run the exercises' solutions too, each where its answer is asked for.

    Raises:
        ValueError: the notebook does not know a parameter.
        papermill.PapermillExecutionError: a cell failed.
        RuntimeError: a cell did not run, or a widget caught an error.
    """
    check_parameters(path, parameters)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        source, executed = Path(folder) / f"source_{path.name}", Path(folder) / path.name
        notebook = nbformat.read(path, as_version=4)
        digest = source_digest(notebook)
        if with_solutions:
            notebook = course.solved(notebook)
        nbformat.write(notebook, source)
        papermill.execute_notebook(
            str(source),
            str(executed),
            parameters,
            cwd=str(path.parent),
            progress_bar=sys.stderr.isatty(),
            kernel_manager_class=PatientManager,
            execution_timeout=CELL_LIMIT,
        )
        notebook = nbformat.read(executed, as_version=4)
    check_outputs(notebook, path.name)
    clean(notebook)
    if parameters.keys() <= set(FOLDERS):  # names of folders are of no use on a page
        notebook.cells = [cell for cell in notebook.cells if not has_tag(cell, "injected-parameters")]
    notebook.metadata["snn_core"] = {"source_sha256": digest}
    with atomic_write(output) as file:
        file.write(nbformat.writes(notebook).encode() + b"\n")
    return time.perf_counter() - started


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", help="numbers of chapters, as in 01 or 05 (default: all)")
    parser.add_argument("--epochs", type=whole(1), help="epochs of each training (default: the notebook's)")
    parser.add_argument(
        "--source", choices=("auto", "full", "embedded"), help="data (default: the notebook's)"
    )
    parser.add_argument(
        "--out", type=folder, help="folder for notebooks, results and figures (default: in place)"
    )
    args = parser.parse_args(argv)
    args.parameters = {
        name: getattr(args, name) for name in ("epochs", "source") if getattr(args, name) is not None
    }
    if args.parameters and args.out is None:
        parser.error("--epochs and --source need --out: they must not replace the results of a full run")
    args.paths = paths()
    unknown = sorted(set(args.chapters) - {number(path) for path in args.paths})
    if unknown:
        parser.error(f"no chapter {', '.join(unknown)}: there are {', '.join(map(number, args.paths))}")
    return args


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and execute."""
    args = parse(argv)
    # Debugger checks of frozen modules would put a warning into the page.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    chosen = [path for path in args.paths if not args.chapters or number(path) in args.chapters]
    notebooks = NOTEBOOKS if args.out is None else args.out / "notebooks"
    seconds = {}
    for place, path in enumerate(chosen, start=1):
        print(f"{place} of {len(chosen)}: {path.name}", flush=True)
        known = known_parameters(path)
        parameters = {name: value for name, value in args.parameters.items() if name in known}
        if args.out is not None:
            parameters |= folders(path, args.out.resolve())
        seconds[path.stem] = round(execute(path, notebooks / path.name, parameters), 1)
        print(f"  {seconds[path.stem]:.0f} s", flush=True)
    if not args.chapters:
        results = (args.out or ROOT) / "results"
        write_json(results / "notebooks.json", {"seconds": seconds, "provenance": provenance()})
    if not args.chapters and args.out is None:
        update_docs.main()


if __name__ == "__main__":
    main()
