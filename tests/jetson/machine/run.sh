#!/usr/bin/env bash
# An emulated arm64 board with real systemd, a sound card and a relay chip: install, listen, alarm, uninstall.
#
#     tests/jetson/machine/run.sh        as root; `make device-test` runs it
#
# What does not change between runs is kept in ~/.cache/auscult/device-machine. Needs qemu-system-arm, what prepare.sh
# needs, and a Python with this project and its calib extra (PYTHON, python3). Emulated: no timing, no CUDA.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../../.." && pwd)
CACHE=${AUSCULT_DEVICE_MACHINE:-${XDG_CACHE_HOME:-$HOME/.cache}/auscult/device-machine}
PYTHON=${PYTHON:-python3}
MEMORY_MB=4096

sounds() { # FOLDER: a fan, a bundle without a network that knows it, and its sound without and with a fault
  local made=$SCRATCH/made stream like
  like=(--like "$made/data/dev_data/fan" --seconds 20)
  cd "$ROOT"
  "$PYTHON" train/simulate.py "$made/data" --machines fan --source 12 --target 2 --test 1 --workers 1 --seed 3
  "$PYTHON" calib/fit.py --no-network --data "$made/data" --out "$1/fan.bundle" --window-frames 62
  "$PYTHON" train/simulate.py --stream "$made/normal.wav" "${like[@]}"
  "$PYTHON" train/simulate.py --stream "$made/fault.wav" "${like[@]}" --fault-at 0 --fault rub --severity 15
  for stream in normal fault; do
    "$PYTHON" -c 'import sys, soundfile; sys.stdout.buffer.write(soundfile.read(sys.argv[1], dtype="int16")[0].tobytes())' \
      "$made/$stream.wav" >"$1/$stream.raw"
  done
}

overlay() { # what this run adds to the root -> the archive
  local top=$SCRATCH/top
  mkdir -p "$top/srv" "$top/etc/systemd/system/multi-user.target.wants"
  "$ROOT/jetson/wheelhouse.sh" "$top/srv/stick" --python 3.11
  sounds "$top/srv"
  cp "$HERE"/{inside.sh,site.yaml} "$top/srv"
  cp "$HERE/drive.service" "$top/etc/systemd/system"
  ln -s ../drive.service "$top/etc/systemd/system/multi-user.target.wants/drive.service"
  chmod -R go+rX "$top"
  (cd "$top" && find . -print0 | cpio -0 -o -H newc --quiet -R 0:0) | zstd -q -1 | cat "$CACHE/base.cpio.zst" - >"$SCRATCH/initrd"
  rm -rf "$top" "$SCRATCH/made"
}

boot() {
  nice qemu-system-aarch64 -M virt -cpu cortex-a76 -smp 2 -m "$MEMORY_MB" -kernel "$CACHE/vmlinuz" -initrd "$SCRATCH/initrd" \
    -append 'console=ttyAMA0 quiet panic=1' -nographic -no-reboot -net none </dev/null
}

[[ $(id -u) == 0 ]] || { echo "device-test: only root can make the machine's files; run it as root" >&2; exit 2; }
for tool in qemu-system-aarch64 debootstrap update-binfmts cpio zstd; do
  command -v "$tool" >/dev/null || { echo "device-test: no $tool; apt-get install qemu-system-arm qemu-user-static" \
    "binfmt-support debootstrap cpio zstd" >&2; exit 2; }
done
SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
nice "$HERE/prepare.sh" "$CACHE"
overlay
boot | "$PYTHON" "$HERE/judge.py"
