"""Write what every notebook has around its text: badges, its time, the cell that sets up Colab, previous and next.

Run it after adding or renaming a chapter and after a full run; a test fails where it was
forgotten. The repository's address is read from pyproject.toml, its only home.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
BRANCH = "main"
TAG = "colab"
#: Packages of the extra ``notebooks`` that Colab's images do not hold. They are fetched where a notebook imports them.
NOT_ON_COLAB = ("nir", "nirtorch", "snntorch")


def project() -> dict[str, Any]:
    """Return what pyproject.toml says of the project."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def repository() -> str:
    """Return the repository's address."""
    return project()["urls"]["Repository"]


def badges(name: str) -> str:
    """Return the badges that open the notebook ``name`` on Binder, Colab and nbviewer, as one line of Markdown."""
    owner_and_name = repository().removeprefix("https://github.com/")
    targets = {
        "Binder": (
            "https://mybinder.org/badge_logo.svg",
            f"https://mybinder.org/v2/gh/{owner_and_name}/{BRANCH}?labpath=notebooks%2F{name}",
        ),
        "Colab": (
            "https://colab.research.google.com/assets/colab-badge.svg",
            f"https://colab.research.google.com/github/{owner_and_name}/blob/{BRANCH}/notebooks/{name}",
        ),
        "nbviewer": (
            "https://raw.githubusercontent.com/jupyter/design/main/logos/Badges/nbviewer_badge.svg",
            f"https://nbviewer.org/github/{owner_and_name}/blob/{BRANCH}/notebooks/{name}",
        ),
    }
    return " ".join(f"[![{place}]({image})]({target})" for place, (image, target) in targets.items())


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
        return "**Time.** Not measured yet: `make tutorial` does."
    return f"**Time.** {duration(seconds)} to run on {where['cores']} cores ({where['processor']})."


def colab_packages(notebook: NotebookNode) -> list[str]:
    """Return what pip is to fetch on Colab beside the package, such as "nir>=1.0.8,<2"."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    if not re.search(rf"^(import|from) ({'|'.join(NOT_ON_COLAB)})\b", code, re.MULTILINE):
        return []
    needed = project()["optional-dependencies"]["notebooks"]
    return [entry for entry in needed if re.match(r"[\w-]+", entry)[0] in NOT_ON_COLAB]


def colab_cell(packages: Sequence[str] = ()) -> NotebookNode:
    """Return the cell that fetches this collection, and ``packages``, on Colab and does nothing elsewhere."""
    folder = f"/content/{repository().rpartition('/')[2]}"
    source = (
        "import sys\n\n"
        'if "google.colab" in sys.modules:\n'
        '    print("fetching this collection; torch stays as it is")\n'
        f"    !git clone --quiet --depth 1 --branch {BRANCH} {repository()} {folder}\n"
        f"    %cd {folder}/notebooks\n"
        f"    %pip install {shlex.join(['--quiet', '..', *packages])}"
    )
    return new_code_cell(source, metadata={"tags": [TAG]})


def _between(text: str, name: str, new: str) -> str:
    """Replace what stands between the marks of ``name``."""
    pattern = rf"(<!-- {name}, written by tools/frame_notebooks.py -->\n).*?(<!-- end of {name} -->)"
    if not re.search(pattern, text, re.DOTALL):
        raise ValueError(f"no marks for {name} in: {text[:60]!r}")
    return re.sub(pattern, lambda found: f"{found[1]}{new}\n{found[2]}", text, flags=re.DOTALL)


def paths(folder: Path = NOTEBOOKS) -> list[Path]:
    """Return the notebooks in ``folder`` in reading order."""
    return sorted(folder.glob("[0-9]*.ipynb"))


def title(path: Path) -> str:
    """Return the heading of a notebook, as in "05 Training curves"."""
    first = nbformat.read(path, as_version=4).cells[0].source
    return first.partition("\n")[0].removeprefix("# ")


def navigation(path: Path, chapters: Sequence[Path]) -> str:
    """Return the line with the chapters before and after ``path``."""
    at = list(chapters).index(path)
    parts = []
    if at > 0:
        parts.append(f"Previous: [{title(chapters[at - 1])}]({chapters[at - 1].name})")
    if at + 1 < len(chapters):
        parts.append(f"Next: [{title(chapters[at + 1])}]({chapters[at + 1].name})")
    return " · ".join(parts)


def frame(notebook: NotebookNode, path: Path, chapters: Sequence[Path]) -> None:
    """Bring badges, time, the Colab cell and the navigation of ``notebook`` up to date.

    Raises:
        ValueError: the first or the last cell lacks the marks.
    """
    cells = notebook.cells
    cells[0].source = _between(cells[0].source, "badges", badges(path.name))
    cells[0].source = _between(cells[0].source, "time", time_to_run(path.name))
    cells[-1].source = _between(cells[-1].source, "navigation", navigation(path, chapters))
    colab = colab_cell(colab_packages(notebook))
    if TAG in cells[1].metadata.get("tags", []):
        cells[1].source = colab.source
    else:
        cells.insert(1, colab)


def main() -> None:
    """Frame every notebook, and write its twin for review."""
    for path in paths():
        notebook = jupytext.read(path)
        frame(notebook, path, paths())
        jupytext.write(notebook, path)
        jupytext.write(notebook, path.with_suffix(".py"), fmt="py:percent")


if __name__ == "__main__":
    main()
