import gc
import threading
import time
import weakref

import pytest
from PySide6.QtCore import QObject, QTimer, Slot

from qexplorer.errors import UserError
from qexplorer.progress import Progress
from qexplorer.state.runner import Cancelled, Done, Failed, Runner, Task


class Witness(QObject):
    """Writes down what a runner tells, and in which thread."""

    def __init__(self, runner: Runner) -> None:
        super().__init__()
        self.told: list[tuple[str, Task]] = []
        self.threads: set[threading.Thread] = set()
        runner.started.connect(self._on_started)
        runner.progressed.connect(self._on_progressed)
        runner.ended.connect(self._on_ended)

    def of(self, what: str) -> list[Task]:
        return [task for each, task in self.told if each == what]

    def _tell(self, what: str, task: Task) -> None:
        self.told.append((what, task))
        self.threads.add(threading.current_thread())

    @Slot(object)
    def _on_started(self, task: Task) -> None:
        self._tell("started", task)

    @Slot(object)
    def _on_progressed(self, task: Task) -> None:
        self._tell("progressed", task)

    @Slot(object)
    def _on_ended(self, task: Task) -> None:
        self._tell("ended", task)


def threads() -> list[threading.Thread]:
    """Those of the runners of these tests."""
    return [thread for thread in threading.enumerate() if thread.name == "test"]


def raising(error: BaseException):
    yield Progress("About to fail")
    raise error


def ended(qtbot, runner: Runner, steps) -> Task:
    with qtbot.waitSignal(runner.ended, timeout=5000) as blocker:
        task = runner.submit(steps, "a task")
    assert blocker.args == [task]
    return task


def test_work_that_returns_is_done_with_its_result(qtbot, runner, log):
    task = ended(qtbot, runner, log.short("result"))
    assert task.outcome == Done("result")
    assert runner.tasks == []


def test_a_mistake_of_the_person_fails_with_its_message(qtbot, runner):
    task = ended(qtbot, runner, raising(UserError("The file is empty.", "Take another one.")))
    assert isinstance(task.outcome, Failed)
    assert task.outcome.message == "The file is empty. Take another one."


def test_a_package_that_does_not_load_is_said_with_what_mends_it(qtbot, runner):
    task = ended(qtbot, runner, raising(ImportError("numba is half there")))
    assert isinstance(task.outcome, Failed)
    assert "numba is half there" in task.outcome.message
    assert task.outcome.message.endswith("scripts/launch.py --repair")


def test_a_bug_fails_with_its_name_and_a_report_that_shows_the_line(qtbot, runner):
    task = ended(qtbot, runner, raising(ZeroDivisionError("by nothing")))
    assert isinstance(task.outcome, Failed)
    assert task.outcome.message == "Unexpected error: ZeroDivisionError: by nothing"
    assert "ZeroDivisionError: by nothing" in task.outcome.report
    assert "raise error" in task.outcome.report


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), MemoryError(), GeneratorExit()])
def test_no_exception_ends_the_thread_or_goes_unreported(qtbot, runner, log, error):
    task = ended(qtbot, runner, raising(error))
    assert isinstance(task.outcome, Failed)
    assert ended(qtbot, runner, log.short("next")).outcome == Done("next")


def test_a_generator_that_fails_while_it_is_closed_has_failed(qtbot, runner, log):
    def stubborn():
        try:
            yield from log.endless()
        finally:
            raise OSError("cannot clean up")

    task = runner.submit(stubborn(), "stubborn")
    assert log.started.wait(5)
    with qtbot.waitSignal(runner.ended, timeout=5000):
        runner.cancel(task)
    assert isinstance(task.outcome, Failed)
    assert "cannot clean up" in task.outcome.message


def test_each_task_has_one_outcome_and_they_come_in_the_order_of_the_queue(qtbot, runner, log):
    witness = Witness(runner)
    tasks = [runner.submit(log.short(str(i)), str(i)) for i in range(20)]
    qtbot.waitUntil(lambda: len(witness.of("ended")) == 20)
    assert list(log) == [str(i) for i in range(20)]
    assert witness.of("ended") == tasks
    assert witness.of("started") == tasks
    assert [task.outcome for task in tasks] == [Done(str(i)) for i in range(20)]


def test_everything_is_told_in_the_thread_of_the_window(qtbot, runner):
    witness = Witness(runner)
    ran_in = []

    def steps():
        ran_in.append(threading.current_thread())
        end = time.monotonic() + 0.25
        while time.monotonic() < end:
            yield Progress("Working")

    ended(qtbot, runner, steps())
    assert {what for what, _ in witness.told} == {"started", "progressed", "ended"}
    assert witness.threads == {threading.main_thread()}
    assert [thread.name for thread in ran_in] == ["test"]


def test_progress_is_asked_for_and_never_floods(qtbot, runner):
    witness = Witness(runner)

    def steps():
        for i in range(300_000):
            yield Progress("Counting", i, 300_000)
        return "counted"

    task = ended(qtbot, runner, steps())
    assert task.outcome == Done("counted")
    assert len(witness.of("progressed")) < 50


