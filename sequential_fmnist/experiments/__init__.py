"""Many runs, kept one by one, and what they say with intervals: the evidence behind chapters 07 and 08."""

from importlib.util import find_spec

for package in ("scipy", "tabulate"):
    if find_spec(package) is None:
        raise ImportError(f"the experiments need the package {package}: pip install 'snn-core[ablation]'")
