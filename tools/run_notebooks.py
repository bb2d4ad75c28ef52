"""Execute the notebooks with papermill and print the time and the memory of each.

With --out all that they write goes to a folder of its own, no tracked file changes, and as many run side by side as
there are cores. Without it they are executed in place, one after the other, so that their times can be kept, and write
to results/ and figures/. A notebook is written only when it ran to its end.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import course
import nbformat
import papermill
from chapters import NOTEBOOKS, ROOT, number, paths, source_digest
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from traitlets.config import Config

from sequential_fmnist.checkpoint import atomic_write
from sequential_fmnist.experiments.results import provenance, write_json

#: No cell takes longer, in seconds: a kernel that hangs ends with an error.
CELL_LIMIT = 900

#: What a progress bar of tqdm writes: it begins its line again.
BAR = re.compile(r"\r[^\r\n]*\d%\|[^\r\n]*\n?")
#: Else a kernel warns that others on the machine could read what it sends.
MANAGER = Config(KernelManager={"transport_encryption": "auto"})

#: The last cell of a run, which is not kept: the most memory that the kernel has had, as Linux counts it.
MEMORY = new_code_cell(
    "from pathlib import Path\n"
    "status = Path('/proc/self/status')\n"
    "print(status.read_text() if status.exists() else '')"
)
#: Chapters that time something run alone, after the others.
ALONE = ("09",)
#: Chapters that take longest begin first, so that no core is idle at the end.
LONGEST = ("04", "05")

#: By this a notebook shows a widget, as long as its kernel runs.
WIDGET = "application/vnd.jupyter.widget-view+json"

#: Parameters of a quick run.
QUICK: dict[str, dict[str, Any]] = {
    "03_reading_column_by_column": {"source": "embedded"},
    "04_three_networks": {"epochs": 1, "source": "embedded"},
    "05_training_curves": {"epochs": 2, "source": "embedded"},
    "06_the_gradient_through_time": {"source": "embedded"},
    "07_what_does_memory_buy": {"epochs": 1},
    "08_how_long_is_long": {"live_steps": 20},
    "09_inside_the_fused_kernels": {"lengths": [28, 56], "repeats": 2},
    "10_take_your_network_elsewhere": {"source": "embedded", "images_to_run": 300, "epochs": 1},
}


def known_parameters(path: Path) -> list[str]:
    """Return the names of the parameters in the notebook's cell tagged ``parameters``."""
    return list(papermill.inspect_notebook(str(path)))


def check_outputs(notebook: NotebookNode, name: str) -> None:
    """Raise RuntimeError if a cell did not run, as after a SystemExit; papermill does not notice."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.strip() and cell.execution_count is None:
            raise RuntimeError(f"{name}: a cell did not run: {cell.source.splitlines()[0]}")


def clean(notebook: NotebookNode) -> None:
    """Remove what no later reader needs: papermill's notes, progress bars, widgets."""
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for output in cell.outputs:
                output.get("data", {}).pop(WIDGET, None)
                if output.get("name") == "stderr":
                    output.text = BAR.sub("", output.text)
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr" or one.text.strip()]
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
    # What one cell prints may arrive in pieces, another number of them in every run.
    CoalesceStreamsPreprocessor().preprocess(notebook, {})


def execute(
    path: Path,
    output: Path,
    parameters: dict[str, Any],
    with_solutions: bool = False,
    progress: bool = False,
) -> tuple[float, int]:
    """Execute ``path`` with its own folder as working directory and write ``output``.

    Args:
        path: the notebook.
        output: file to write.
        parameters: values for names in its parameters cell.
        with_solutions: whether to run the exercises' solutions too, each where its answer is asked for.
        progress: whether to show a bar of the cells.

    Returns:
        the time in seconds, and the most memory of the kernel in MiB; 0 where the system does not count it.

    Raises:
        ValueError: the notebook does not know a parameter.
        papermill.PapermillExecutionError: a cell failed.
        RuntimeError: a cell did not run.
    """
    known = known_parameters(path)
    if unknown := parameters.keys() - set(known):  # papermill would only warn
        raise ValueError(f"{path.name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}")
    # Debugger checks of frozen modules would put a warning into the page.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    started = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    digest = source_digest(notebook)
    with tempfile.TemporaryDirectory() as folder:
        source, executed = Path(folder) / f"source_{path.name}", Path(folder) / path.name
        running = course.solved(notebook) if with_solutions else notebook
        running.cells.append(MEMORY)
        nbformat.write(running, source)
        papermill.execute_notebook(
            str(source),
            str(executed),
            parameters,
            cwd=str(path.parent),
            progress_bar=progress,
            config=MANAGER,
            execution_timeout=CELL_LIMIT,
        )
        notebook = nbformat.read(executed, as_version=4)
    check_outputs(notebook, path.name)
    counted = re.search(r"VmHWM:\s+(\d+) kB", notebook.cells.pop().outputs[0].text)
    clean(notebook)
    notebook.metadata["snn_core"] = {"source_sha256": digest}
    with atomic_write(output) as file:
        file.write(nbformat.writes(notebook).encode() + b"\n")
    return time.perf_counter() - started, int(counted[1]) // 1024 if counted else 0


