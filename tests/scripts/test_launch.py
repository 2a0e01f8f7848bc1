import ast
import errno
import importlib.util
import subprocess
import sys
import threading
from pathlib import Path

import _problems
import launch
import pytest
from _environment import Environment
from _problems import SetupError, diagnose, os_problem
from environments import ROOT, make_environment, posix_only


@pytest.fixture
def made(tmp_path):
    """An environment that is ready, in a checkout of its own, without anything installed."""
    return make_environment(tmp_path / "a checkout")


SCRIPTS = ROOT / "scripts"


# What pip and venv print, shortened to the lines that matter.
REFUSED = """\
Looking in indexes: https://pypi.example/simple
  × pip subprocess to install build dependencies did not run successfully.
  ╰─> [13 lines of output]
      WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection \
broken by 'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7fc576c592d0>: Failed to \
establish a new connection: [Errno 111] Connection refused')': /simple/hatchling/
      ERROR: Cannot install hatchling>=1.27 because these package versions have conflicting dependencies.
          The user requested hatchling>=1.27
          The user requested (constraint) hatchling==1.33.0
      ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/en/latest/topics/dependency-resolution/
error: subprocess-exited-with-error
"""


NO_NAME = """\
WARNING: Retrying (Retry(total=4, connect=None, read=None, redirect=None, status=None)) after connection broken by \
'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f8a>: Failed to establish a new \
connection: [Errno -3] Temporary failure in name resolution')': /simple/torch/
ERROR: Could not find a version that satisfies the requirement torch>=2.13 (from qexplorer) (from versions: none)
ERROR: No matching distribution found for torch>=2.13
"""


TIMED_OUT = """\
Collecting torch==2.13.0
  Downloading torch-2.13.0-cp312-cp312-manylinux_2_28_x86_64.whl (888.1 MB)
ERROR: Exception:
pip._vendor.urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool(host='files.pythonhosted.org', port=443): \
Read timed out.
"""


PROXY = """\
WARNING: Retrying (Retry(total=4, connect=None, read=None, redirect=None, status=None)) after connection broken by \
'ProxyError('Cannot connect to proxy.', NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object \
at 0x7f>: Failed to establish a new connection: [Errno 111] Connection refused'))': /simple/numpy/
ERROR: No matching distribution found for numpy
"""


CERTIFICATE = """\
WARNING: Retrying (Retry(total=0)) after connection broken by 'SSLError(SSLCertVerificationError(1, '[SSL: \
CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in certificate chain (_ssl.c:1002)'))'
ERROR: No matching distribution found for numba
"""


FULL = """\
Installing collected packages: mpmath, sympy, numpy, torch
ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device
"""


FULL_WINDOWS = (
    "ERROR: Could not install packages due to an OSError: [WinError 112] There is not enough space on the disk\n"
)


NO_WHEEL = """\
ERROR: Could not find a version that satisfies the requirement numba>=0.61 (from qexplorer) (from versions: 0.57.0, \
0.58.1, 0.60.0)
ERROR: No matching distribution found for numba>=0.61
"""


NO_PINNED_WHEEL = """\
ERROR: Cannot install qexplorer==0.1.0 because these package versions have conflicting dependencies.

The conflict is caused by:
    qexplorer 0.1.0 depends on numba>=0.61
    The user requested (constraint) numba==0.68.1

ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/en/latest/topics/dependency-resolution/
"""


NO_ENSUREPIP = """\
The virtual environment was not created successfully because ensurepip is not
available.  On Debian/Ubuntu systems, you need to install the python3-venv
package using the following command.
"""


DENIED = """\
ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/opt/qexplorer/.venv/lib/numpy'
"""


def make_stale(environment: Environment) -> None:
    (environment.root / "constraints.txt").write_text("numpy==2.5.0\n")


def calls(environment: Environment) -> list[str]:
    path = environment.root / "calls"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("version", [(3, 6, 15), (3, 10, 13), (2, 7, 18)])
def test_a_python_that_is_too_old_hears_which_one_is_needed(version, capsys):
    with pytest.raises(SystemExit) as ending:
        launch.require_python(version)
    assert ending.value.code == 3
    [line] = capsys.readouterr().err.splitlines()
    assert f"This is Python {'.'.join(map(str, version))}, and 3.11 or newer is needed" in line
    assert "https://www.python.org/downloads/" in line


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 14, 2), (4, 0, 0)])
def test_a_python_that_is_new_enough_hears_nothing(version, capsys):
    launch.require_python(version)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["launch.py", "test.py"])
