#!/usr/bin/env bash
# All that a board without a network needs, in one folder: wheels, the project's own too, and this kit.
#
#     jetson/wheelhouse.sh DIR                      for JetPack 6: Python 3.10 on arm64
#     jetson/wheelhouse.sh DIR --python 3.12        for JetPack 7 and Ubuntu 24.04; 3.11: Debian 12, 3.13: Debian 13
#     jetson/wheelhouse.sh DIR --machine x86_64     for another processor (aarch64)
#
# Runs on a desktop with a network and Python 3.11. Then copy DIR to the board: sudo DIR/jetson/install.sh
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
OUT='' PYTHON=3.10 MACHINE=aarch64
EXTRAS=(mic relay calib web jetson)

fail() {
  echo "wheelhouse.sh: $*" >&2
  exit 2
}

options() {
  while (($#)); do
    case $1 in
      --python | --machine) (($# > 1)) || fail "$1: nothing came after it; see --help" ;;&
      --python) PYTHON=$2 && shift ;;
      --machine) MACHINE=$2 && shift ;;
      --help | -h) sed -n '2,/^set -euo/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit 0 ;;
      -*) fail "$1: no such option; see --help" ;;
      *) [[ -z $OUT ]] || fail "$1: a second folder; wanted one" && OUT=$1 ;;
    esac
    shift
  done
  [[ -n $OUT ]] || fail "no folder; wanted DIR; see --help"
  [[ $PYTHON =~ ^3\.1[0-9]$ ]] || fail "--python $PYTHON: wanted 3.10 or newer"
  [[ $MACHINE == aarch64 || $MACHINE == x86_64 ]] || fail "--machine $MACHINE: wanted aarch64 or x86_64"
  [[ ! -e $OUT || -z $(ls -A "$OUT") ]] || fail "$OUT: is not empty; give a new folder"
}

tools() { # pip takes the markers of a requirement from the Python that it runs on, uv from the one that is asked for
  python3 -m venv "$SCRATCH/tools"
  "$SCRATCH/tools/bin/pip" install -q --disable-pip-version-check -c "$ROOT/constraints.txt" --upgrade pip uv
}

resolve() { # -> every library with its version
  local extra options=()
  for extra in "${EXTRAS[@]}"; do
    if grep -q "^$extra = " "$ROOT/pyproject.toml"; then options+=(--extra "$extra"); fi
  done
  "$SCRATCH/tools/bin/uv" pip compile -q --no-header --no-annotate --only-binary :all: "${options[@]}" \
    --python-platform "$MACHINE-manylinux_2_28" --python-version "$PYTHON" \
    -c "$ROOT/constraints.txt" "$ROOT/pyproject.toml" -o "$SCRATCH/libraries.txt"
}

download() {
  local glibc platforms=()
  for glibc in {17..28}; do platforms+=(--platform "manylinux_2_${glibc}_$MACHINE"); done
  "$SCRATCH/tools/bin/pip" download -q --disable-pip-version-check --no-deps --only-binary :all: \
    --python-version "$PYTHON" --implementation cp "${platforms[@]}" --platform "manylinux2014_$MACHINE" \
    -r "$SCRATCH/libraries.txt" pip -d "$OUT"
  "$SCRATCH/tools/bin/pip" wheel -q --disable-pip-version-check --no-deps -w "$OUT" "$ROOT"
}

kit() {
  mkdir "$OUT/jetson"
  cp "$ROOT"/jetson/* "$OUT/jetson"
}

options "$@"
SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
tools
resolve
mkdir -p "$OUT"
download
kit
echo "$OUT: $(find "$OUT" -name '*.whl' | wc -l) wheels for Python $PYTHON on $MACHINE, $(du -sm "$OUT" | cut -f 1) MB"
