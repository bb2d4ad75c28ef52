#!/usr/bin/env bash
# Make a virtual environment in the folder $1 with $PYTHON (python3). Packages named after it, such as 'torch>=2.9', come
# from PyTorch's index of CPU builds where there is no NVIDIA GPU: on Linux pip's plain torch brings CUDA along, gigabytes.
set -euo pipefail

venv=$1 && shift
python=${PYTHON:-python3}
index=https://download.pytorch.org/whl/cpu

command -v "$python" >/dev/null || { echo "error: $python not found: install Python 3.11 or newer" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: $("$python" --version) is too old: name a newer one, as in: make PYTHON=python3.11 ..." >&2
    exit 1
}
# Debian and Ubuntu keep venv in a package of its own. Root gets it; for others it is named.
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" != 0 ]; then
        echo "error: this Python lacks venv. On Debian or Ubuntu: sudo apt-get install $package" >&2
        exit 1
    fi
    echo "installing $package, which this Python lacks"
    apt-get update -qq
    apt-get install -y --no-install-recommends "$package"
fi
"$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
pip install --quiet --upgrade pip

if [ $# = 0 ] || [ "$(uname)" != Linux ] || nvidia-smi -L >/dev/null 2>&1; then exit; fi
# Without dependencies, which the index has in few versions: they come with the other packages.
if pip install --quiet --no-deps --retries 1 --timeout 15 --index-url "$index" "$@" 2>/dev/null; then
    echo "no NVIDIA GPU here: the CPU build of PyTorch is installed"
else
    echo "no NVIDIA GPU here, but $index cannot be reached: pip's plain PyTorch follows, on Linux with CUDA, some 7 GB"
    # By pip, whose settings may name another place for it; what comes after keeps it.
    pip install --quiet "$@"
fi
