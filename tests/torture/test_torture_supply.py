"""What the collection is built from and how it is launched: packages, shells, servers, workflows."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook
from packaging.requirements import Requirement
from support import ROOT, tracked
from support_browser import lab, save
from support_servers import listening, loopback_cluster
from support_shell import LOOPBACK, listeners, python, shell_strings
from support_torchrun import finished, torchrun

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
#: Lists of what the tests run with; the extras for a card cannot be tried without one.
TRIED = ("notebooks", "site", "ablation", "dev", "peers")


# ---------------------------------------------------------------- packages


def direct() -> dict[str, Requirement]:
    """Return the range of every package that the tests run with, by its normalised name."""
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in TRIED)]
    found = [Requirement(entry) for entries in lists for entry in entries]
    return {normal(one.name): one for one in found if one.name != PROJECT["name"]}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_has_two_bounds_and_the_peers_too():
    for name, one in direct().items():
        operators = {bound.operator for bound in one.specifier}
        assert {">=", "<"} <= operators, f"{name} is asked for as {one}"


#: Advisories that do not concern this collection, each with the reason.
EXCUSED = {
    "PYSEC-2023-17": "IPython 7.34, which Colab has: a title set on Windows, which IPython does on no notebook",
    "GHSA-29gw-9793-fvw7": "the same as PYSEC-2023-17",
    "CVE-2023-24816": "the same as PYSEC-2023-17",
}
#: A release with known holes: an audit that finds none in it asked nobody.
CANARY = "requests==2.19.0"


def audit(folder: Path, *pins: str) -> dict[str, set[str]]:
    """Return the advisories of packages by name, as pip-audit finds them; a package it could not ask for is missing."""
    listed = folder / "audited.txt"
    listed.write_text("\n".join(pins))
    # A cache could answer for a service that is gone.
    options = [
        "--requirement",
        str(listed),
        "--no-deps",
        "--disable-pip",
        "--cache-dir",
        str(folder / "cache"),
    ]
    argv = [sys.executable, "-m", "pip_audit", *options, "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        return {}
    found = json.loads(done.stdout)["dependencies"]
    return {
        one["name"]: {name for vuln in one["vulns"] for name in (vuln["id"], *vuln["aliases"])}
        for one in found
        if "vulns" in one
    }


def installed() -> dict[str, str]:
    """Return the version of every installed package, without the local part of a build."""
    argv = [sys.executable, "-m", "pip", "list", "--format", "json", "--exclude-editable"]
    found = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    return {normal(one["name"]): one["version"].partition("+")[0] for one in found}


@pytest.mark.nightly
def test_no_installed_package_has_a_known_hole(torture, tmp_path):
    if not audit(tmp_path, CANARY).get("requests"):
        pytest.skip(
            "the service that knows of holes in packages does not answer, or answers without advisories"
        )
    names = direct()
    pins = [f"{k}=={v}" for k, v in installed().items() if k in names or torture.full]
    found = audit(tmp_path, *pins)
    assert len(found) > 0.9 * len(pins)
    assert {name: bad - set(EXCUSED) for name, bad in found.items() if bad - set(EXCUSED)} == {}
    torture.figure(item=7, what="pip-audit over the installed packages", packages=len(found), holes=0)


# ---------------------------------------------------------------- shells

#: What the rules must find, each in a way of its own.
BAD = [
    "import os\nos.system('ls')",
    "from os import system as run\nrun(name)",
    "import subprocess\nsubprocess.run(f'ls {name}', shell=True)",
    "import subprocess as sp\nsp.Popen(name, shell=flag)",
    "import subprocess\nsubprocess.getoutput('ls')",
    "from asyncio import create_subprocess_shell as go\ngo(name)",
    "import subprocess\nsubprocess.run(['bash', '-c', f'ls {name}'])",
    "get_ipython().system('ls {results_dir}')",
    "get_ipython().system('ls $results_dir')",
    "get_ipython().getoutput(name)",
    "get_ipython().run_cell_magic('sh', '', 'ls {results_dir}')",
    "get_ipython().run_line_magic('pip', 'install {name}')",
]


@pytest.mark.parametrize("code", BAD)
def test_a_shell_string_built_from_a_variable_is_found(code):
    assert len(shell_strings(code)) == 1


@pytest.mark.parametrize(
    "cell", ["!ls {folder}", "%%bash\nls $folder", "x = !ls $folder", "%pip install {name}"]
)
def test_a_shell_string_is_found_in_a_cell(cell, tmp_path):
    path = save(new_notebook(cells=[new_code_cell(cell)]), tmp_path / "one.ipynb")
    assert len(shell_strings(python(path))) == 1


def test_no_notebook_and_no_script_runs_a_shell_string(torture):
    paths = [ROOT / name for name in tracked() if name.endswith((".py", ".ipynb"))]
    notebooks = [path for path in paths if path.suffix == ".ipynb"]
    found = {str(path.relative_to(ROOT)): shell_strings(python(path)) for path in paths}
    assert {name: lines for name, lines in found.items() if lines} == {}
    assert len(notebooks) >= 7
    torture.figure(
        item=7,
        what="Shell strings built from a parameter, in all notebooks and Python files",
        notebooks=len(notebooks),
        files=len(paths) - len(notebooks),
        found=0,
    )


# ---------------------------------------------------------------- servers


class _StayHere(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments, **options):
        return None


_opener = urllib.request.build_opener(_StayHere)


def ask(url: str, method: str = "GET", token: str | None = None) -> tuple[int, str]:
    """Return the status of an answer and where it sends us."""
    headers = {} if token is None else {"Authorization": f"token {token}"}
    request = urllib.request.Request(url, b"{}" if method == "POST" else None, headers, method=method)
    try:
        with _opener.open(request, timeout=60) as answer:
            answer.read()
            return answer.status, ""
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("Location", "")


def refused(answer: tuple[int, str]) -> bool:
    """Whether an answer says no, or asks for the token."""
    status, target = answer
    return status in (401, 403, 405) or (status == 302 and target.startswith("/login"))


LAB = [
    ("GET", "/lab"),
    ("GET", "/lab/tree/secret.ipynb"),
    ("GET", "/api/contents"),
    ("GET", "/api/contents/secret.ipynb"),
    ("GET", "/files/secret.ipynb"),
    ("GET", "/nbconvert/html/secret.ipynb"),
    ("GET", "/api/kernels"),
    ("POST", "/api/kernels"),
    ("GET", "/api/sessions"),
    ("POST", "/api/sessions"),
    ("GET", "/api/terminals"),
    ("POST", "/api/terminals"),
    ("GET", "/api/status"),
    ("POST", "/api/shutdown"),
]


def wrong_tokens(token: str, count: int, chance: random.Random) -> list[str | None]:
    """Return no token, an empty one, a part of the right one, and ones that differ from it in a single place."""
    found: list[str | None] = [None, "", token[:-1]]
    for _ in range(count):
        place = chance.randrange(len(token))
        other = chance.choice([digit for digit in "0123456789abcdef" if digit != token[place]])
        found.append(token[:place] + other + token[place + 1 :])
    return found


@pytest.mark.nightly
def test_server_of_notebooks_refuses_who_has_no_token(torture, tmp_path):
    seed = 0
    folder = tmp_path / "notebooks"
    folder.mkdir()
    save(new_notebook(cells=[new_code_cell("1")]), folder / "secret.ipynb")
    with lab(folder, tmp_path) as (address, token):
        wrong = wrong_tokens(token, torture.count(fast=1, full=20), random.Random(seed))
        answers = {
            (method, path, given): ask(address + path, method, given)
            for given in wrong
            for method, path in LAB
        }
        assert {case: answer for case, answer in answers.items() if not refused(answer)} == {}, f"seed {seed}"
        assert all(refused(ask(f"{address}{path}?token={wrong[-1]}", method)) for method, path in LAB)
        # The right token opens what was refused, and the notebook's kernel listens as the server does.
        assert ask(f"{address}/nbconvert/html/secret.ipynb", token=token)[0] == 200
        ports = listening(psutil.Process())
    assert {host for host, _ in ports} == {"127.0.0.1"}
    assert len(ports) > 1
    torture.figure(
        item=7,
        what="Requests to the tests' JupyterLab without its token, refused",
        requests=len(answers) + len(LAB),
        refused=len(answers) + len(LAB),
        sockets_on_loopback=len(ports),
        sockets_elsewhere=0,
        seed=seed,
    )


@pytest.mark.nightly
def test_processes_of_one_training_listen_on_loopback_only(torture, tmp_path):
    script = ROOT / "tests" / "support" / "support_servers.py"
    code, output, errors = finished(torchrun(script))
    assert code == 0, errors
    ports = json.loads(output)
    assert len(ports) > 1  # the launcher's store and both processes
    assert {host for host, _ in ports} == {"127.0.0.1"}
    torture.figure(
        item=7,
        what="Sockets of two processes that train together, and of their launcher, open to other machines",
        sockets=len(ports),
        elsewhere=0,
    )


def test_scheduler_and_workers_listen_on_loopback_only(torture):
    pytest.importorskip("distributed")
    with loopback_cluster():
        ports = listening(psutil.Process())
    assert {host for host, _ in ports} == {"127.0.0.1"}
    assert len(ports) > 2
    torture.figure(
        item=7,
        what="Sockets of the tests' dask cluster open to other machines",
        sockets=len(ports),
        elsewhere=0,
    )


@pytest.mark.parametrize(
    "code",
    [
        "HTTPServer(('', 0), Handler)",
        "HTTPServer(('0.0.0.0', 0), Handler)",
        "socket.bind((host, 0))",
        "LocalCluster(n_workers=2)",
        "socket.create_server(('::', 0))",
    ],
)
def test_a_server_for_everyone_is_found(code):
    ((_, _, address),) = listeners(code)
    assert address not in LOOPBACK


def test_no_code_here_listens_elsewhere(torture):
    """A server that holds nothing but what a test gave it needs no token, but it stays on this machine."""
    found = []
    for name in tracked():
        if name.endswith(".py") and not name.startswith("notebooks/"):
            found += [(name, *one) for one in listeners((ROOT / name).read_text())]
    assert [one for one in found if one[-1] not in LOOPBACK] == []
    assert len(found) >= 3
    torture.figure(
        item=7, what="Places in the code that open a server, all on the loopback interface", places=len(found)
    )


def test_make_lab_keeps_the_token_and_the_loopback_interface_of_jupyter():
    makefile = (ROOT / "Makefile").read_text()
    (line,) = re.findall(r"^\t\S+jupyter lab .*$", makefile, re.MULTILINE)
    assert line.split() == ["$(BIN)/jupyter", "lab", "build/lab/notebooks"]


# ---------------------------------------------------------------- workflows


def steps(workflow: dict) -> list[dict]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def faults(text: str) -> list[str]:
    """Return what a workflow allows that it need not."""
    workflow = yaml.safe_load(text)
    found = [] if workflow.get("permissions") == {"contents": "read"} else ["permissions of the workflow"]
    found += [f"permissions of {name}" for name, job in workflow["jobs"].items() if "permissions" in job]
    triggers = workflow[True]  # YAML reads "on" so
    found += [
        name for name in triggers if name not in ("push", "pull_request", "schedule", "workflow_dispatch")
    ]
    found += ["secrets"] if "secrets." in text else []
    for step in steps(workflow):
        uses = step.get("uses", "")
        if uses and not re.search(rf"{re.escape(uses)} # v\d+\.\d+\.\d+$", text, re.MULTILINE):
            found.append(f"{uses} without its version")
        if uses and not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", uses):
            found.append(f"{uses} is no commit")
        if (
            uses.startswith("actions/checkout@")
            and step.get("with", {}).get("persist-credentials") is not False
        ):
            found.append("checkout leaves its token behind")
        if "${{" in step.get("run", ""):
            found.append(f"an expression in a command: {step['run']}")
    return found


def test_workflows_have_the_least_permissions_and_pinned_actions(torture):
    assert WORKFLOWS
    found = {path.name: faults(path.read_text()) for path in WORKFLOWS}
    assert {name: lines for name, lines in found.items() if lines} == {}
    pinned = sum("uses" in step for path in WORKFLOWS for step in steps(yaml.safe_load(path.read_text())))
    torture.figure(
        item=7,
        what="Workflows with permission to read only, every action pinned to a commit",
        workflows=len(WORKFLOWS),
        actions=pinned,
    )


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("contents: read", "contents: write", "permissions of the workflow"),
        ("  pull_request:", "  pull_request_target:", "pull_request_target"),
        ("    runs-on:", "    permissions: write-all\n    runs-on:", "permissions of test"),
        ("run: bash .ci/run", "run: echo ${{ github.event.pull_request.title }}", "an expression"),
        ("persist-credentials: false", "persist-credentials: true", "leaves its token"),
    ],
)
def test_a_workflow_that_allows_more_is_found(before, after, fault):
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert before in text
    assert any(fault in line for line in faults(text.replace(before, after)))


def test_an_action_by_its_tag_is_found():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert any("is no commit" in line for line in faults(re.sub(r"@[0-9a-f]{40} # .*", "@v4", text)))
