# Part of install.sh: --uninstall and --purge.
# shellcheck shell=bash

remove() { # PATH
  local path=$ROOT$1
  [[ -e $path || -L $path ]] || return 0
  changed "removed $1"
  run rm -rf "$path"
}

uninstall() {
  local place
  [[ ! -e $ROOT$PREFIX || -e $ROOT$PREFIX/.auscult ]] ||
    fail "--prefix $PREFIX: was not made by install.sh; wanted what it was installed with; give that"
  for place in auscult-page.service auscult.service; do
    [[ -e $ROOT/etc/systemd/system/$place ]] && run systemctl -q disable --now "$place"
    remove "/etc/systemd/system/$place"
  done
  remove /etc/systemd/system/auscult.service.d/jetson-gpu.conf
  rmdir "$ROOT/etc/systemd/system/auscult.service.d" 2>/dev/null || true
  run systemctl daemon-reload
  run systemctl reset-failed 'auscult*' || true
  remove /etc/udev/rules.d/99-auscult.rules
  run udevadm control --reload
  [[ $(readlink "$ROOT/usr/local/bin/auscult") == "$PREFIX/venv/bin/auscult" ]] && remove /usr/local/bin/auscult
  remove /var/cache/auscult
  purge
  if [[ -e $ROOT$PREFIX/.made-group-gpio ]]; then changed "removed group gpio" && run groupdel gpio; fi
  remove "$PREFIX"
  ((${#CHANGES[@]})) || say "nothing of auscult was here"
}

purge() {
  if ((!PURGE)); then
    say "kept: /etc/auscult, /var/lib/auscult and their user auscult; --purge removes them too"
    return
  fi
  remove /etc/auscult
  remove /var/lib/auscult
  if getent passwd auscult >/dev/null; then changed "removed user auscult" && run userdel auscult; fi
}
