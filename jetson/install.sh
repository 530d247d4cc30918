#!/usr/bin/env bash
# From an empty board to a listening service. The same command again updates, and changes only what differs.
#
#     sudo jetson/install.sh                        with the packages of apt and PyPI
#     sudo jetson/install.sh --site FILE            with a site file; one that is there already is kept
#     sudo jetson/install.sh --wheelhouse DIR       without a network: DIR is made by jetson/wheelhouse.sh
#     sudo jetson/install.sh --uninstall [--purge]  --purge: with /etc/auscult, /var/lib/auscult and the user
#
#     --prefix DIR   the program goes there (/opt/auscult)     --no-page    without the status page
#     --dry-run      say what would be done, do nothing        --no-start   put everything in place, start nothing
#     --root DIR     act on the system below DIR (tests)       --help       these lines
#
# Exit codes: 0 done; 1 in place, but it does not listen; 2 refused, or a step failed: run it again when that is mended.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
umask 022 # the service's user reads what root writes

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT='' PREFIX=/opt/auscult SITE='' WHEELHOUSE='' PAGE=1 START=1 DRY=0 UNINSTALL=0 PURGE=0
EXTRAS=mic,relay,calib,web
NEEDED_MB=1200 # of disk: two programs of 400 MB lie side by side while one is exchanged for the other
TENSORRT=0     # whether the system's Python has it
RESUMED=0      # whether an earlier run was interrupted
CHANGES=()

# shellcheck source=refuse.sh
. "$HERE/refuse.sh"
# shellcheck source=program.sh
. "$HERE/program.sh"
# shellcheck source=remove.sh
. "$HERE/remove.sh"

fail() { # PLACE: WHAT CAME; WHAT WAS WANTED; NEXT STEP
  echo "install.sh: $*" >&2
  exit 2
}

say() { echo "install.sh: $*"; }

run() { # COMMAND...: unless this is a dry run
  if ((DRY)); then echo "would run: $*"; else "$@"; fi
}

changed() { # WHAT
  CHANGES+=("$1")
  say "$1"
}

touched() { # GLOB: whether such a thing was changed now, or may have been by a run that was interrupted
  ((RESUMED)) && return 0
  local change
  for change in ${CHANGES[@]+"${CHANGES[@]}"}; do
    # shellcheck disable=SC2053 # a pattern is meant
    [[ $change == $1 ]] && return 0
  done
  return 1
}

usage() { sed -n '2,/^# Exit/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

value() { # OPTION COUNT
  (($2 > 1)) || fail "$1: nothing came after it; wanted a path; see --help"
}

options() {
  while (($#)); do
    case $1 in
      --site | --wheelhouse | --prefix | --root) value "$1" $# ;;&
      --site) SITE=$2 && shift ;;
      --wheelhouse) WHEELHOUSE=$2 && shift ;;
      --prefix) PREFIX=$2 && shift ;;
      --root) ROOT=$2 && shift ;;
      --no-page) PAGE=0 ;;
      --no-start) START=0 ;;
      --dry-run) DRY=1 ;;
      --uninstall) UNINSTALL=1 ;;
      --purge) PURGE=1 ;;
      --help | -h) usage && exit 0 ;;
      *) fail "$1: no such option; see --help" ;;
    esac
    shift
  done
  ((UNINSTALL || !PURGE)) || fail "--purge: goes with --uninstall only; leave it out, or add --uninstall"
  [[ $PREFIX == /*/* && $PREFIX != */ ]] || fail "--prefix $PREFIX: wanted a full path such as /opt/auscult"
  [[ -n $WHEELHOUSE || -f $HERE/../pyproject.toml ]] || WHEELHOUSE=$HERE/.. # the kit travels inside a wheelhouse
}

put() { # FROM TO MODE OWNER: a file that differs is replaced, whole
  local to=$ROOT$2
  if [[ -e $to ]] && cmp -s "$1" "$to" && [[ $(stat -c %a "$to") == "$3" ]]; then return; fi
  changed "file $2"
  run install -D -m "$3" "$1" "$to.new"
  run chown "$4" "$to.new"
  run mv "$to.new" "$to"
}

folder() { # PATH MODE OWNER
  [[ -d $ROOT$1 && $(stat -c %a "$ROOT$1") == "$2" ]] && return
  changed "folder $1"
  run install -d -m "$2" "$ROOT$1"
  run chown "$3" "$ROOT$1"
}

begin() { # what a run that was interrupted did is not known: its files are looked at, and everything is told again
  [[ -e $ROOT$PREFIX/.unfinished ]] && RESUMED=1 && say "an earlier run was interrupted: it is completed now"
  ((DRY)) && return
  mkdir -p "$ROOT$PREFIX"
  exec 9>>"$ROOT$PREFIX/.auscult"
  flock -n 9 || fail "$PREFIX: another install.sh is at work; wait for it"
  touch "$ROOT$PREFIX/.unfinished"
}

has_portaudio() { [[ $(ldconfig -p 2>/dev/null) == *libportaudio.so.2* ]]; }

