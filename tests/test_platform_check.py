import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qexplorer import platform_check
from qexplorer.platform_check import (
    check,
    glibc_problem,
    library_problem,
    missing_libraries,
    package_manager,
)

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="ldd and these displays are Linux's")

LDD_OF_XCB = """\
/home/ann/.venv/lib/python3.11/site-packages/PySide6/QtWidgets.abi3.so:
\tlinux-vdso.so.1 (0x00007ffc3b1f2000)
\tlibEGL.so.1 => not found
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1c2a000000)
/home/ann/.venv/lib/python3.11/site-packages/PySide6/Qt/plugins/platforms/libqxcb.so:
\tlibEGL.so.1 => not found
\tlibxcb-icccm.so.4 => not found
\tlibxkbcommon-x11.so.0 => not found
\tlibglib-2.0.so.0 => not found
\t/lib64/ld-linux-x86-64.so.2 (0x00007f1c2a800000)
"""
MISSING = ["libEGL.so.1", "libxcb-icccm.so.4", "libxkbcommon-x11.so.0", "libglib-2.0.so.0"]

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n'
MINT = 'NAME="Linux Mint"\nID=linuxmint\nID_LIKE="ubuntu debian"\n'
FEDORA = 'NAME="Fedora Linux"\nID=fedora\nVERSION_ID=42\n'
ALMA = 'ID="almalinux"\nID_LIKE="rhel centos fedora"\n'
ARCH = "NAME=Arch Linux\nID=arch\n"
TUMBLEWEED = 'ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n'


