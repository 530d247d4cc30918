"""What install.sh refuses, with its reason, before it has changed anything."""

import pytest
from boards import CHANGING, Board

REFUSED = {
    "not root": ({"FAKE_UID": "1000"}, "only root may install"),
    "Raspberry Pi OS of 32 bits": ({"FAKE_MACHINE": "armv7l", "FAKE_ARCHITECTURE": "armhf"}, "32 bits"),
    "32-bit packages on a 64-bit kernel": ({"FAKE_ARCHITECTURE": "armhf"}, "32 bits"),
    "another processor": ({"FAKE_MACHINE": "riscv64", "FAKE_ARCHITECTURE": "riscv64"}, "wanted aarch64 or x86_64"),
    "Python 3.8": ({"FAKE_PYTHON": "3.8"}, "python3: 3.8; wanted 3.10"),
    "no room": ({"FAKE_FREE": "700"}, "700 MB free; wanted 1200 MB"),
}


@pytest.mark.parametrize(("settings", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_unsupported_is_refused_before_anything_is_changed(board, settings, words):
    refused(board, words, **settings)


def refused(board: Board, words: str, *options: str, **settings: str) -> None:
    before = board.files()
    done = board.install(*options, **settings)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr and len(done.stderr.splitlines()) == 1
    assert board.files() == before and not (board.root / "opt").exists()
    assert board.calls(*CHANGING) == []


def test_jetpack_5_is_refused_by_its_name(board):
    (board.root / "etc/nv_tegra_release").write_text("# R35 (release)\n")
    refused(board, "JetPack 5", FAKE_PYTHON="3.8")


def test_another_distribution_is_refused(board):
    board.system("Fedora Linux 41", "fedora", "")
    refused(board, "Fedora Linux 41; wanted Debian or Ubuntu")


def test_a_container_without_systemd_is_refused(board):
    (board.root / "run/systemd/system").rmdir()
    refused(board, "systemd does not run here")


def test_what_was_typed_wrongly_is_refused(board, tmp_path):
    refused(board, "--site /nowhere.yaml: cannot be read", "--site", "/nowhere.yaml")
    refused(board, "no such option", "--fast")
    refused(board, "nothing came after it", "--prefix")
    refused(board, "--prefix relative/path", "--prefix", "relative/path")
    refused(board, "goes with --uninstall only", "--purge")
    refused(board, "no such folder", "--wheelhouse", str(tmp_path / "nowhere"))


def test_a_folder_of_somebody_else_is_no_prefix(board):
    (board.root / "opt2/theirs").mkdir(parents=True)
    (board.root / "opt2/theirs/file").write_text("precious")
    refused(board, "holds something else", "--prefix", "/opt2/theirs")
    assert board.install("--uninstall", "--prefix", "/opt2/theirs").returncode == 2
    assert (board.root / "opt2/theirs/file").exists()


def test_a_wheelhouse_for_another_python_is_refused(board, wheelhouse):
    (wheelhouse / "libportaudio2_19.6.0_arm64.deb").touch()
    refused(board, "wanted wheels for Python 3.12", "--wheelhouse", str(wheelhouse), FAKE_PYTHON="3.12")


def test_a_wheelhouse_without_portaudio_is_refused_where_the_board_has_none(board, wheelhouse):
    refused(board, "libportaudio2: not on this system", "--wheelhouse", str(wheelhouse))
