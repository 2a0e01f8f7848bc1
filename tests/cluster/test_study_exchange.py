"""What goes between a worker and the run history, with both sides in this process."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qexplorer.cluster.desk import DESKS, Desk, NotWanted
from qexplorer.cluster.entries import Entries
from qexplorer.cluster.exchange import Exchange, Question, give_steps
from qexplorer.cluster.parcel import ARRAYS, MODEL, STEP, Parcel

from qexplorer.cluster import exchange, parcel
from qexplorer.engine.jobs.evaluate import Evaluate
from qexplorer.engine.runs.history import History, RunJournal
from qexplorer.engine.studies.manifest import Manifest
from qexplorer.engine.studies.status import StudyStatus
from qexplorer.engine.studies.study import Study, StudyRun
from qexplorer.errors import UserError

KEY, WORKER, TASK = "cell", "tcp://w:1", "task"
PIECE = 1000
CONTENT = np.random.default_rng(0).bytes(4567)
Change = Callable[[Any], Any]


class Talk:
    """Puts questions to the desk of this process, one after the other; `change` may alter an answer."""

    def __init__(self, history: History, change: Change = lambda answer: answer) -> None:
        study = Study("one", (StudyRun(1, KEY, Evaluate(), {}),))
        self.board = StudyStatus(study, "a-study")
        self.entries = Entries(self.board, history, Manifest.begin(study, history))
        self.exchange = Exchange(lambda *asked: self.asked.append(asked))
        self.asked: list[tuple[str, str, int, Question]] = []
        self.answers: list[Any] = []
        self._change = change

    def begin(self) -> str:
        """The worker begins the cell; the id of the run."""
        dialogue = self.entries.begin(KEY, WORKER, "w")
        assert dialogue is not None
        self.exchange.begin(KEY, WORKER, dialogue)
        return self.board[KEY].run_id

    def offer(self, offered: Parcel) -> None:
        """The worker offers a parcel."""
        dialogue = self.entries.take(KEY, WORKER, offered)
        assert dialogue is not None
        self.exchange.begin(KEY, WORKER, dialogue)

    def go_on(self, questions: int = 10_000) -> None:
        """Answer so many questions, or all of them."""
        while self.asked and questions:
            key, _, number, question = self.asked.pop(0)
            answer = self._change(question.function(TASK, *question.args))
            self.answers.append(answer)
            self.exchange.reply(key, number, answer)
            questions -= 1


class OneDesk:
    """A desk whose cell hands something over on a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.wanted = True
        self.offered: list[Parcel] = []
        self.stopped = False
        self._heard = threading.Event()
        self.desk = Desk(TASK, folder, self._tell, lambda: self.wanted)

    def _tell(self, *, kind: str, what: str, **rest: Any) -> None:
        assert kind == "offered"
        self.offered.append(Parcel(kind=what, **rest))
        self._heard.set()

    @contextmanager
    def working(self, work: Callable[[], object], offers: int = 1) -> Iterator[None]:
        """Inside, the cell has offered something; at the end it has ended."""

        def run() -> None:
            try:
                work()
            except NotWanted:
                self.stopped = True

        self._heard.clear()
        thread = threading.Thread(target=run)
        thread.start()
        try:
            assert offers == 0 or self._heard.wait(10)
            yield
        finally:
            self.wanted = False
            thread.join(10)


