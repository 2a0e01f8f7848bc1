"""The cells of a study on a Dask cluster."""

from qexplorer.engine.history import History
from qexplorer.engine.study.board import Board
from qexplorer.engine.study.book import Book
from qexplorer.engine.study.conversation import Conversation
from qexplorer.engine.study.entries import Entries
from qexplorer.engine.study.messages import Answered, Began, Broken, Connected, Ended, Lost, Message, Stepped, Workers
from qexplorer.engine.study.place import Cluster
from qexplorer.progress import Steps

PATIENCE_S = 0.05


def run_on_cluster(board: Board, history: History, book: Book, cluster: Cluster) -> Steps[None]:
    """Run what is left on the workers of a cluster; files that the jobs name have to be there on each of them.

    The run of a worker that is lost starts again on another one. Raises `UserError` where the scheduler cannot be
    reached or is lost, and where a worker has other versions of this program or of torch.
    """
    entries = Entries(board, history, book)
    reader = _Reader(entries, board, cluster.address)
    yield board.progress(reader.phase)
    talk = Conversation(cluster, board.left)
    try:
        while True:
            message = talk.next(PATIENCE_S)
            if isinstance(message, Ended):
                if message.error is not None:
                    raise message.error
                return
            if message is not None:
                reader.read(message)
            yield board.progress(reader.phase)
    except (GeneratorExit, KeyboardInterrupt):
        talk.close()
        entries.end(None)
        raise
    except BaseException as error:
        entries.end(error)
        raise
    finally:
        talk.close()


class _Reader:
    """Takes what was heard to where it belongs, and says in a few words how things are."""

    def __init__(self, entries: Entries, board: Board, address: str) -> None:
        self._entries = entries
        self._board = board
        self._workers = 0
        self._latest = ""
        self._opening = f"Connecting to {address}"

    @property
    def phase(self) -> str:
        """How many cells have ended, how many workers there are, and what happened last."""
        if self._opening:
            return self._opening
        workers = f"{self._workers} worker{'' if self._workers == 1 else 's'}" if self._workers else "no worker yet"
        head = f"{self._board.ended}/{len(self._board.study.cells)} on {workers}"
        return f"{head}: {self._latest}" if self._latest else head

    def read(self, message: Message) -> None:
        """Enter one message."""
        match message:
            case Connected(workers) | Workers(workers):
                self._opening, self._workers = "", workers
            case Began(key, worker, host):
                self._entries.begin(key, worker, host)
                self._say(self._board[key].label)
            case Stepped(key, worker, phase, fraction):
                self._entries.step(key, worker, phase, fraction)
                self._say(f"{self._board[key].label}: {phase}")
            case Lost(worker):
                if self._entries.lose(worker):
                    self._latest = "a worker was lost; its run starts again"
            case Answered(key, answer):
                self._entries.answer(key, answer)
                self._say(f"{self._board[key].label}: {self._board[key].status}")
            case Broken(key, reason):
                self._entries.give_up(key, reason)
                self._say(f"{self._board[key].label}: {self._board[key].status}")
            case Ended():
                pass

    def _say(self, text: str) -> None:
        """The latest, unless it would hide that a run has to start again."""
        if not self._entries.starting_again:
            self._latest = text
