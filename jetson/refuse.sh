# Part of install.sh: what is refused, before anything is changed.
# shellcheck shell=bash disable=SC2153 # options come from install.sh

check_root() {
  ((DRY)) || [[ $(id -u) == 0 ]] || fail "user $(id -un): only root may install; run: sudo $0"
}

check_machine() {
  local machine architecture=unknown
  machine=$(uname -m)
  if command -v dpkg >/dev/null; then architecture=$(dpkg --print-architecture); fi
  case $machine:$architecture in
    aarch64:arm64 | x86_64:amd64) ;;
    arm*:* | aarch64:arm* | i?86:* | x86_64:i386)
      fail "processor $machine with $architecture packages: 32 bits; wanted a 64-bit system (arm64 or amd64), the" \
        "libraries exist for nothing else; install the 64-bit image of this board" ;;
    *) fail "processor $machine with $architecture packages: wanted aarch64 or x86_64 and Debian's packages" ;;
  esac
}

is_jetson() { [[ -e $ROOT/etc/nv_tegra_release ]] || dpkg-query -W nvidia-l4t-core >/dev/null 2>&1; }

of_system() { # FIELD of os-release
  sed -n "s/^$1=//p" "$ROOT/etc/os-release" 2>/dev/null | tr -d '"'
}

check_system() {
  local name family
  name=$(of_system PRETTY_NAME) family=" $(of_system ID) $(of_system ID_LIKE) "
  [[ $family == *" debian "* || $family == *" ubuntu "* ]] ||
    fail "/etc/os-release: ${name:-no known system}; wanted Debian or Ubuntu (JetPack is Ubuntu); use one of them"
  command -v apt-get >/dev/null || fail "${name:-this system}: no apt-get; wanted Debian or Ubuntu with apt"
  [[ -d $ROOT/run/systemd/system ]] ||
    fail "${name:-this system}: systemd does not run here (a container?); wanted a system that it starts: it restarts" \
      "the listener; in a container use pip and a restart policy instead"
}

python_version() { python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

check_python() {
  command -v python3 >/dev/null || fail "python3: not found; wanted 3.10 or newer; run: apt-get install python3"
  local version
  version=$(python_version)
  [[ $version =~ ^3\.[0-9]+$ ]] && ((${version#3.} >= 10)) && return
  if is_jetson; then
    fail "python3: $version, as in JetPack 5 and older; wanted 3.10 or newer; flash JetPack 6 or 7"
  fi
  fail "python3: $version; wanted 3.10 or newer; upgrade to Debian 12, Ubuntu 22.04 or newer"
}

check_disk() {
  local place=$ROOT$PREFIX free
  until [[ -d $place ]]; do place=$(dirname "$place"); done
  free=$(df -Pm "$place" | awk 'NR == 2 { print $4 }')
  ((free >= NEEDED_MB)) || fail "$place: $free MB free; wanted $NEEDED_MB MB; make room, or give --prefix another disk"
}

check_prefix() { # what --uninstall removes must be ours
  local place=$ROOT$PREFIX
  [[ ! -e $place || -e $place/.auscult || -z $(ls -A "$place") ]] ||
    fail "--prefix $PREFIX: holds something else; wanted a new or empty folder; give another"
}

check_sources() {
  [[ -z $SITE || -r $SITE ]] || fail "--site $SITE: cannot be read; give the path of a site file"
  [[ -z $SITE ]] || SITE=$(realpath "$SITE")
  [[ -n $WHEELHOUSE ]] || return 0
  [[ -d $WHEELHOUSE ]] || fail "--wheelhouse $WHEELHOUSE: no such folder; make one: jetson/wheelhouse.sh DIR"
  WHEELHOUSE=$(cd "$WHEELHOUSE" && pwd)
  local wanted version
  version=$(python_version)
  for wanted in 'auscult-*.whl' 'pip-*.whl' "numpy-*-cp${version/./}-*_$(uname -m).whl"; do
    compgen -G "$WHEELHOUSE/$wanted" >/dev/null ||
      fail "--wheelhouse $WHEELHOUSE: no $wanted; wanted wheels for Python $version on $(uname -m); make it anew:" \
        "jetson/wheelhouse.sh DIR --python $version --machine $(uname -m)"
  done
  has_portaudio || compgen -G "$WHEELHOUSE/*.deb" >/dev/null ||
    fail "libportaudio2: not on this system, and no .deb of it in $WHEELHOUSE; wanted it to hear a microphone; on a" \
      "machine with this system: apt-get download libportaudio2 libjack-jackd2-0 libsamplerate0 libopus0, and copy the files there"
}

refusals() {
  check_root
  ((UNINSTALL)) && return
  check_machine
  check_system
  check_python
  check_prefix
  check_disk
  check_sources
}