def test_an_old_python_can_read_the_script_far_enough_to_say_so(name):
    ast.parse((SCRIPTS / name).read_text(encoding="utf-8"), feature_version=(3, 6))


@pytest.mark.parametrize(
    ("log", "what", "remedy"),
    [
        (REFUSED, "No network", "HTTPS_PROXY"),
        (NO_NAME, "No network", "connection"),
        (TIMED_OUT, "No network", "start again"),
        (PROXY, "No network", "HTTPS_PROXY"),
        (CERTIFICATE, "certificate", "PIP_CERT"),
        (FULL, "disk is full", "Make room"),
        (FULL_WINDOWS, "disk is full", "TMPDIR"),
        (NO_WHEEL, "There is no numba>=0.61 for this Python", "Python 3.11 to 3.14"),
        (NO_PINNED_WHEEL, "There is no numba==0.68.1 for this Python", "Python 3.11 to 3.14"),
        (NO_ENSUREPIP, "no venv module", "nstall"),
        (DENIED, "Permission denied: '/opt/qexplorer/.venv/lib/numpy'", "right to write"),
    ],
)
def test_a_failed_install_is_explained_in_one_line(log, what, remedy, tmp_path):
    error = diagnose(log, tmp_path, tmp_path / "install.log")
    assert what in error.what
    assert remedy in error.remedy
    assert "\n" not in str(error)


def test_a_failure_without_a_known_reason_shows_the_last_lines_and_the_log(tmp_path):
    error = diagnose("one\ntwo\n\nthree\nERROR: four\n", tmp_path, tmp_path / "install.log")
    assert "two / three / ERROR: four" in error.what
    assert str(tmp_path / "install.log") in error.remedy


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full"),
        (OSError(errno.EROFS, "Read-only file system", "/x/.venv"), "Cannot write /x/.venv: Read-only file system"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/.venv"), "Cannot write /x/.venv: Permission denied"),
        (FileExistsError(errno.EEXIST, "File exists", "/x/.venv"), "/x/.venv is in the way"),
    ],
)
def test_a_folder_that_cannot_be_written_is_explained(error, what, tmp_path):
    assert what in os_problem(error, tmp_path).what


def test_debian_is_told_the_package_of_the_venv_module(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert "sudo apt install python3-venv" in _problems.no_venv().remedy


def test_a_python_without_ensurepip_is_told_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match="no venv module"):
        Environment(tmp_path).prepare()


def test_a_stamped_environment_is_ready(made):
    assert made.is_ready()


def test_a_missing_environment_is_not_ready(tmp_path):
    assert not Environment(tmp_path).is_ready()


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_an_environment_is_stale_once_what_it_was_made_from_changes(made, name):
    before = made.fingerprint()
    with (made.root / name).open("a") as file:
        file.write("# a change\n")
    assert made.fingerprint() != before
    assert not made.is_ready()


def test_the_test_extra_counts_only_for_those_who_ask(tmp_path):
    plain, full = make_environment(tmp_path / "plain"), make_environment(tmp_path / "full", extras=("test",))
    assert plain.is_ready()
    assert not plain.is_ready("test")
    assert full.is_ready()
    assert full.is_ready("test")


def test_an_environment_is_not_ready_after_a_move(made):
    there = made.root.with_name("elsewhere")
    made.root.rename(there)
    assert not Environment(there).is_ready()


def test_an_environment_without_its_python_is_not_ready(made):
    made.python.unlink()
    assert not made.is_ready()


@posix_only
def test_an_environment_whose_python_was_replaced_is_not_ready(made):
    made.python.unlink()
    made.python.symlink_to(sys.executable)
    assert not made.is_ready()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"inputs": 1}'])
def test_a_torn_stamp_counts_as_none(made, text):
    (made.folder / "stamp.json").write_text(text)
    assert not made.is_ready()


def test_an_unfinished_install_is_not_ready(made):
    (made.folder / "unfinished").touch()
    assert not made.is_ready()


@posix_only
def test_a_ready_environment_is_left_alone(made):
    made.prepare()
    assert calls(made) == []


@posix_only
def test_a_stale_environment_is_brought_up_to_date_with_the_constraints(made):
    make_stale(made)
    made.prepare()
    assert made.is_ready()
    [call] = calls(made)
    assert "--constraint constraints.txt --editable ." in call