def execute_all(tasks: list[tuple[Any, ...]], jobs: int) -> dict[str, float]:
    """Call :func:`execute` with each of ``tasks``, ``jobs`` of them at a time; return the seconds by the chapter.

    One line says when a chapter begins, one when it has ended. The first failure ends the run.
    """
    seconds: dict[str, float] = {}

    def done(path: Path, result: tuple[float, int]) -> None:
        seconds[path.stem] = round(result[0], 1)
        memory = f", {result[1]:,} MiB" if result[1] else ""
        print(f"{path.stem}: {result[0]:.0f} s{memory}; {len(seconds)} of {len(tasks)} done", flush=True)

    together = [task for task in tasks if jobs > 1 and number(task[0]) not in ALONE]
    if together:
        together.sort(key=lambda task: number(task[0]) not in LONGEST)
        threads = max(1, (os.cpu_count() or 1) // jobs)
        with ProcessPoolExecutor(jobs, get_context("spawn"), _set_threads, (threads,)) as pool:
            running = {pool.submit(_execute, *task): task[0] for task in together}
            try:
                for future in as_completed(running):
                    done(running[future], future.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    for task in tasks:
        if task not in together:
            done(task[0], _execute(*task, progress=sys.stderr.isatty()))
    return seconds


def _set_threads(number_of_threads: int) -> None:
    """Let the kernels of a process compute with so many threads."""
    os.environ["OMP_NUM_THREADS"] = str(number_of_threads)


def _execute(path: Path, *more: Any, **options: Any) -> tuple[float, int]:
    """Say that a chapter begins, and execute it."""
    print(f"{path.stem}: begins", flush=True)
    return execute(path, *more, **options)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", help="numbers of chapters, as in 01 or 05 (default: all)")
    parser.add_argument("--epochs", type=int, help="epochs of each training (default: the notebook's)")
    parser.add_argument(
        "--out", type=Path, help="folder for notebooks, results and figures (default: in place)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="few epochs and images, and all exercises solved, as tests need it",
    )
    parser.add_argument(
        "--jobs", type=int, help="chapters side by side (default: one for each core with --out, else 1)"
    )
    args = parser.parse_args(argv)
    if args.jobs is None:
        args.jobs = 1 if args.out is None else os.cpu_count() or 1
    if args.epochs is not None and args.epochs < 1:
        parser.error(f"argument --epochs: must be at least 1, got {args.epochs}")
    if (args.epochs or args.quick) and args.out is None:
        parser.error("--epochs and --quick need --out: they must not replace the results of a full run")
    known = [number(path) for path in paths()]
    unknown = sorted(set(args.chapters) - set(known))
    if unknown:
        parser.error(f"no chapter {', '.join(unknown)}: there are {', '.join(known)}")
    return args


def main(argv: list[str] | None = None) -> None:
    """Execute the chapters that the command line names; if it names none, all, and keep their times."""
    args = parse(argv)
    chosen = [path for path in paths() if not args.chapters or number(path) in args.chapters]
    out = ROOT if args.out is None else args.out.resolve()
    tasks = []
    for path in chosen:
        parameters = dict(QUICK.get(path.stem, {}) if args.quick else {})
        if args.epochs and "epochs" in known_parameters(path):
            parameters["epochs"] = args.epochs
        tasks.append((path, out / NOTEBOOKS.name / path.name, parameters, args.quick))
    seconds = execute_all(tasks, args.jobs)
    if not args.chapters:
        write_json(
            out / "results" / "notebooks.json",
            {"seconds": dict(sorted(seconds.items())), "provenance": provenance()},
        )


if __name__ == "__main__":
    main()
