"""Threads that answer requests: few of them work at once, because all share Python's lock.

With eight threads at work, a request that takes 30 microseconds costs twice that: each has to wait for the lock, and
finds the caches of another processor. So a task waits while `at_once` others are at work. Whatever has been at one task
for `PATIENCE` seconds is taken to wait for a client, a disk or another machine, and no longer counts as being at work.
The thread that rested last works first; the others cost nothing.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from mushu.server.operation.polling import Poller

#: Seconds at one task, after which a thread is taken to wait for something.
PATIENCE: Final = 0.005
#: Looks without a task that waits, after which nobody looks any more.
_RESTS: Final = 200

Task: TypeAlias = tuple[Any, ...]


class Worker:
    """One thread of a pool."""

    def __init__(self) -> None:
        #: Held while there is nothing to do.
        self.rest = threading.Lock()
        self.rest.acquire()
        self.is_started = False
        self.task: Task | None = None
        #: How many tasks it has begun.
        self.turn = 0
        #: Whether it is one of those at work.
        self.counts = False


class ThreadPool:
    """Does tasks in threads that end with the process.

    Args:
        name: of the threads.
        work: is called with each task; must not raise.
        at_once: tasks at work at once.
        most: threads, those included that wait for something.
    """

    def __init__(self, name: str, work: Callable[..., object], at_once: int, most: int) -> None:
        self._name = name
        self._work = work
        self._at_once = at_once
        self._most = most
        self._lock = threading.Lock()
        self._tasks: deque[Task] = deque()
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []
        self._at_work = 0
        #: Of each thread its own worker.
        self._here = threading.local()
        #: Those at work at the last look, and the turn of each.
        self._seen: list[tuple[Worker, int]] = []
        self._watch = Poller(f"{name}, watched", self._look, PATIENCE, _RESTS)

    def submit(self, task: Task) -> None:
        """Have a task done as soon as it is its turn.

        Raises:
            RuntimeError: the system gives no thread, and there is none yet.
        """
        with self._lock:
            self._tasks.append(task)
            worker = self._begin() if self._at_work < self._at_once else None
            waits = bool(self._tasks)
        if worker is not None:
            self._start(worker)
        if waits:
            self._watch.begin()

    def leave(self) -> None:
        """Have others work in place of this thread until its task is done: it waits for something from now on."""
        worker: Worker | None = getattr(self._here, "worker", None)
        if worker is None:
            return
        with self._lock:
            self._leave(worker)
            begun = self._begin_all()
        self._start_all(begun)

    def _leave(self, worker: Worker) -> None:
        if worker.counts:
            worker.counts = False
            self._at_work -= 1

    def _begin(self) -> Worker | None:
        """Give the next task to a thread; the lock is held, and `_start` is called after it."""
        if self._idle:
            worker = self._idle.pop()
        elif len(self._workers) < self._most:
            worker = Worker()
            self._workers.append(worker)
        else:
            return None
        self._give_next(worker)
        return worker

    def _give_next(self, worker: Worker) -> None:
        worker.task = self._tasks.popleft()
        worker.turn += 1
        worker.counts = True
        self._at_work += 1

    def _start(self, worker: Worker) -> None:
        worker.rest.release()
        if not worker.is_started:
            worker.is_started = True
            try:
                threading.Thread(target=self._run, args=(worker,), name=self._name, daemon=True).start()
            except RuntimeError:
                self._give_back(worker)

    def _give_back(self, worker: Worker) -> None:
        """Leave the task of a thread that the system did not give to another one."""
        with self._lock:
            self._workers.remove(worker)
            self._at_work -= 1
            if not self._workers:
                raise RuntimeError("The system gives no thread.")
            if worker.task is not None:
                self._tasks.appendleft(worker.task)

    def _run(self, worker: Worker) -> None:
        self._here.worker = worker
        while True:
            worker.rest.acquire()
            while worker.task is not None:
                self._work(*worker.task)
                self._go_on(worker)

    def _go_on(self, worker: Worker) -> None:
        """Give a thread that has done its task the next one, or let it rest."""
        with self._lock:
            worker.task = None
            self._leave(worker)
            if self._tasks and self._at_work < self._at_once:
                self._give_next(worker)
            else:
                self._idle.append(worker)

    def _look(self) -> bool:
        """Let others work in place of the threads that are still at the same task; tell whether any task waited."""
        with self._lock:
            waited = bool(self._tasks)
            for worker, turn in self._seen:
                if waited and worker.turn == turn:
                    self._leave(worker)
            begun = self._begin_all()
            self._seen = [(worker, worker.turn) for worker in self._workers if worker.counts]
        self._start_all(begun)
        return waited

    def _begin_all(self) -> list[Worker]:
        """Give tasks to as many threads as may work; as `_begin`."""
        begun: list[Worker] = []
        while self._tasks and self._at_work < self._at_once and (worker := self._begin()) is not None:
            begun.append(worker)
        return begun

    def _start_all(self, workers: list[Worker]) -> None:
        for worker in workers:
            self._start(worker)
