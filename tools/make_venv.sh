#!/usr/bin/env bash
# Make a virtual environment in the folder $1 with $PYTHON (python3). Debian and Ubuntu keep venv in a package of
# its own: where it is missing it is installed, as root or through sudo.
set -euo pipefail

venv=$1
python=${PYTHON:-python3}

command -v "$python" >/dev/null || { echo "error: $python not found: install Python 3.11 or newer" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: $("$python" --version) is too old: name a newer one, as in: make PYTHON=python3.11 ..." >&2
    exit 1
}
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    echo "installing python$version-venv, which this Python lacks"
    $sudo apt-get update -qq
    $sudo apt-get install -y --no-install-recommends "python$version-venv"
fi
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --upgrade pip
