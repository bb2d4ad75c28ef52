#!/usr/bin/env bash
# Put the four files of Debian's package dataset-fashion-mnist into the cache, in torchvision's layout, where the cache
# does not have them: from the installed package, or from the archive, without root and without installing it. A failure
# is reported and no error, since `python tools/fetch_data.py`, which comes next, checks the files or lets
# torchvision download them.
set -uo pipefail

package=dataset-fashion-mnist
installed=${DEBIAN_FOLDER:-/usr/share/datasets/fashion-mnist}
raw=${SNN_CORE_CACHE:-${XDG_CACHE_HOME:-~/.cache}/snn_core}/FashionMNIST/raw

# A download that failed leaves an empty folder behind.
ls "$raw"/{train,t10k}-{images-idx3,labels-idx1}-ubyte > /dev/null 2>&1 && exit
scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT
if [ ! -d "$installed" ]; then
    (cd "$scratch" && apt-get -q -o Acquire::Retries=0 -o Acquire::http::Timeout=20 download "$package" &&
        dpkg-deb -x ./*.deb .)
    installed=$scratch/usr/share/datasets/fashion-mnist
fi
mkdir -p "$raw" && part=$(mktemp -d "$raw.XXXXXX") && cp "$installed"/*.gz "$part" && gunzip "$part"/*.gz &&
    mv "$part"/* "$raw" && rmdir "$part" ||
    { rm -rf "${part:-}"; echo "Debian's package $package could not be fetched with apt-get and dpkg-deb; torchvision is tried"; }
