#!/usr/bin/env bash
# Put the four files of Debian's package dataset-fashion-mnist into the cache, without root and without installing
# it, where neither the system nor the cache has them. A failure is reported and no error, since what follows it,
# `python -m sequential_fmnist.data`, checks the files or takes the next source.
set -uo pipefail

package=dataset-fashion-mnist
cache=${SNN_CORE_CACHE:-${XDG_CACHE_HOME:-~/.cache}/snn_core}

dpkg -s "$package" >/dev/null 2>&1 && exit
missing=0
for name in {train,t10k}-{images-idx3,labels-idx1}-ubyte; do
    [ -e "$cache/$name" ] || [ -e "$cache/$name.gz" ] || missing=1
done
[ "$missing" = 0 ] && exit

scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT &&
    (cd "$scratch" && apt-get -q -o Acquire::Retries=0 -o Acquire::http::Timeout=20 download "$package" &&
        dpkg-deb -x ./*.deb .) &&
    mkdir -p "$cache" && cp "$scratch"/usr/share/datasets/fashion-mnist/*.gz "$cache" ||
    echo "Debian's package $package could not be fetched with apt-get and dpkg-deb; the next source is tried"
