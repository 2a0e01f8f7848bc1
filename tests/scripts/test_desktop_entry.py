"""The desktop entry that scripts/launch.py installs, and the versions that the project pins."""

import configparser
import subprocess
import sys
import tomllib
from xml.etree import ElementTree as ET

import _desktop
import pytest
from _environment import Environment
from environments import ROOT, make_environment, posix_only
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@pytest.fixture
def made(tmp_path):
    """An environment that is ready, in a checkout of its own, without anything installed."""
    return make_environment(tmp_path / "a checkout")


ODD = 'it\'s 100% "co$t" `x` \\ dir'


def read_entry(text: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, delimiters="=")
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string(text)
    return parser["Desktop Entry"]


def test_the_desktop_entry_names_what_a_desktop_needs(made):
    entry = read_entry(_desktop.desktop_entry(made))
    assert entry["Type"] == "Application"
    assert entry["Icon"] == "org.qexplorer.QExplorer"
    assert entry["StartupWMClass"] == "qexplorer"
    assert entry["TryExec"] == str(made.python)
    assert entry["Exec"].endswith(f'"{made.root / "scripts" / "launch.py"}" %F')
    assert "application/x-safetensors;" in entry["MimeType"]
    assert entry["MimeType"].endswith(";")


@posix_only
@pytest.mark.parametrize("name", ["plain", "with spaces", ODD])
def test_the_desktop_entry_starts_a_checkout_at_any_path(tmp_path, name):
    environment = Environment(tmp_path / name)
    line = read_entry(_desktop.desktop_entry(environment))["Exec"].removesuffix(" %F")
    # A desktop first undoes the escapes of a string, then the quotes, whose rules are those of a shell, then the %%.
    words = line.replace("\\\\", "\\")
    shell = subprocess.run(["sh", "-c", f"printf '%s\\n' {words}"], capture_output=True, text=True, check=True)
    assert shell.stdout.replace("%%", "%").splitlines()[1] == str(tmp_path / name / "scripts" / "launch.py")


def test_a_desktop_string_keeps_its_backslashes():
    assert _desktop.escaped("C:\\n\n\t") == "C:\\\\n\\n\\t"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux desktops take such an entry")
def test_installing_writes_the_entry_the_icon_and_the_file_types(made, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PATH", "")  # the desktop's own databases are not this test's business
    (made.root / "resources").mkdir()
    (made.root / "resources" / "qexplorer.svg").write_text("<svg/>")
    assert _desktop.install_desktop(made) == 0
    files = {path.relative_to(tmp_path / "data").as_posix() for path in (tmp_path / "data").rglob("*.*")}
    assert files == {
        "applications/org.qexplorer.QExplorer.desktop",
        "icons/hicolor/scalable/apps/org.qexplorer.QExplorer.svg",
        "mime/packages/org.qexplorer.QExplorer.xml",
    }


def test_other_systems_hear_that_there_is_no_desktop_entry(made, monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert _desktop.install_desktop(made) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_every_file_type_of_the_entry_is_defined():
    names = "{http://www.freedesktop.org/standards/shared-mime-info}"
    types = ET.fromstring(_desktop.file_type_names()).findall(f"{names}mime-type")  # noqa: S314 - our own text
    assert [kind.get("type") for kind in types] == list(_desktop.FILE_TYPES)
    assert all(glob.get("pattern", "").startswith("*.") for kind in types for glob in kind.iter(f"{names}glob"))


def test_every_dependency_is_pinned_to_a_version_that_pyproject_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [
        *project["project"]["dependencies"],
        *(wanted for extra in project["project"]["optional-dependencies"].values() for wanted in extra),
        *project["build-system"]["requires"],
    ]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    versions = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    for requirement in map(Requirement, wanted):
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} against {version}"
