"""Put the arithmetic before its judges and print what they say: `python3 scripts/judges.py [PYTEST_ARGUMENT ...]`.

Runs tests/judges in the environment of scripts/test.py. The syntax is that of Python 3.6, as in launch.py.
"""

import sys

from launch import require_python


def main(arguments: "list[str]") -> int:
    """Prepare, run, print the table; 0 when every judge agreed."""
    require_python(sys.version_info)
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    import subprocess
    import tempfile
    from pathlib import Path

    from _environment import chosen
    from _problems import EXIT_CODE, INTERRUPTED, SetupError, say

    environment = chosen("test")
    try:
        environment.prepare("test")
        with tempfile.TemporaryDirectory(prefix="qexplorer-judges-", ignore_cleanup_errors=True) as folder:
            report = Path(folder, "report.xml")
            command = [str(environment.python), "-m", "pytest", "tests/judges", "--junitxml", str(report)]
            status = subprocess.run([*command, *arguments], cwd=str(environment.root), check=False).returncode
            if not report.exists():
                return EXIT_CODE
            print(table(read(str(report)), unjudged(str(report))))
            return 0 if status == 0 else 1
    except SetupError as error:
        say(str(error))
        return EXIT_CODE
    except KeyboardInterrupt:
        say("Interrupted.")
        return INTERRUPTED


class Judge:
    """What one judge said: cases that agreed, tests, those that failed, and what did not apply, with why."""

    def __init__(self) -> None:
        self.cases, self.tests, self.failed = 0, 0, 0
        self.remarks: list[str] = []


def read(report: str) -> "dict[str, Judge]":
    """What a JUnit report says of each judge."""
    import xml.etree.ElementTree as ET

    judges = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  our own pytest wrote it a moment ago
        properties = [(p.get("name", ""), p.get("value", "")) for p in case.iter("property")]
        failed = case.find("failure") is not None or case.find("error") is not None
        name = dict(properties).get("judge", "(no judge)" if failed else "")
        if not name:
            continue
        judge = judges.setdefault(name, Judge())
        skipped = case.find("skipped")
        if skipped is not None:
            judge.remarks.append(skipped.get("message", ""))
            continue
        judge.tests += 1
        judge.failed += failed
        judge.cases += sum(int(value) for key, value in properties if key == "checked")
        judge.remarks += [value for key, value in properties if key == "not applicable"]
    return judges


def unjudged(report: str) -> "list[str]":
    """The formats without an external judge that a JUnit report names, and why."""
    import xml.etree.ElementTree as ET

    found = ET.parse(report).iter("property")  # noqa: S314  our own pytest wrote it a moment ago
    return sorted({p.get("value", "") for p in found if p.get("name") == "without a judge"})


def table(judges: "dict[str, Judge]", unjudged: "list[str]") -> str:
    """A line for each judge, then what did not apply and why, and the formats without an external judge."""
    width = max([len(name) for name in judges] or [5])
    lines = [f"\n{'judge':<{width}}  {'cases agreed':>14}  {'tests passed':>12}  {'failed':>6}  not applicable"]
    for name, judge in sorted(judges.items()):
        passed = judge.tests - judge.failed
        lines.append(f"{name:<{width}}  {judge.cases:>14,}  {passed:>12}  {judge.failed:>6}  {len(set(judge.remarks))}")
    remarks = [f"  {name}: {text}" for name, judge in sorted(judges.items()) for text in sorted(set(judge.remarks))]
    without = [f"  {line}" for line in unjudged]
    return "\n".join(
        [*lines, "", "Not applicable, and why:", *(remarks or ["  nothing"]), "",
         "Formats without an external judge, and why:", *(without or ["  none"])]
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
