"""Write what every notebook has around its text: where to open it, its time, Colab's cell, its neighbours, folds.

`make notebooks` and `make address` run it; a test fails where it was forgotten. The repository's address is read from
pyproject.toml, its only home.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
BRANCH = "main"
TAG = "colab"
#: Of cells that ask for an answer.
EXERCISE = "exercise"
FOLDED = "hide-input"
COLAB_FOLDER = "/content/tutorials"
#: Packages of the extra ``notebooks`` that Colab's images do not hold. They are fetched where a notebook imports them.
NOT_ON_COLAB = ("nir", "nirtorch", "snntorch")


def project() -> dict[str, Any]:
    """Return what pyproject.toml says of the project."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def repository() -> str:
    """Return the repository's address."""
    return project()["urls"]["Repository"]


def links(name: str) -> str:
    """Return the links that open the notebook ``name`` elsewhere, as one line of Markdown."""
    slug = repository().removeprefix("https://github.com/")
    path = f"{slug}/blob/{BRANCH}/notebooks/{name}"
    targets = {
        "Binder": f"https://mybinder.org/v2/gh/{slug}/{BRANCH}?labpath=notebooks%2F{name}",
        "Colab": f"https://colab.research.google.com/github/{path}",
        "nbviewer": f"https://nbviewer.org/github/{path}",
    }
    return "Open in " + " · ".join(f"[{place}]({target})" for place, target in targets.items())


def duration(seconds: float) -> str:
    """Return a time as a reader would say it."""
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def measured() -> dict[str, Any]:
    """Return what the last full run recorded: the seconds of each notebook, and where it ran."""
    return json.loads((ROOT / "results" / "notebooks.json").read_text())


def time_to_run(name: str) -> str:
    """Return the line with the time that the notebook ``name`` took in the last full run."""
    seconds, where = measured()["seconds"].get(Path(name).stem), measured()["provenance"]
    if seconds is None:
        return "**Time.** Not measured yet: `make notebooks` does."
    return f"**Time.** {duration(seconds)} to run on {where['cores']} cores ({where['processor']})."


def colab_packages(notebook: NotebookNode) -> list[str]:
    """Return what pip is to fetch on Colab beside the package, such as "nir>=1.0.8,<2"."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    if not re.search(rf"^(import|from) ({'|'.join(NOT_ON_COLAB)})\b", code, re.MULTILINE):
        return []
    needed = project()["optional-dependencies"]["notebooks"]
    return [entry for entry in needed if re.match(r"[\w-]+", entry)[0] in NOT_ON_COLAB]


def colab_cell(packages: Sequence[str] = ()) -> NotebookNode:
    """Return the cell that fetches this collection, and ``packages``, on Colab and does nothing elsewhere.

    Pages of the site leave it out.
    """
    install = " \\\n        ".join(shlex.join(group) for group in (["..[experiment]"], packages) if group)
    source = (
        "import subprocess\n"
        "import sys\n"
        "from pathlib import Path\n\n"
        'if "google.colab" in sys.modules:\n'
        '    print("fetching this collection; torch stays as it is")\n'
        f'    address = "{repository()}"\n'
        f'    folder = "{COLAB_FOLDER}"\n'
        '    fetch = ["git", "clone", "--quiet", "--depth", "1"]\n'
        f'    fetch += ["--branch", "{BRANCH}", address, folder]\n'
        "    if not Path(folder).exists() and subprocess.run(fetch).returncode != 0:\n"
        '        why = "not published yet, or no network."\n'
        '        raise SystemExit(f"Nothing can be fetched from {address}: {why}")\n'
        f"    %cd {COLAB_FOLDER}/notebooks\n"
        f"    %pip install --quiet {install}"
    )
    return new_code_cell(source, metadata={"tags": [TAG, "remove-cell"]})


def _between(text: str, name: str, new: str) -> str:
    """Replace what stands between the marks of ``name``."""
    pattern = rf"(<!-- {name}, written by tools/frame_notebooks.py -->\n).*?(<!-- end of {name} -->)"
    if not re.search(pattern, text, re.DOTALL):
        raise ValueError(f"no marks for {name} in: {text[:60]!r}")
    return re.sub(pattern, lambda found: f"{found[1]}{new}\n{found[2]}", text, flags=re.DOTALL)


def has_tag(cell: NotebookNode, tag: str) -> bool:
    """Whether a cell bears a tag."""
    return tag in cell.metadata.get("tags", [])


def paths(folder: Path = NOTEBOOKS) -> list[Path]:
    """Return the notebooks in ``folder`` in reading order."""
    return sorted(folder.glob("[0-9]*.ipynb"))


def number(path: Path) -> str:
    """Return the number of a chapter, as in "05": what stands before the first "_" of its file name."""
    return path.name.partition("_")[0]


def title(notebook: NotebookNode) -> str:
    """Return the heading of a notebook, as in "05 Training curves"."""
    return notebook.cells[0].source.partition("\n")[0].removeprefix("# ")


def link(path: Path, folder: str = "") -> str:
    """Return a link, from the folder that holds ``folder``, to a notebook with its heading."""
    return f"[{title(nbformat.read(path, as_version=4))}]({folder}{path.name})"


def navigation(path: Path, chapters: Sequence[Path]) -> str:
    """Return the line with the chapters before and after ``path``."""
    at = list(chapters).index(path)
    around = {"Previous": chapters[:at][-1:], "Next": chapters[at + 1 : at + 2]}
    return " · ".join(f"{which}: {link(other)}" for which, others in around.items() for other in others)


def _calls(statement: ast.stmt, names: Sequence[str]) -> bool:
    """Whether a statement only calls one of the functions ``names``."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in names


