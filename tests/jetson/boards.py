"""A board that is a folder: install.sh acts below it, with small programs in the place of what changes a system."""

import os
import subprocess
from pathlib import Path

from tests.conftest import ROOT

KIT = ROOT / "jetson"
CHANGING = ("apt-get", "useradd", "usermod", "groupadd", "userdel", "groupdel", "chown", "systemctl", "udevadm")

# What every stand-in does first: say that it was called; where the test wants it, be the moment of a power failure.
BEGIN = """#!/bin/bash
call="$(basename "$0") $*"
echo "$call" >>"$STANDIN/calls"
if [[ -n ${DIE_AT:-} && $call == $DIE_AT && ! -e $STANDIN/died ]]; then
  touch "$STANDIN/died"
  kill -KILL "$PPID"
  exit 1
fi
have="$STANDIN/have"
"""

STANDINS = {
    "id": 'case "$*" in -u) echo "${FAKE_UID:-0}" ;; -un) echo somebody ;; *) tr "\\n" " " <"$have/groups" ;; esac',
    "uname": 'echo "${FAKE_MACHINE:-aarch64}"',
    "dpkg": 'echo "${FAKE_ARCHITECTURE:-arm64}"',
    "dpkg-query": "exit 1",
    "ldconfig": '[[ ! -e $have/portaudio ]] || echo "libportaudio.so.2 (libc6) => /usr/lib/libportaudio.so.2"',
    "df": 'printf "Filesystem 1M-blocks Used Available\\nx 9 9 ${FAKE_FREE:-9000} 1%% /\\n"',
    "apt-get": '[[ " $* " != *" install "* ]] || touch "$have/portaudio"',
    "getent": 'if [[ $1 == passwd ]]; then [[ -e $have/user ]]; else grep -qw "$2" "$have/known-groups"; fi',
    "groupadd": 'echo "${@: -1}" >>"$have/known-groups"',
    "groupdel": 'sed -i "/^$1$/d" "$have/known-groups"',
    "useradd": 'touch "$have/user"',
    "userdel": 'rm "$have/user"; : >"$have/groups"',
    "usermod": 'echo "$3" >>"$have/groups"',
    "chown": "",
    "mv": 'exec /usr/bin/mv "$@"',
    "ln": 'exec /usr/bin/ln "$@"',
    "install": 'exec /usr/bin/install "$@"',
    "udevadm": "",
    "runuser": "[[ $PWD == / ]] || exit 3; echo site.yaml: one machine; exit ${FAKE_INVALID:-0}",
    "systemctl": """[[ $1 != -q ]] || shift
case "$1" in
  enable) touch "$have/enabled-$2" ;;
  disable) rm -f "$have/enabled-$3" "$have/active-$3" ;;
  start | restart) touch "$have/active-$2" ;;
  is-enabled) [[ -e $have/enabled-$2 ]] ;;
  is-active) [[ -e $have/active-$2 ]] ;;
esac""",
    "python3": """case "$*" in
  *print*) echo "${FAKE_PYTHON:-3.10}" ;;
  -V) echo "Python ${FAKE_PYTHON:-3.10}.12" ;;
  *"import tensorrt"*) [[ -n ${FAKE_TENSORRT:-} ]] ;;
  "-m venv "*) mkdir -p "${@: -1}/bin" && cp "$0" "${@: -1}/bin/python" ;;
  *" serve "*) [[ -z ${FAKE_NO_PAGE:-} ]] ;;
  *pip*install*) [[ -z ${FAKE_NO_PYPI:-} ]] && touch "$(dirname "$0")/auscult" ;;
esac""",
}


class Board:
    """An empty board, and what install.sh makes of it."""

    def __init__(self, folder: Path) -> None:
        self.root, self._standins = folder / "root", folder / "standins"
        (self.root / "run/systemd/system").mkdir(parents=True)
        self.system("Ubuntu 22.04.4 LTS", "ubuntu", "debian")
        have = self._standins / "have"
        have.mkdir(parents=True)
        (have / "groups").write_text("")
        (have / "known-groups").write_text("audio\nvideo\nrender\n")
        for name, text in STANDINS.items():
            program = self._standins / name
            program.write_text(f"{BEGIN}{text}\n")
            program.chmod(0o755)

    def real_python(self, python: str) -> None:
        """Environments are made and filled in earnest."""
        (self._standins / "python3").unlink()
        (self._standins / "python3").symlink_to(python)

    def system(self, pretty: str, name: str, like: str) -> None:
        """/etc/os-release."""
        (self.root / "etc").mkdir(exist_ok=True)
        lines = f'PRETTY_NAME="{pretty}"\nID={name}\nID_LIKE={like}\n'
        (self.root / "etc/os-release").write_text(lines)

    def install(self, *options: str, script: Path = KIT / "install.sh", **settings: str) -> subprocess.CompletedProcess:
        """Run it; settings are those of the stand-ins."""
        (self._standins / "calls").write_text("")
        path = f"{self._standins}:/usr/sbin:/usr/bin:/sbin:/bin"
        environment = {"PATH": path, "STANDIN": str(self._standins), "HOME": os.environ["HOME"], **settings}
        words = ["/bin/bash", str(script), "--root", str(self.root), *options]
        return subprocess.run(words, capture_output=True, text=True, env=environment, cwd=ROOT)

    def calls(self, *programs: str) -> list[str]:
        """What the last run called of these programs, in its order; without the questions that change nothing."""
        lines = (self._standins / "calls").read_text().splitlines()
        asked = (" is-active", " is-enabled", "-q is-")
        return [line for line in lines if line.split()[0] in programs and not any(word in line for word in asked)]

    def files(self) -> dict[str, str]:
        """Every file below the board -> what is in it, or where it leads."""
        return {
            str(path.relative_to(self.root)): str(path.readlink()) if path.is_symlink() else path.read_text()
            for path in sorted(self.root.rglob("*"))
            if path.is_symlink() or path.is_file()
        }

    def has(self, name: str) -> bool:
        """active-UNIT, enabled-UNIT, user, portaudio."""
        return (self._standins / "have" / name).exists()

    def groups(self) -> set[str]:
        """Those that the user is in."""
        return set((self._standins / "have/groups").read_text().split())

    def known_groups(self) -> list[str]:
        """Of the system."""
        return (self._standins / "have/known-groups").read_text().split()

    def add_group(self, name: str) -> None:
        """As the board's image has it."""
        with (self._standins / "have/known-groups").open("a") as stream:
            stream.write(f"{name}\n")