packages() {
  local missing=()
  has_portaudio || missing+=(libportaudio2)
  [[ -n $WHEELHOUSE ]] || python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
  ((${#missing[@]})) || return 0
  changed "packages ${missing[*]}"
  ((RESUMED)) && run dpkg --configure -a
  export DEBIAN_FRONTEND=noninteractive
  local get=(apt-get -qq -y -o DPkg::Lock::Timeout=300)
  if [[ -n $WHEELHOUSE ]]; then
    run "${get[@]}" install --no-install-recommends --no-download "$WHEELHOUSE"/*.deb >/dev/null ||
      fail "apt-get: the packages in $WHEELHOUSE cannot be installed; wanted ${missing[*]} and what it needs; see above"
  else
    run "${get[@]}" update || say "apt-get update failed: going on with the lists of before"
    run "${get[@]}" install --no-install-recommends "${missing[@]}" >/dev/null ||
      fail "apt-get: ${missing[*]} cannot be installed; see above; without a network use --wheelhouse"
  fi
}

user() {
  local group wanted=(audio gpio)
  ((TENSORRT)) && wanted+=(video render)
  if ! getent group gpio >/dev/null; then
    changed "group gpio"
    run groupadd --system gpio
    run touch "$ROOT$PREFIX/.made-group-gpio"
  fi
  if ! getent passwd auscult >/dev/null; then
    changed "user auscult"
    run useradd --system --user-group --home-dir /var/lib/auscult --no-create-home --shell /usr/sbin/nologin auscult
  fi
  for group in "${wanted[@]}"; do
    getent group "$group" >/dev/null || continue
    [[ " $(id -nG auscult 2>/dev/null) " == *" $group "* ]] && continue
    changed "user auscult joins $group"
    run usermod --append --groups "$group" auscult
  done
}

unit() { # NAME, with the prefix filled in
  sed "s#/opt/auscult#$PREFIX#g" "$HERE/$1" >"$SCRATCH/$1"
  put "$SCRATCH/$1" "/etc/systemd/system/$1" 644 root:root
}

units() {
  local drop_in=/etc/systemd/system/auscult.service.d/jetson-gpu.conf
  unit auscult.service
  if ((TENSORRT)); then
    put "$HERE/jetson-gpu.conf" "$drop_in" 644 root:root
  elif [[ -e $ROOT$drop_in ]]; then
    changed "file $drop_in: removed"
    run rm "$ROOT$drop_in"
  fi
  if has_page; then unit auscult-page.service; fi
  if touched 'file /etc/systemd/*'; then run systemctl daemon-reload; fi
}

has_page() {
  ((PAGE)) || return 1
  ((DRY)) || "$ROOT$PREFIX/venv/bin/python" -m edge_runtime serve --help >/dev/null 2>&1
}

rules() {
  put "$HERE/99-auscult.rules" /etc/udev/rules.d/99-auscult.rules 644 root:root
  touched 'file /etc/udev/*' || return 0
  run udevadm control --reload
  run udevadm trigger --action=change --subsystem-match=gpio --subsystem-match=sound
}

site() {
  local to=/etc/auscult/site.yaml
  if [[ ! -e $ROOT$to ]]; then
    put "${SITE:-$HERE/device.yaml}" "$to" 640 root:auscult
  elif [[ -n $SITE ]] && ! cmp -s "$SITE" "$ROOT$to"; then
    put "$SITE" "$to.new" 640 root:auscult
    say "$to is kept as it is; yours lies beside it as site.yaml.new"
  fi
}

service() { # UNIT
  systemctl -q is-enabled "$1" 2>/dev/null || run systemctl -q enable "$1"
  if touched 'program*' || touched "file /etc/systemd/system/$1*" || touched 'user auscult*' || touched 'file /etc/auscult/site.yaml'; then
    run systemctl restart "$1"
  elif ! systemctl -q is-active "$1"; then
    changed "started $1"
    run systemctl start "$1"
  fi || { say "$1 does not start; see: journalctl -u $1 -n 20" >&2; return 1; }
}

valid() {
  ((DRY)) && return
  runuser -u auscult -- "$ROOT$PREFIX/venv/bin/python" -m edge_runtime validate "$ROOT/etc/auscult/site.yaml"
}

start() { # -> whether it listens, or was not asked to
  ((START)) || return 0
  if ! valid; then
    say "/etc/auscult/site.yaml is not complete, see above: nothing is started. Fill it in, then run this again" >&2
    return 1
  fi
  service auscult.service || return 1
  if has_page; then
    service auscult-page.service || return 1
  elif [[ -e $ROOT/etc/systemd/system/auscult-page.service ]]; then
    run systemctl -q disable --now auscult-page.service
  fi
}

finish() { # CODE, 1 where it does not listen: what was begun is done; programs of before go once the new one listens
  local old
  for old in "$ROOT$PREFIX"/program-*; do
    [[ -d $old && ${old##*/} != $(readlink "$ROOT$PREFIX/venv") ]] || continue
    if (($1)); then
      say "the program of before is kept; back to it: ln -sfn ${old##*/} $PREFIX/venv && systemctl restart auscult"
    else
      run rm -rf "$old"
    fi
  done
  ((DRY)) || rm -f "$ROOT$PREFIX/.unfinished"
}

install_all() {
  find_tensorrt
  begin
  packages
  user
  folder /etc/auscult 750 root:auscult
  folder /var/lib/auscult 750 auscult:auscult
  program
  command_line
  units
  rules
  site
  local listens=0
  start || listens=1
  finish $listens
  ((${#CHANGES[@]})) || say "everything is as it should be: nothing was changed"
  return $listens
}

main() {
  options "$@"
  refusals
  cd / # where no checkout is taken for what is installed
  SCRATCH=$(mktemp -d)
  trap 'rm -rf "$SCRATCH"' EXIT
  if ((UNINSTALL)); then uninstall; else install_all; fi
}

main "$@"