@posix_only
def test_the_test_extra_is_added_and_stays(made):
    made.prepare("test")
    assert made.is_ready("test")
    make_stale(made)
    made.prepare()
    assert made.is_ready("test")
    assert all(call.endswith("--editable .[test]") for call in calls(made))


@posix_only
def test_a_failed_download_leaves_what_was_there(tmp_path):
    environment = make_environment(tmp_path / "x", pip="echo 'Connection refused'; exit 1")
    with pytest.raises(SetupError, match="No network"):
        environment.prepare("test")
    assert environment.is_ready()
    assert not environment.is_ready("test")


@posix_only
def test_an_install_that_breaks_off_while_copying_vouches_for_nothing(tmp_path):
    pip = "echo 'Installing collected packages: numpy'; echo 'No space left on device'; exit 1"
    environment = make_environment(tmp_path / "x", pip=pip)
    with pytest.raises(SetupError, match="The disk is full"):
        environment.prepare("test")
    assert not environment.is_ready()


@posix_only
def test_a_broken_environment_is_made_anew(tmp_path, monkeypatch):
    environment = make_environment(tmp_path / "x")
    (environment.folder / "unfinished").touch()
    (environment.folder / "half.txt").touch()
    builder = tmp_path / "python"
    builder.write_text('#!/bin/sh\necho "$@" > "$0.calls"\necho \'it broke\'\nexit 1\n')
    builder.chmod(0o755)
    monkeypatch.setattr(sys, "_base_executable", str(builder))
    with pytest.raises(SetupError, match="it broke"):
        environment.prepare()
    assert not (environment.folder / "half.txt").exists()
    assert Path(f"{builder}.calls").read_text() == f"-m venv {environment.folder}\n"


@posix_only
def test_an_environment_that_is_linked_to_is_not_this_checkouts_to_change(made, tmp_path):
    other = tmp_path / "another checkout"
    other.mkdir()
    (other / "pyproject.toml").write_text("")
    (other / "constraints.txt").write_text("")
    (other / ".venv").symlink_to(made.folder)
    before = sorted(path.name for path in made.folder.rglob("*"))
    with pytest.raises(SetupError, match="is a link") as refused:
        Environment(other).prepare("test")
    assert "Remove the link" in refused.value.remedy
    assert sorted(path.name for path in made.folder.rglob("*")) == before
    assert made.is_ready()
    assert calls(made) == []


@posix_only
def test_of_two_starts_at_once_one_installs_and_the_other_waits(tmp_path, capfd):
    make_stale(make_environment(tmp_path / "x", pip="sleep 1"))
    starts = [Environment(tmp_path / "x") for _ in range(2)]
    threads = [threading.Thread(target=start.prepare) for start in starts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(start.is_ready() for start in starts)
    assert len(calls(starts[0])) == 1
    assert "waiting for it to finish" in capfd.readouterr().err


@posix_only
def test_the_log_keeps_what_pip_printed(tmp_path):
    environment = make_environment(tmp_path / "x", pip="echo 'Collecting numpy ✓'")
    make_stale(environment)
    environment.prepare()
    assert "Collecting numpy ✓" in environment.log.read_text(encoding="utf-8")


def copy_launcher(root: Path) -> Path:
    (root / "scripts").mkdir(parents=True, exist_ok=True)
    for script in [SCRIPTS / "launch.py", *SCRIPTS.glob("_*.py")]:
        (root / "scripts" / script.name).write_text(script.read_text(encoding="utf-8"), encoding="utf-8")
    return root / "scripts" / "launch.py"


def test_help_tells_of_the_desktop_entry_and_the_small_torch_and_installs_nothing(tmp_path):
    script = copy_launcher(tmp_path)
    answer = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "--install-desktop" in answer.stdout
    assert "PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu" in answer.stdout
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("name", ["judges.py", "test.py"])
def test_help_on_a_script_installs_nothing(name, tmp_path):
    script = copy_launcher(tmp_path).with_name(name)
    script.write_text((SCRIPTS / name).read_text(encoding="utf-8"), encoding="utf-8")
    answer = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert f"scripts/{name}" in answer.stdout
    assert not (tmp_path / ".venv").exists()


@posix_only
def test_arguments_reach_the_program_as_they_are(tmp_path):
    environment = make_environment(tmp_path / "a checkout", pip='printf "<%s>" "$@"')
    script = copy_launcher(environment.root)
    command = [sys.executable, script, "analyze", "a b.safetensors", "--tensor", "*"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.stdout.endswith("<-P><-m><qexplorer><analyze><a b.safetensors><--tensor><*>"), answer
