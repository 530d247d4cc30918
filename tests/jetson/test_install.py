"""install.sh from end to end, below a folder, with stand-ins for what would change this machine."""

import fcntl
import re

import pytest
from boards import CHANGING, KIT, Board

UNITS = ("auscult.service", "auscult-page.service")


def works(done) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_empty_board_listens_after_one_command(board):
    works(board.install())
    files = board.files()
    assert files["etc/auscult/site.yaml"] == (KIT / "device.yaml").read_text()
    assert files["etc/systemd/system/auscult.service"] == (KIT / "auscult.service").read_text()
    assert files["etc/udev/rules.d/99-auscult.rules"] == (KIT / "99-auscult.rules").read_text()
    assert files["usr/local/bin/auscult"] == "/opt/auscult/venv/bin/auscult"
    assert f"opt/auscult/{files['opt/auscult/venv']}/complete" in files
    assert (board.root / "etc/auscult/site.yaml").stat().st_mode & 0o777 == 0o640
    assert (board.root / "var/lib/auscult").stat().st_mode & 0o777 == 0o750
    assert board.has("user") and board.has("portaudio")
    assert board.groups() == {"audio", "gpio"}
    for unit in UNITS:
        assert board.has(f"enabled-{unit}") and board.has(f"active-{unit}")
    assert not any(name.endswith((".new", ".unfinished")) for name in files)


def test_a_second_run_changes_nothing_and_says_so(board):
    works(board.install())
    before = board.files()
    assert "nothing was changed" in works(board.install())
    assert board.files() == before
    assert board.calls(*CHANGING) == []


def test_a_dry_run_says_what_would_be_done_and_does_nothing(board):
    before = board.files()
    said = works(board.install("--dry-run", FAKE_UID="1000"))
    assert "would run: useradd" in said and "would run: systemctl restart auscult.service" in said
    assert board.files() == before
    assert board.calls(*CHANGING) == []


def test_a_site_file_that_is_there_is_never_overwritten(board, tmp_path):
    works(board.install())
    mine = board.root / "etc/auscult/site.yaml"
    mine.write_text("name: mine\n")
    new = tmp_path / "new.yaml"
    new.write_text("name: new\n")
    assert "kept as it is" in works(board.install("--site", str(new)))
    assert mine.read_text() == "name: mine\n"
    assert (mine.parent / "site.yaml.new").read_text() == "name: new\n"
    assert not any("restart" in call for call in board.calls("systemctl"))


def test_only_what_changed_is_restarted(board):
    works(board.install())
    (board.root / "etc/systemd/system/auscult-page.service").write_text("[Service]\n")
    works(board.install())
    restarted = [call for call in board.calls("systemctl") if "restart" in call]
    assert restarted == ["systemctl restart auscult-page.service"]


def test_another_version_takes_the_place_of_the_old_one(board, wheelhouse):
    works(board.install())
    before = board.files()["opt/auscult/venv"]
    works(board.install("--wheelhouse", str(wheelhouse)))
    after = board.files()["opt/auscult/venv"]
    assert after != before
    assert [path.name for path in (board.root / "opt/auscult").glob("program-*")] == [after]
    assert "systemctl restart auscult.service" in board.calls("systemctl")


def test_the_version_before_stays_until_the_new_one_listens(board, wheelhouse):
    works(board.install())
    before = board.files()["opt/auscult/venv"]
    done = board.install("--wheelhouse", str(wheelhouse), FAKE_INVALID="2")
    assert done.returncode == 1 and f"back to it: ln -sfn {before}" in done.stdout
    assert (board.root / "opt/auscult" / before).is_dir()
    works(board.install("--wheelhouse", str(wheelhouse)))
    assert not (board.root / "opt/auscult" / before).exists()


def test_a_wheelhouse_is_enough(board, wheelhouse):
    (wheelhouse / "libportaudio2_19.6.0_arm64.deb").touch()
    works(board.install("--wheelhouse", str(wheelhouse)))
    assert any("--no-index" in call and str(wheelhouse) in call for call in board.calls("python"))
    assert all("--no-download" in call for call in board.calls("apt-get"))


def test_the_tensorrt_of_jetpack_is_found(board):
    works(board.install(FAKE_TENSORRT="1"))
    assert any("--system-site-packages" in call for call in board.calls("python3"))
    assert any("jetson]" in call for call in board.calls("python"))
    assert board.groups() == {"audio", "gpio", "video", "render"}
    drop_in = "etc/systemd/system/auscult.service.d/jetson-gpu.conf"
    assert drop_in in board.files()
    works(board.install())
    assert drop_in not in board.files()