@pytest.fixture
def side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OneDesk]:
    monkeypatch.setattr(exchange, "PIECE", PIECE)
    (tmp_path / "worker").mkdir()
    one = OneDesk(tmp_path / "worker")
    with one.desk:
        yield one
    assert not DESKS
    assert not list((tmp_path / "worker").rglob("arriving"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "made.pt"
    file.write_bytes(CONTENT)
    return file


def files(history: History, run_id: str) -> list[str]:
    return sorted(path.name for path in history.folder(run_id).glob("**/*") if path.is_file())


def test_a_model_comes_in_pieces_under_a_name_made_here(side: OneDesk, history: History, model: Path) -> None:
    talk = Talk(history)
    run_id = talk.begin()
    with side.working(lambda: side.desk.hand_over_model("../../../evil\n/w8a32", model)):
        talk.offer(side.offered[-1])
        talk.go_on()
    assert not side.stopped  # it went on before nobody wanted it
    assert files(history, run_id) == ["model_1.pt"]
    assert (history.folder(run_id) / "model_1.pt").read_bytes() == CONTENT
    pieces = [len(answer) for answer in talk.answers if isinstance(answer, bytes)]
    assert pieces == [PIECE] * 4 + [567]
    assert "evil\\x0a" in talk.board[KEY].phase


def flipped(answer: Any) -> Any:
    return bytes([answer[0] ^ 1]) + answer[1:] if isinstance(answer, bytes) else answer


def longer(answer: Any) -> Any:
    return answer + b"x" if isinstance(answer, bytes) and len(answer) < PIECE else answer


def cut(answer: Any) -> Any:
    return b"" if isinstance(answer, bytes) and len(answer) < PIECE else answer


@pytest.mark.parametrize("change", [flipped, longer, cut])
def test_what_is_not_what_was_offered_is_refused(change: Change, side: OneDesk, history: History, model: Path) -> None:
    talk = Talk(history, change)
    run_id = talk.begin()
    talk.go_on()
    with side.working(lambda: side.desk.hand_over_model("w8a32", model)):
        talk.offer(side.offered[-1])
        with pytest.raises(UserError, match="damaged"):
            talk.go_on()
    assert files(history, run_id) == []
    assert side.stopped


@pytest.mark.parametrize("end", ["lost", "closed", "answered"])
def test_a_transfer_that_is_cut_off_leaves_no_half_file(end: str, side: OneDesk, history: History, model: Path) -> None:
    talk = Talk(history)
    run_id = talk.begin()
    talk.go_on()
    with side.working(lambda: side.desk.hand_over_model("w8a32", model)):
        talk.offer(side.offered[-1])
        talk.go_on(2)
        assert files(history, run_id) == ["arriving"]
        {"lost": lambda: talk.exchange.end_at(WORKER), "closed": talk.exchange.close,
         "answered": lambda: talk.exchange.end(KEY)}[end]()  # fmt: skip
        assert files(history, run_id) == []
        talk.go_on()  # an answer that comes late
    assert files(history, run_id) == []
    talk.entries.end(None)
    assert not history.folder(run_id).exists()


def test_a_question_that_is_put_twice_does_no_harm(side: OneDesk, history: History, model: Path) -> None:
    talk = Talk(history)
    run_id = talk.begin()
    talk.go_on()
    with side.working(lambda: side.desk.hand_over_model("w8a32", model)):
        talk.offer(side.offered[-1])
        while talk.asked:
            _, _, _, question = talk.asked[0]
            question.function(TASK, *question.args)
            talk.go_on(1)
    assert (history.folder(run_id) / "model_1.pt").read_bytes() == CONTENT
    assert not side.stopped


@pytest.mark.parametrize("kind", [MODEL, ARRAYS, STEP])
def test_what_is_too_large_stays_where_it_is(
    kind: str, side: OneDesk, history: History, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(parcel.MOST_BYTES, kind, len(CONTENT) - 1)
    talk = Talk(history)
    run_id = talk.begin()
    talk.go_on()

    def hand_over() -> None:
        with model.open("rb") as content:
            side.desk.hand_over(kind, "w8a32", content)

    with side.working(hand_over):
        talk.offer(side.offered[-1])
        talk.go_on()
    assert not side.stopped
    assert files(history, run_id) == []
    (note,) = talk.board.result().notes
    assert f"Of run {run_id}, w8a32 stayed on its worker" in note
    assert not Parcel(1, "something else", "x", 1, "").fits
    assert not Parcel(1, MODEL, "x", -1, "").fits


def test_steps_go_both_ways_and_are_not_handed_back(side: OneDesk, history: History) -> None:
    talk = Talk(history)
    run_id = talk.begin()
    here = history.journal(run_id)
    array = np.arange(900, dtype=np.float32)
    here.put("notes", {"a": "ä" * 900})
    here.put("word", "../../../history.sqlite3")
    here.put_arrays("w", {"x": array})
    file = here.file_of("w")
    here.put_arrays("gone", {"x": array})
    gone = here.file_of("gone")
    assert gone is not None
    assert file is not None
    gone.unlink()
    talk.asked.clear()
    talk.exchange.begin(KEY, WORKER, give_steps(here))

    journals: list[RunJournal] = []

    def work() -> None:
        journal = side.desk.journal()
        journals.append(journal)
        journal.put("next", 7)
        journal.put_arrays("more", {"y": array[::-1]})

    taken: list[int] = []
    with side.working(work, offers=0):
        while len(taken) < 2:
            talk.go_on()
            for offered in side.offered[len(taken) :]:
                taken.append(offered.number)
                talk.offer(offered)
                talk.go_on()
    (there,) = journals
    assert not side.stopped
    assert [offered.name for offered in side.offered] == ["next", "more"]
    assert there.keys("") == ["notes", "word", "w", "next", "more"]
    assert here.keys("") == ["notes", "word", "w", "gone", "next", "more"]
    for journal in (here, there):
        assert journal.get("notes") == {"a": "ä" * 900}
        assert journal.get("word") == "../../../history.sqlite3"
        assert journal.get("next") == 7
        for key, wanted in (("w", array), ("more", array[::-1])):
            assert (journal.arrays(key) or {}).popitem()[1].tolist() == wanted.tolist()
    assert here.file_of("w") == file
    with pytest.raises(UserError, match="in that of another machine"):
        there.earlier("a-run")


def test_a_step_that_names_a_file_is_no_path_to_it(history: History, tmp_path: Path) -> None:
    journal = history.journal(history.start("a", {}))
    other = tmp_path / "other.npz"
    other.write_bytes(b"mine")
    for name in (str(other), "../../../other.npz", "other.npz"):
        journal.put("step", name)
        assert journal.arrays("step") is None
        journal.put_arrays("step", {"x": np.zeros(1)})
    assert other.read_bytes() == b"mine"


def test_a_file_of_arrays_is_adopted(history: History, tmp_path: Path) -> None:
    run_id = history.start("a", {})
    journal = history.journal(run_id)
    for i in range(2):
        file = tmp_path / "arrays.npz"
        np.savez(file, x=np.array([i]))
        journal.adopt("step", file)
        assert not file.exists()
        assert (journal.arrays("step") or {})["x"].tolist() == [i]
    assert len(list(history.steps_folder(run_id).iterdir())) == 1


def test_what_a_worker_raises_is_raised_here(side: OneDesk, history: History, model: Path) -> None:
    talk = Talk(history, lambda answer: ZeroDivisionError("there") if isinstance(answer, bytes) else answer)
    run_id = talk.begin()
    talk.go_on()
    with side.working(lambda: side.desk.hand_over_model("w8a32", model)):
        talk.offer(side.offered[-1])
        with pytest.raises(ZeroDivisionError, match="there"):
            talk.go_on()
    assert files(history, run_id) == []
    assert json.loads(history.get(run_id).config_json) == json.loads(history.runs()[0].config_json)