def test_the_latest_progress_is_what_is_told(qtbot, runner, log):
    with qtbot.waitSignal(runner.progressed, timeout=5000) as blocker:
        task = runner.submit(log.endless(), "endless")
    assert blocker.args[0].progress == Progress("Turning")
    runner.cancel(task)


def test_a_running_task_that_is_cancelled_is_closed_within_a_second(qtbot, runner, log):
    task = runner.submit(log.endless(), "endless")
    assert log.started.wait(5)
    began = time.monotonic()
    with qtbot.waitSignal(runner.ended, timeout=1000):
        runner.cancel(task)
    assert time.monotonic() - began < 1
    assert task.outcome == Cancelled()
    assert log.closed.is_set()
    assert list(log) == ["endless began", "endless closed"]


def test_a_queued_task_that_is_cancelled_ends_at_once_and_never_begins(qtbot, runner, log):
    running = runner.submit(log.endless("first"), "first")
    assert log.started.wait(5)
    steps = log.endless("second")
    queued = runner.submit(steps, "second")
    third = runner.submit(log.short("third"), "third")
    with qtbot.waitSignal(runner.ended, timeout=1000) as blocker:
        runner.cancel(queued)
    assert blocker.args == [queued]
    assert queued.outcome == Cancelled()
    assert (running.outcome, runner.tasks) == (None, [running, third])
    with pytest.raises(StopIteration):
        next(steps)
    with qtbot.waitSignals([runner.ended, runner.ended], timeout=1000):
        runner.cancel(running)
    assert third.outcome == Done("third")
    assert "second began" not in log


def test_cancelling_what_has_ended_changes_nothing(qtbot, runner, log):
    task = ended(qtbot, runner, log.short("result"))
    witness = Witness(runner)
    runner.cancel(task)
    ended(qtbot, runner, log.short("next"))
    assert task.outcome == Done("result")
    assert task not in witness.of("ended")


def test_what_has_ended_is_unfinished_until_its_end_was_told(qtbot, runner, log):
    task = runner.submit(log.short("result"), "a task")
    deadline = time.monotonic() + 5
    while runner.tasks and time.monotonic() < deadline:
        log.closed.wait(0.001)
    assert (runner.tasks, runner.unfinished, task.outcome) == ([], [task], Done("result"))
    qtbot.waitUntil(lambda: runner.unfinished == [])


def test_two_runners_work_at_the_same_time(qtbot, new_runner, log):
    jobs, preview = new_runner("a"), new_runner("b")
    long = jobs.submit(log.endless(), "training")
    assert log.started.wait(5)
    assert ended(qtbot, preview, log.short("histogram")).outcome == Done("histogram")
    assert long.outcome is None


def test_closing_cancels_what_runs_and_what_waits_and_ends_the_thread(qtbot, runner, log):
    witness = Witness(runner)
    running, waiting = runner.submit(log.endless(), "a"), runner.submit(log.endless("b"), "b")
    assert log.started.wait(5)
    began = time.monotonic()
    assert runner.close()
    assert time.monotonic() - began < 1
    assert not threads()
    assert log.closed.is_set()
    qtbot.waitUntil(lambda: len(witness.of("ended")) == 2)
    assert running.outcome == waiting.outcome == Cancelled()
    assert not runner.findChild(QTimer).isActive()


def test_closing_says_when_the_work_did_not_stop_in_time(qtbot, runner):
    free = threading.Event()

    def deaf():
        free.wait(10)
        yield Progress("Now")

    runner.submit(deaf(), "deaf")
    qtbot.waitUntil(lambda: runner.current is not None)
    assert not runner.close(timeout=0.05)
    free.set()
    assert runner.close()


def test_after_closing_nothing_is_begun_and_yet_has_an_outcome(qtbot, runner, log):
    assert runner.close()
    task = ended(qtbot, runner, log.endless())
    assert task.outcome == Cancelled()
    assert (runner.tasks, list(log)) == ([], [])


def test_the_progress_timer_rests_when_nothing_runs(qtbot, runner, log):
    task = runner.submit(log.endless(), "endless")
    qtbot.waitUntil(runner.findChild(QTimer).isActive)
    with qtbot.waitSignal(runner.ended, timeout=1000):
        runner.cancel(task)
    assert not runner.findChild(QTimer).isActive()


def test_a_result_is_not_kept_alive_by_the_runner(qtbot, runner):
    import weakref

    class Big:
        pass

    def steps():
        yield Progress("Making")
        return Big()

    task = ended(qtbot, runner, steps())
    result = weakref.ref(task.outcome.result)
    del task
    gc.collect()
    assert result() is None


def test_a_task_tells_the_time_left_that_its_progress_says(qtbot, runner, log):
    task = ended(qtbot, runner, log.short("result"))
    assert task.seconds_left is None


def test_work_that_fails_leaves_nothing_of_what_it_held(qtbot, runner):
    class Held:
        pass

    seen = []

    def fails():
        held = Held()
        seen.append(weakref.ref(held))
        yield Progress("a")
        try:
            raise MemoryError
        except MemoryError as error:
            inner = held
            raise ValueError("none left") from error
        finally:
            del inner

    task = ended(qtbot, runner, fails())
    assert isinstance(task.outcome, Failed)
    assert "none left" in task.outcome.report
    gc.collect()
    assert seen[0]() is None