@pytest.fixture
def fake_ldd(tmp_path, monkeypatch):
    """Put an `ldd` first on the PATH that prints what the test says, for files whose names contain a word."""

    def make(answer: str, about: str = ""):
        (tmp_path / "answer").write_text(answer)
        program = tmp_path / "ldd"
        program.write_text(f'#!/bin/sh\ncase "$*" in *{about}*) cat "{tmp_path}/answer";; esac\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return make


@pytest.fixture
def on_debian(tmp_path, monkeypatch):
    release = tmp_path / "os-release"
    release.write_text(DEBIAN)
    monkeypatch.setattr(platform_check, "OS_RELEASE", release)


def run_module(*options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    hidden = {"DISPLAY", "WAYLAND_DISPLAY", "XDG_SESSION_TYPE", "QT_QPA_PLATFORM"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        [sys.executable, "-m", "qexplorer.platform_check", *options],
        env={**kept, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_ldd_output_names_each_missing_library_once():
    assert missing_libraries(LDD_OF_XCB) == MISSING


def test_a_complete_ldd_output_names_nothing():
    assert missing_libraries("\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\tlinux-vdso.so.1 (0x00007f)\n") == []


@pytest.mark.parametrize(
    ("os_release", "manager"),
    [
        (DEBIAN, "apt"),
        (MINT, "apt"),
        (FEDORA, "dnf"),
        (ALMA, "dnf"),
        (ARCH, "pacman"),
        (TUMBLEWEED, "zypper"),
        ("ID=gentoo\n", ""),
        ("", ""),
    ],
)
def test_the_package_manager_follows_from_os_release(os_release, manager):
    assert package_manager(os_release) == manager


@pytest.mark.parametrize(
    ("manager", "line"),
    [
        ("apt", "sudo apt install libegl1 libxcb-icccm4 libxkbcommon-x11-0 libglib2.0-0"),
        ("dnf", "sudo dnf install libglvnd-egl xcb-util-wm libxkbcommon-x11 glib2"),
        ("pacman", "sudo pacman -S --needed libglvnd xcb-util-wm libxkbcommon-x11 glib2"),
        (
            "zypper",
            "sudo zypper install 'libEGL.so.1()(64bit)' libxcb-icccm4 libxkbcommon-x11-0 libglib-2_0-0",
        ),
    ],
)
def test_missing_libraries_become_one_line_for_the_package_manager(manager, line):
    problem = library_problem(MISSING, manager)
    assert "libxcb-icccm.so.4" in problem.what
    assert problem.remedy == f"Install them: {line}"


@pytest.mark.parametrize(
    ("soname", "package"),
    [
        ("libEGL.so.1", "libegl1"),
        ("libGL.so.1", "libgl1"),
        ("libX11.so.6", "libx11-6"),
        ("libX11-xcb.so.1", "libx11-xcb1"),
        ("libdbus-1.so.3", "libdbus-1-3"),
        ("libfontconfig.so.1", "libfontconfig1"),
        ("libfreetype.so.6", "libfreetype6"),
        ("libgthread-2.0.so.0", "libglib2.0-0"),
        ("libwayland-cursor.so.0", "libwayland-cursor0"),
        ("libxcb-cursor.so.0", "libxcb-cursor0"),
        ("libxcb-render-util.so.0", "libxcb-render-util0"),
        ("libxkbcommon.so.0", "libxkbcommon0"),
        ("libz.so.1", "zlib1g"),
    ],
)
def test_debian_packages_are_named_as_debian_names_them(soname, package):
    assert library_problem([soname], "apt").packages == (package,)


def test_libraries_of_one_package_name_it_once():
    assert library_problem(["libxcb-shape.so.0", "libxcb-xkb.so.1"], "pacman").packages == ("libxcb",)


def test_a_library_without_a_known_package_is_still_named():
    problem = library_problem(["libstrange.so.3", "libEGL.so.1"], "pacman")
    assert "libstrange.so.3" in problem.remedy
    assert problem.remedy.endswith("sudo pacman -S --needed libglvnd")
    assert library_problem(["libstrange.so.3"], "dnf").remedy.endswith("'libstrange.so.3()(64bit)'")


def test_an_unknown_distribution_hears_which_libraries_are_missing():
    problem = library_problem(["libEGL.so.1"], "")
    assert "libEGL.so.1" in problem.what
    assert problem.packages == ()


@pytest.mark.parametrize(
    ("libc", "too_old"),
    [
        (("glibc", "2.31"), True),
        (("glibc", "2.33"), True),
        (("glibc", "2.34"), False),
        (("glibc", "2.41"), False),
        (("glibc", "3.0"), False),
        (("", ""), False),
    ],
)
def test_a_c_library_older_than_the_wheels_is_a_problem(libc, too_old):
    assert (glibc_problem(libc) is not None) == too_old


@linux_only
def test_no_display_is_a_problem_with_three_ways_out():
    [problem] = [problem for problem in check({}, "linux") if "display" in problem.what]
    assert all(way in problem.remedy for way in ("ssh -X", "xvfb-run", "--screenshot FILE"))


@linux_only
def test_no_display_is_needed_off_screen():
    assert check({"QT_QPA_PLATFORM": "offscreen:size=800x600"}, "linux") == []


@linux_only
@pytest.mark.parametrize("environ", [{"DISPLAY": ":4242"}, {"WAYLAND_DISPLAY": "wayland-4242"}])
def test_a_display_that_does_not_answer_is_a_problem(fake_ldd, environ):
    fake_ldd("")
    [problem] = check(environ, "linux")
    [(name, value)] = environ.items()
    assert f"{name}={value} does not answer" in problem.what


@linux_only
def test_asking_for_x11_without_a_display_is_the_same_as_no_display(fake_ldd):
    fake_ldd("")
    [problem] = check({"QT_QPA_PLATFORM": "xcb"}, "linux")
    assert "neither DISPLAY nor WAYLAND_DISPLAY" in problem.what


@linux_only
def test_an_unknown_platform_plugin_is_named():
    [problem] = check({"QT_QPA_PLATFORM": "crystal"}, "linux")
    assert "crystal" in problem.what
    assert "QT_QPA_PLATFORM" in problem.remedy


@linux_only
@pytest.mark.usefixtures("on_debian")
def test_missing_libraries_are_found_before_qt_starts(fake_ldd):
    fake_ldd(LDD_OF_XCB)
    [problem] = check({"QT_QPA_PLATFORM": "offscreen"}, "linux")
    assert problem.packages == ("libegl1", "libxcb-icccm4", "libxkbcommon-x11-0", "libglib2.0-0")


@linux_only
def test_a_platform_that_lacks_libraries_is_no_problem_while_another_loads(fake_ldd):
    fake_ldd("\tlibwayland-cursor.so.0 => not found\n", about="libqwayland.so")
    assert check({"QT_QPA_PLATFORM": "wayland;offscreen"}, "linux") == []


@linux_only
@pytest.mark.usefixtures("on_debian")
def test_an_import_that_fails_names_the_library_and_its_package(fake_ldd, monkeypatch):
    def fail(name):
        raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")

    fake_ldd("")
    monkeypatch.setattr(importlib, "import_module", fail)
    [problem] = check({"QT_QPA_PLATFORM": "offscreen"}, "linux")
    assert problem.remedy == "Install them: sudo apt install libgl1"


def test_a_python_without_pyside6_is_sent_to_the_launcher(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    [problem] = [problem for problem in check({}, "darwin") if "PySide6" in problem.what]
    assert "scripts/launch.py" in problem.remedy


def test_other_systems_are_asked_for_no_display():
    assert check({}, "darwin") == []


def test_the_module_says_that_all_is_fine_and_exits_0():
    answer = run_module(QT_QPA_PLATFORM="offscreen")
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""


@linux_only
def test_the_module_prints_one_line_and_exits_3_without_a_display():
    answer = run_module()
    assert answer.returncode == 3
    assert [line for line in answer.stderr.splitlines() if "display" in line] == [
        f"qexplorer: {next(problem for problem in check({}, 'linux') if 'display' in problem.what)}"
    ]


@linux_only
def test_the_loader_answers_where_there_is_no_ldd(tmp_path):
    answer = run_module(QT_QPA_PLATFORM="offscreen", PATH=str(tmp_path))
    assert answer.returncode == 0, answer.stderr


@linux_only
@pytest.mark.usefixtures("on_debian")
def test_the_packages_are_listed_for_scripts(fake_ldd, monkeypatch, capsys):
    fake_ldd(LDD_OF_XCB)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert platform_check.main(["--packages"]) == 0
    assert capsys.readouterr().out.split() == [
        "libegl1",
        "libxcb-icccm4",
        "libxkbcommon-x11-0",
        "libglib2.0-0",
    ]


@linux_only
def test_the_check_itself_loads_no_qt():
    code = "import sys; from qexplorer import platform_check; sys.exit('PySide6' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path.cwd(), check=False).returncode == 0