def is_folded(cell: NotebookNode) -> bool:
    """Whether a cell's code is folded away: it only imports, only shows a figure, or keeps the chapter's results.

    What it prints or shows stays. Cells that a reader changes, the parameters and the exercises, stay open, and so does
    whatever else a cell does: a call within ``show(...)`` is a part of the figure, a statement beside it is not.
    """
    if cell.cell_type != "code" or any(has_tag(cell, tag) for tag in (TAG, "parameters", EXERCISE)):
        return False
    try:
        statements = ast.parse(cell.source).body
    except SyntaxError:  # a line for IPython
        return False
    imports = [isinstance(statement, (ast.Import, ast.ImportFrom)) for statement in statements]
    is_setup = all(
        imported or _calls(statement, ("print_versions",))
        for imported, statement in zip(imports, statements, strict=True)
    )
    is_shown = all(_calls(statement, ("show", "show_gif")) for statement in statements)
    is_record = any(_calls(statement, ("save_results",)) for statement in statements)
    return bool(statements) and (is_setup or is_shown or is_record)


def fold(cell: NotebookNode) -> None:
    """Fold a cell's code on the site (by its tag) and in JupyterLab (by its metadata) as :func:`is_folded` says."""
    tags = [tag for tag in cell.metadata.get("tags", []) if tag != FOLDED]
    jupyter = {
        key: value for key, value in cell.metadata.get("jupyter", {}).items() if key != "source_hidden"
    }
    if is_folded(cell):
        tags.append(FOLDED)
        jupyter["source_hidden"] = True
    for key, value in {"tags": tags, "jupyter": jupyter}.items():
        cell.metadata.pop(key, None)
        if value:
            cell.metadata[key] = value


def frame(notebook: NotebookNode, path: Path, chapters: Sequence[Path]) -> None:
    """Bring links, time, the Colab cell, the navigation and the folds of ``notebook`` up to date.

    Raises:
        ValueError: the first or the last cell lacks the marks.
    """
    cells = notebook.cells
    cells[0].source = _between(cells[0].source, "links", links(path.name))
    cells[0].source = _between(cells[0].source, "time", time_to_run(path.name))
    cells[-1].source = _between(cells[-1].source, "navigation", navigation(path, chapters))
    colab = colab_cell(colab_packages(notebook))
    if has_tag(cells[1], TAG):
        cells[1].update(source=colab.source, metadata=colab.metadata)
    else:
        cells.insert(1, colab)
    for cell in cells:
        if cell.cell_type == "code" and not has_tag(cell, TAG):
            fold(cell)


def main() -> None:
    """Frame every notebook."""
    for path in paths():
        notebook = nbformat.read(path, as_version=4)
        frame(notebook, path, paths())
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
