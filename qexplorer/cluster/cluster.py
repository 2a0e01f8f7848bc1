"""The cells of a study on a Dask cluster."""

from collections.abc import Callable

from qexplorer.cluster.board import Board
from qexplorer.cluster.book import Book
from qexplorer.cluster.conversation import Conversation
from qexplorer.cluster.entries import Entries
from qexplorer.cluster.exchange import Dialogue, Exchange
from qexplorer.cluster.messages import (
    Answered,
    Began,
    Broken,
    Connected,
    Ended,
    Lost,
    Message,
    Offered,
    Replied,
    Stepped,
    Workers,
)
from qexplorer.cluster.place import Cluster
from qexplorer.engine.runs.history import History
from qexplorer.errors import UserError
from qexplorer.progress import Steps

PATIENCE_S = 0.05


def run_on_cluster(board: Board, history: History, book: Book, cluster: Cluster) -> Steps[None]:
    """Run what is left on the workers of a cluster; files that the jobs name have to be there on each of them.

    The run of a worker that is lost goes on with another one, from its last finished step. Raises `UserError` where
    the scheduler cannot be reached or is lost, and where a worker has other versions of this program or of torch.
    """
    entries = Entries(board, history, book)
    yield board.progress(f"Connecting to {cluster.address}")
    talk = Conversation(cluster, board.left)
    reader = _Reader(entries, board, talk, f"Connecting to {cluster.address}")
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
    except BaseException as error:
        reader.close()
        entries.end(None if isinstance(error, (GeneratorExit, KeyboardInterrupt)) else error)
        raise
    finally:
        reader.close()


class _Reader:
    """Takes what was heard to where it belongs, and says in a few words how things are."""

    def __init__(self, entries: Entries, board: Board, talk: Conversation, opening: str) -> None:
        self._entries = entries
        self._board = board
        self._talk = talk
        self._exchange = Exchange(talk.ask)
        self._workers = 0
        self._latest = ""
        self._opening = opening

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
                self._converse(key, worker, self._entries.begin(key, worker, host))
                self._say(self._board[key].label)
            case Stepped(key, worker, phase, fraction):
                self._entries.step(key, worker, phase, fraction)
                self._say(f"{self._board[key].label}: {phase}")
            case Offered(key, worker, parcel):
                self._converse(key, worker, self._entries.take(key, worker, parcel))
            case Replied(key, number, answer):
                self._guarded(key, lambda: self._exchange.reply(key, number, answer))
            case Lost(worker):
                self._exchange.end_at(worker)
                if self._entries.lose(worker):
                    self._latest = "a worker was lost; its run goes on elsewhere"
            case Answered(key, answer):
                self._exchange.end(key)
                self._entries.answer(key, answer)
                self._say(f"{self._board[key].label}: {self._board[key].status}")
            case Broken(key, reason):
                self._exchange.end(key)
                self._entries.give_up(key, reason)
                self._say(f"{self._board[key].label}: {self._board[key].status}")
            case _:
                pass

    def close(self) -> None:
        """Leave the cluster; no half of a file stays here."""
        self._exchange.close()
        self._talk.close()

    def _converse(self, key: str, worker: str, dialogue: Dialogue | None) -> None:
        if dialogue is not None:
            self._guarded(key, lambda: self._exchange.begin(key, worker, dialogue))

    def _guarded(self, key: str, speak: Callable[[], None]) -> None:
        """Speak with the worker of a cell; the cell has failed where what it has cannot be brought here."""
        try:
            speak()
        except UserError as error:
            self._talk.drop(key)
            self._entries.give_up(key, str(error))

    def _say(self, text: str) -> None:
        """The latest, unless it would hide that a run has to start again."""
        if not self._entries.starting_again:
            self._latest = text