def test_a_jetson_without_tensorrt_is_told_what_that_means(board):
    (board.root / "etc/nv_tegra_release").write_text("# R36 (release)\n")
    assert "the processor listens" in works(board.install())


def test_a_site_that_is_not_complete_is_not_started(board):
    done = board.install(FAKE_INVALID="2")
    assert done.returncode == 1 and "not complete" in done.stderr
    assert not board.has("active-auscult.service")
    works(board.install())
    assert board.has("active-auscult.service")


def test_the_page_can_be_left_out(board):
    works(board.install())
    works(board.install("--no-page"))
    assert not board.has("active-auscult-page.service") and not board.has("enabled-auscult-page.service")
    assert board.has("active-auscult.service")


def test_nothing_is_started_where_that_was_asked_for(board):
    works(board.install("--no-start"))
    assert not board.has("active-auscult.service")


MOMENTS = [
    *("apt-get *install*", "groupadd *", "useradd *", "usermod *gpio*", "chown *site.yaml*", "chown *auscult.service*"),
    *(
        "mv *auscult.service*",
        "mv *99-auscult*",
        "python3 -m venv*",
        "python *pip*",
        "ln *",
        "mv -T*",
        "udevadm control*",
    ),
    *(
        "systemctl daemon-reload",
        "systemctl -q enable auscult.service",
        "systemctl restart auscult.service",
        "runuser*",
    ),
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_interrupted_at_any_moment_and_run_again_it_gets_there(board, moment, tmp_path):
    whole = Board(tmp_path / "whole")
    works(whole.install())
    assert board.install(DIE_AT=moment).returncode == -9
    works(board.install())
    assert board.files() == whole.files()
    assert board.groups() == whole.groups() and board.has("user") and board.has("portaudio")
    assert {"systemctl daemon-reload", "systemctl restart auscult.service"} <= set(board.calls("systemctl"))
    assert "nothing was changed" in works(board.install())


def test_an_update_that_fails_leaves_the_old_program_running(board, wheelhouse):
    (wheelhouse / "libportaudio2_19.6.0_arm64.deb").touch()
    works(board.install())
    before = board.files()["opt/auscult/venv"]
    done = board.install("--wheelhouse", str(wheelhouse), FAKE_NO_PYPI="1")
    assert done.returncode == 2 and "pip: the program cannot be installed" in done.stderr
    assert board.files()["opt/auscult/venv"] == before
    assert not any("restart" in call for call in board.calls("systemctl"))


def test_two_at_once_are_one_too_many(board):
    place = board.root / "opt/auscult"
    place.mkdir(parents=True)
    with (place / ".auscult").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = board.install()
    assert done.returncode == 2 and "another install.sh is at work" in done.stderr


def test_uninstall_removes_what_was_put_there_and_keeps_what_people_made(board):
    empty = set(board.files())
    works(board.install(FAKE_TENSORRT="1"))
    (board.root / "var/lib/auscult/journal.db").write_text("alarms")
    said = works(board.install("--uninstall"))
    assert "kept: /etc/auscult, /var/lib/auscult" in said
    assert set(board.files()) - empty == {"etc/auscult/site.yaml", "var/lib/auscult/journal.db"}
    assert not any(board.has(f"{state}-{unit}") for unit in UNITS for state in ("active", "enabled"))
    assert board.has("user")


def test_a_group_that_was_there_before_stays(board):
    board.add_group("gpio")
    works(board.install())
    works(board.install("--uninstall", "--purge"))
    assert "gpio" in board.known_groups()


def test_purge_leaves_nothing(board):
    empty = board.files()
    works(board.install())
    assert "gpio" in board.known_groups()
    works(board.install("--uninstall"))
    works(board.install("--uninstall", "--purge"))
    assert board.files() == empty
    assert not board.has("user") and "gpio" not in board.known_groups()
    assert "nothing of auscult was here" in works(board.install("--uninstall"))


def test_another_prefix_is_in_the_units(board):
    works(board.install("--prefix", "/data/auscult"))
    unit = board.files()["etc/systemd/system/auscult.service"]
    assert "ExecStart=/data/auscult/venv/bin/python" in unit and "/opt/auscult" not in unit


def test_help_names_every_option(board):
    said = works(board.install("--help"))
    options = re.findall(r"^      (--[\w-]+)", (KIT / "install.sh").read_text(), re.MULTILINE)
    assert len(options) > 8 and [option for option in options if option not in said] == []
