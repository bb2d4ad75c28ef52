"""What a notebook or a script hands to a shell or to a server's address, found in its syntax tree."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

#: Functions that always start a shell.
SHELLS = {
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "asyncio.create_subprocess_shell",
    "pty.spawn",
}
#: What IPython makes of ``!command`` and ``%magic``; it fills in what stands in ``{}`` or after ``$``.
MAGICS = {"system", "getoutput", "run_line_magic", "run_cell_magic"}
#: What listens, each with the place of its address among its arguments.
LISTENERS = {
    "HTTPServer": 0,
    "ThreadingHTTPServer": 0,
    "TCPServer": 0,
    "ThreadingTCPServer": 0,
    "bind": 0,
    "create_server": 0,
    "start_server": 1,
    "bind_to_random_port": 0,
    "LocalCluster": "host",
}
LOOPBACK = ("127.0.0.1", "tcp://127.0.0.1")


def python(path: Path) -> str:
    """Return the Python of a script, or of all cells of a notebook as IPython runs them."""
    if path.suffix != ".ipynb":
        return path.read_text()
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(
        TransformerManager().transform_cell(cell.source) for cell in cells if cell.cell_type == "code"
    )


def shell_strings(code: str) -> list[str]:
    """Return what the code hands to a shell, or to IPython with a variable in it, each with its line."""
    tree = ast.parse(code)
    names = _imported(tree)
    return [f"line {node.lineno}: {found}" for node in ast.walk(tree) for found in _shells(node, names)]


def _imported(tree: ast.AST) -> dict[str, str]:
    """Return the full name of what the code imports under each name."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.asname or name.name: name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
    return found


def _shells(node: ast.AST, names: dict[str, str]) -> Iterator[str]:
    if not isinstance(node, ast.Call):
        return
    called = ast.unparse(node.func)
    first, _, rest = called.partition(".")
    called = names.get(first, first) + (f".{rest}" if rest else "")
    if called in SHELLS:
        yield called
    for option in node.keywords:
        if option.arg == "shell" and not (isinstance(option.value, ast.Constant) and not option.value.value):
            yield f"{called} with shell={ast.unparse(option.value)}"
    if called.startswith("get_ipython().") and called.rpartition(".")[2] in MAGICS:
        for argument in node.args:
            if not isinstance(argument, ast.Constant):
                yield f"{called} of {ast.unparse(argument)}"
            elif re.search(r"\{|\$\w", str(argument.value)):
                yield f"{called} of {argument.value!r}, which names a variable"
    if called in ("subprocess.run", "subprocess.Popen", "subprocess.check_output", "subprocess.check_call"):
        command = node.args[0] if node.args else None
        if isinstance(command, ast.List) and _is_shell(command):
            yield f"{called} of a shell: {ast.unparse(command)}"


def _is_shell(command: ast.List) -> bool:
    """Whether a list of arguments is ``sh -c`` and something that is not written out."""
    words = [part.value if isinstance(part, ast.Constant) else None for part in command.elts]
    shell = bool(words) and isinstance(words[0], str) and Path(words[0]).name in ("sh", "bash", "dash", "zsh")
    return shell and "-c" in words and None in words


def listeners(code: str) -> list[tuple[int, str, str | None]]:
    """Return line, name and address of what listens in the code; None where the address is not written out."""
    return [found for node in ast.walk(ast.parse(code)) if (found := _listener(node)) is not None]


def _listener(node: ast.AST) -> tuple[int, str, str | None] | None:
    if not isinstance(node, ast.Call):
        return None
    name = ast.unparse(node.func).rpartition(".")[2]
    if name not in LISTENERS:
        return None
    place, given = LISTENERS[name], None
    if isinstance(place, int):
        given = node.args[place] if place < len(node.args) else None
    else:
        given = next((option.value for option in node.keywords if option.arg == place), None)
    if isinstance(given, ast.Tuple):
        given = given.elts[0]
    return node.lineno, name, given.value if isinstance(given, ast.Constant) else None
