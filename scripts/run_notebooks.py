"""Execute the notebooks with papermill and print the time of each.

Without arguments they are executed in place, and results/ and figures/ are written. With other parameters everything
goes to a folder of its own, so that a quick look never replaces the results of a full run. A notebook is written only
when it ran to its end.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbformat import NotebookNode

from snn_core.backend.cpu import COMPILING
from snn_core.files import atomic_write

WIDGET = "application/vnd.jupyter.widget-view+json"
NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def check_parameters(path: Path, parameters: dict[str, Any]) -> None:
    """Raise ValueError if the notebook does not know a parameter; papermill would only warn."""
    known = papermill.inspect_notebook(str(path))
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ValueError(f"{path.name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}")


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
    """Whether an output is a progress bar or the message of a first compilation, which no later reader would see."""
    return WIDGET in output.get("data", {}) or COMPILING in output.get("text", "")


def clean(notebook: NotebookNode) -> None:
    """Remove what papermill and progress bars leave behind; a page without a kernel would show bars at 0 %."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_passing(output)]
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)


def execute(path: Path, output: Path, parameters: dict[str, Any]) -> float:
    """Execute ``path`` with its own folder as working directory, write ``output``, return the time in seconds.

    Raises:
        ValueError: the notebook does not know a parameter.
        papermill.PapermillExecutionError: a cell failed.
        RuntimeError: a cell did not run, or a widget caught an error.
    """
    check_parameters(path, parameters)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        executed = Path(folder) / path.name
        papermill.execute_notebook(
            str(path), str(executed), parameters, cwd=str(path.parent), progress_bar=sys.stderr.isatty()
        )
        notebook = nbformat.read(executed, as_version=4)
    check_outputs(notebook, path.name)
    clean(notebook)
    with atomic_write(output) as file:
        file.write(nbformat.writes(notebook).encode() + b"\n")
    return time.perf_counter() - started


def main() -> None:
    """Parse the command line and execute."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, help="epochs of each training (default: the notebook's)")
    parser.add_argument(
        "--source", choices=("auto", "full", "embedded"), help="data (default: the notebook's)"
    )
    parser.add_argument(
        "--out", type=Path, help="folder for notebooks, results and figures (default: in place)"
    )
    args = parser.parse_args()
    parameters = {
        name: getattr(args, name) for name in ("epochs", "source") if getattr(args, name) is not None
    }
    if parameters and args.out is None:
        parser.error("--epochs and --source need --out: they must not replace the results of a full run")
    if args.out is not None:
        out = args.out.resolve()
        parameters |= {"results_dir": str(out / "results"), "figures_dir": str(out / "figures")}
    # Debugger checks of frozen modules would put a warning into the page.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
        seconds = execute(path, (args.out or NOTEBOOKS) / path.name, parameters)
        print(f"{path.name}: {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
