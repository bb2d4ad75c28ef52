#!/usr/bin/env bash
# Install packages into the virtual environment $1: by uv, which takes a fraction of pip's time, or, where uv cannot be had
# or reach them, as behind a mirror that only pip's settings name, by pip.
set -euo pipefail

python=$1/bin/python && shift
pip() { "$python" -m pip --disable-pip-version-check "$@"; }
if pip install --quiet --retries 1 'uv>=0.5,<1' && "$python" -m uv pip install --python "$python" "$@"; then exit; fi
echo "uv has failed: pip installs the packages"
# A line for each package, so that nobody waits before a silent screen.
pip install "$@" | { grep --line-buffered -E '^(Collecting|Installing)' || true; }
