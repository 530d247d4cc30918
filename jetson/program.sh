# Part of install.sh: the program itself, in an environment of its own.
# shellcheck shell=bash

find_tensorrt() {
  if python3 -c 'import tensorrt' 2>/dev/null; then
    TENSORRT=1 EXTRAS+=,jetson
    say "TensorRT of the system: the GPU can listen (backend: tensorrt in the site file)"
  elif is_jetson; then
    say "no TensorRT for python3: the processor listens, which is enough; for the GPU: apt-get install nvidia-jetpack," \
      "and run this again"
  fi
}

fingerprint() { # of all that decides what the program is
  {
    python3 -V
    echo "$EXTRAS $TENSORRT"
    if [[ -n $WHEELHOUSE ]]; then
      cd "$WHEELHOUSE" && sha256sum auscult-*.whl && ls ./*.whl
    else
      cd "$HERE/.." && find edge_runtime calib train export pyproject.toml constraints.txt -type f \
        ! -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum
    fi
  } | sha256sum | cut -c 1-12
}

pip_install() { # PYTHON
  local pip=("$1" -m pip) quiet=(-q --disable-pip-version-check --no-cache-dir)
  if [[ -n $WHEELHOUSE ]]; then
    pip=("$1" "$(compgen -G "$WHEELHOUSE/pip-*.whl" | head -1)/pip")
    run "${pip[@]}" install "${quiet[@]}" --no-index --find-links "$WHEELHOUSE" "auscult[$EXTRAS]"
  else
    run "${pip[@]}" install "${quiet[@]}" -c "$HERE/../constraints.txt" "$HERE/..[$EXTRAS]"
  fi
}

program() { # a new one beside the old, which runs until the link is turned: losing power leaves one of them whole
  local name target options=()
  name=program-$(fingerprint)
  target=$PREFIX/$name
  if [[ ! -e $ROOT$target/complete ]]; then
    changed "program $target"
    ((TENSORRT)) && options+=(--system-site-packages)
    [[ -n $WHEELHOUSE ]] && options+=(--without-pip)
    run rm -rf "$ROOT$target"
    run python3 -m venv ${options[@]+"${options[@]}"} "$ROOT$target" || fail "python3 -m venv $target: failed; see above"
    pip_install "$ROOT$target/bin/python" ||
      fail "pip: the program cannot be installed; see above; without a network use --wheelhouse"
    run sync -f "$ROOT$target" # its files before their proof
    run touch "$ROOT$target/complete"
  fi
  [[ $(readlink "$ROOT$PREFIX/venv" || true) == "$name" ]] && return
  changed "program in use: $target"
  run ln -sfn "$name" "$ROOT$PREFIX/venv.new"
  run sync -f "$ROOT$PREFIX"
  run mv -T "$ROOT$PREFIX/venv.new" "$ROOT$PREFIX/venv"
  run sync -f "$ROOT$PREFIX"
}

command_line() {
  local link=/usr/local/bin/auscult to=$PREFIX/venv/bin/auscult
  [[ $(readlink "$ROOT$link" || true) == "$to" ]] && return
  [[ -e $ROOT$link && ! -L $ROOT$link ]] && say "$link is not a link of ours: left as it is" && return
  changed "command $link"
  run mkdir -p "$ROOT/usr/local/bin"
  run ln -sfn "$to" "$ROOT$link"
}
