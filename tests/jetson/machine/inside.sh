#!/usr/bin/env bash
# Inside the emulated machine: installs from a wheelhouse, hears a fan, and says on the console what it saw.
#
# A line "MARK NAME ok|FAILED SECONDS" for each thing seen; judge.py knows which are wanted. /srv holds the wheelhouse
# (stick), a bundle, site.yaml and two sounds (16 kHz, mono, 16 bits, without a header).
set -uo pipefail

LOG=/run/inside.log

mark() { # NAME ok|FAILED
  echo "MARK $1 $2 $(cut -d ' ' -f 1 /proc/uptime)"
}

check() { # NAME COMMAND...
  local name=$1
  shift
  echo "== $name: $*" >>"$LOG"
  if "$@" >>"$LOG" 2>&1; then
    mark "$name" ok
  else
    mark "$name" FAILED
    tail -n 40 "$LOG"
    journalctl -q -o cat -n 25 --no-pager
  fi
}

within() { # SECONDS COMMAND...: far more than it takes, on a machine that is emulated beside other work
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 1
  done
}

pid() { systemctl show auscult -p MainPID --value; }

relay() { # hi|lo, as the kernel drives the line
  grep -Eq "gpio-[0-9]+ .*auscult.*out $1" /sys/kernel/debug/gpio
}

released() { ! grep -q auscult /sys/kernel/debug/gpio; }

speaker() { # the sound of a fan into the other end of the loopback card; /run/fault: with a fault
  while if [[ -e /run/fault ]]; then cat /srv/fault.raw; else cat /srv/normal.raw; fi; do
    :
  done | aplay -q -t raw -f S16_LE -r 16000 -c 1 -D plughw:Loopback,1
}

from_stick() { /srv/stick/jetson/install.sh --site /srv/site.yaml; }

interrupted() { # killed in the middle of pip
  from_stick &
  local installer=$!
  within 900 compgen -G '/opt/auscult/program-*/lib/python3*/site-packages/numpy' >/dev/null
  kill -KILL $installer
  pkill -KILL -f stick/pip
  wait $installer
  [[ -e /opt/auscult/.unfinished && ! -e /opt/auscult/venv ]]
}

installed() { from_stick && [[ ! -e /opt/auscult/.unfinished ]]; }

unchanged() { # the second run: says so, and the listener was not restarted
  local before
  before=$(pid)
  from_stick | tee /run/again && grep -q 'nothing was changed' /run/again && [[ $(pid) == "$before" ]]
}

listening() { # a window was scored: the service says it
  systemctl show auscult -p StatusText --value | grep 'listens to 1 of 1'
}

alarm() { # STATE, of the anomaly
  auscult alarms /etc/auscult/site.yaml | grep -E "^fan +anomaly +$1"
}

restarted() { # PID of before
  [[ $(pid) != "$1" && $(pid) != 0 ]] && systemctl -q is-active auscult
}

watchdog() { # PID of before
  within 300 restarted "$1" && journalctl -q -u auscult | grep 'Watchdog timeout'
}

confined() { # no capability, no new ones, system calls filtered, memory bounded, the system read-only
  local status
  status=$(cat "/proc/$(pid)/status")
  grep -q '^CapEff:[[:space:]]*0*$' <<<"$status" && grep -q '^NoNewPrivs:[[:space:]]*1' <<<"$status" &&
    grep -q '^Seccomp:[[:space:]]*2' <<<"$status" &&
    [[ $(cat /sys/fs/cgroup/system.slice/auscult.service/memory.max) == 536870912 ]] &&
    ! nsenter -t "$(pid)" -m touch /usr/written && ! nsenter -t "$(pid)" -m touch /etc/auscult/written
}

recorded() { # the alarm of before, whole
  compgen -G '/var/lib/auscult/events/*-fan/event.json' >/dev/null
}

page() { # answers here and nowhere else, hears the listener, and may ask the kernel about the clock
  local health=/run/health
  within 180 curl -fsS -o $health http://127.0.0.1:8321/api/health || return 1
  cat $health
  grep -Eq '"clock_follows":(true|false)' $health && grep -q '"microphones":\[{' $health &&
    curl -fsS -o /dev/null http://127.0.0.1:8321/ && ! ss -ltnH | grep :8321 | grep -v 127.0.0.1
}

names() { # of every file that lasts
  find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /dev -o -path /tmp -o -path /srv -o -path /var/log \
    -o -path /var/lib/systemd -o -path /var/tmp -o -name '*-' -o -name '.pwd.lock' \) -prune -o -print | sort
}

removed() {
  /srv/stick/jetson/install.sh --uninstall && [[ -e /etc/auscult/site.yaml && -e /var/lib/auscult/journal.db ]] &&
    [[ ! -e /opt/auscult && ! -e /etc/systemd/system/auscult.service ]] && ! systemctl -q is-active auscult
}

purged() {
  /srv/stick/jetson/install.sh --uninstall --purge && ! getent passwd auscult && ! getent group gpio &&
    names | diff /run/names -
}

stty -F /dev/ttyAMA0 cols 200 2>/dev/null
mount -o remount,size=90% / # what lies in memory is the disk here
mount -t debugfs none /sys/kernel/debug 2>/dev/null
names >/run/names
mark booted ok
speaker &
SPEAKER=$!
check interrupted interrupted
check installed installed
check listening within 180 listening
check relay-energised within 180 relay hi
check unchanged unchanged
touch /run/fault
check alarm-raised within 180 alarm unacknowledged
check relay-drops within 60 relay lo
rm /run/fault
check alarm-returns within 180 alarm 'returned unacknowledged'
check recorded within 120 recorded
check acknowledged within 120 runuser -u auscult -- auscult ack /etc/auscult/site.yaml fan --by test
check relay-again within 120 relay hi
check confined confined
HUNG=$(pid)
kill -STOP "$HUNG"
check relay-drops-when-hung within 60 relay lo
check watchdog watchdog "$HUNG"
check relay-after-watchdog within 180 relay hi
check page page
systemctl show auscult -p MemoryCurrent -p MemoryPeak -p NRestarts -p Result
check uninstalled removed
check relay-released released
check purged purged
kill $SPEAKER
mark end ok
