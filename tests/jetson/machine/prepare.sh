#!/usr/bin/env bash
# The arm64 machine that does not change between runs: Debian's root, kernel and sound module, as one packed archive.
#
#     tests/jetson/machine/prepare.sh FOLDER        as root; minutes once, nothing after that
#
# FOLDER then holds vmlinuz and base.cpio.zst. Needs debootstrap, qemu-user-static with binfmt-support, cpio, zstd, curl.
set -euo pipefail

FOLDER=${1:?prepare.sh FOLDER}
MIRROR=${MIRROR:-http://deb.debian.org/debian}
SUITE=bookworm
PACKAGES=systemd,systemd-sysv,udev,dbus,kmod,python3,python3-venv,libportaudio2,alsa-utils,procps,iproute2,curl,gpiod
MODULES=(sound/soundcore.ko sound/core sound/drivers/snd-aloop.ko)

root=$FOLDER/root

emulate() {
  mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
  update-binfmts --enable qemu-aarch64
}

bootstrap() {
  [[ -e $FOLDER/root.done ]] && return
  echo "prepare: $SUITE for arm64 into $root (a few minutes)"
  emulate
  rm -rf "$root"
  debootstrap --arch=arm64 --variant=minbase --include="$PACKAGES" "$SUITE" "$root" "$MIRROR" >"$FOLDER/debootstrap.log" 2>&1 ||
    { tail -5 "$FOLDER/debootstrap.log" >&2; exit 2; }
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}
  touch "$FOLDER/root.done"
}

# The newest kernel of the suite; its name is not known beforehand.
kernel() {
  [[ -e $FOLDER/kernel.done ]] && return
  local index=$FOLDER/Packages package path
  curl -fsS "$MIRROR/dists/$SUITE/main/binary-arm64/Packages.xz" | xz -d >"$index"
  package=$(awk -v RS= '/^Package: linux-image-arm64\n/' "$index" | sed -n 's/^Depends: \([^ ,]*\).*/\1/p')
  path=$(awk -v RS= -v name="$package" '$0 ~ "^Package: " name "\n"' "$index" | sed -n 's/^Filename: //p' | head -1)
  echo "prepare: $package"
  rm -rf "$FOLDER/kernel"
  mkdir "$FOLDER/kernel"
  curl -fsS "$MIRROR/$path" -o "$FOLDER/kernel.deb"
  dpkg-deb -x "$FOLDER/kernel.deb" "$FOLDER/kernel"
  cp "$FOLDER"/kernel/boot/vmlinuz-* "$FOLDER/vmlinuz"
  rm "$index" "$FOLDER/kernel.deb"
  touch "$FOLDER/kernel.done"
}

# Only the modules that are needed: the whole tree is 400 MB, and all of it lies in the machine's memory.
modules() {
  local from to module
  from=$(echo "$FOLDER"/kernel/lib/modules/*)
  to=$root/usr/lib/modules/${from##*/}
  rm -rf "$to"
  for module in "${MODULES[@]}"; do
    mkdir -p "$to/kernel/$(dirname "$module")"
    cp -r "$from/kernel/$module" "$to/kernel/$module"
  done
  cp "$from"/modules.{builtin,builtin.modinfo,order} "$to"
  depmod -b "$root" "${from##*/}"
}

settle() {
  ln -sf /usr/lib/systemd/systemd "$root/init"
  echo device >"$root/etc/hostname"
  printf '127.0.0.1 localhost device\n' >"$root/etc/hosts"
  echo "uninitialized" >"$root/etc/machine-id"
  echo snd-aloop >"$root/etc/modules-load.d/sound.conf"
  local unit
  for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer getty.target; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
  done
}

packed() { # since the root, the kernel and this script are what they are
  local from
  for from in "$FOLDER"/{root,kernel}.done "${BASH_SOURCE[0]}"; do
    [[ $FOLDER/base.cpio.zst -nt $from ]] || return 1
  done
}

pack() {
  (cd "$root" && find . -print0 | cpio -0 -o -H newc --quiet) | zstd -q -3 >"$FOLDER/base.partial"
  mv "$FOLDER/base.partial" "$FOLDER/base.cpio.zst"
}

mkdir -p "$FOLDER"
bootstrap
kernel
packed && exit
modules
settle
pack
