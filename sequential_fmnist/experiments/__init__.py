"""Many runs, kept one by one, and what they say with intervals: the evidence behind chapters 07 and 08."""

import sys
from importlib.util import find_spec

for package in ("scipy", "tabulate"):
    if find_spec(package) is None:
        message = f"the experiments need the package {package}: pip install 'snn-core[ablation]'"
        # By python -m the package is imported before __main__.py could say it in one line.
        raise SystemExit(f"error: {message}") if sys.argv[0] == "-m" else ImportError(message)
