"""An executor: Ray Data on the machines of a cluster, for whom the extra `ray` is installed.

Photos travel as bytes, so the machines need neither the source's disk nor the gallery's database:

    this process --queue--> feed (a task here) --> a RayEmbedder per core --> this process

The queue is short and Ray Data holds back the feed while its embedders are busy, so few photos are
on their way. A RayEmbedder keeps its networks in a process of its own, one of pool.py: a photo that
kills it costs neither the actor nor the run.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from itertools import islice
from threading import Thread
from typing import Any, Final, Self

from inference_server.bulk import Outcome, Photo, Refused, WorkersUnusable
from inference_server.bulk.pool import ProcessPool
from inference_server.bulk.worker import LoadPipeline

CHUNK_PHOTOS: Final = 8
CHUNKS_WAITING: Final = 8
A_ROW: Final = 1
"""Bytes of a block: Ray makes none smaller than a row, which is a chunk of photos. So every core
gets some, and outcomes come early."""

Batch = dict[str, Any]  # column -> array with one pickled list, of Photos or of Outcomes


class RayCluster:
    """`address`: of a cluster that this machine is a node of; `local` starts one here."""

    def __init__(self, load: LoadPipeline, address: str) -> None:
        if find_spec("ray") is None:
            raise WorkersUnusable("--ray needs Ray, the extra `ray` of this distribution.")
        self._load = load
        self._address = address

    def __enter__(self) -> Self:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is told to Ray's makers
        import ray

        try:
            ray.init(self._address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise WorkersUnusable(f"Ray at {self._address}: {error}") from error
        logging.disable(logging.WARNING)  # Ray's plans would break up the progress
        context = ray.data.DataContext.get_current()
        context.target_min_block_size = context.target_max_block_size = A_ROW
        context.enable_progress_bars = False
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()
        logging.disable(logging.NOTSET)

    def run(self, photos: Iterable[Photo]) -> Iterator[Outcome]:
        import ray

        feeder = _Feeder(photos)
        feeder.start()
        try:
            for batch in self._outcomes(feeder.queue).iter_batches(batch_size=None):
                for outcome in _unpacked(batch["outcomes"]):
                    feeder.waiting.pop(_name_of(outcome), None)
                    yield outcome
        except ray.exceptions.RayError as error:
            raise WorkersUnusable(f"The cluster gave up: {error}") from error
        finally:
            feeder.end()
        feeder.check()
        yield from feeder.unanswered()

    def _outcomes(self, queue: Any) -> Any:  # noqa: ANN401 - Ray is there only with its extra
        import ray

        here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
        cores = max(int(ray.cluster_resources().get("CPU", 1)), 1)
        start = ray.data.from_items([{"photos": b""}])  # without a task of its own: no core is left
        fed = start.map_batches(feed, fn_kwargs={"queue": queue}, num_cpus=0, label_selector=here)
        return fed.map_batches(
            RayEmbedder,
            fn_constructor_args=(self._load,),
            batch_size=1,
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=cores),
        )


class RayEmbedder:
    """An actor of the cluster, with one core."""

    def __init__(self, load: LoadPipeline) -> None:
        self._process = ProcessPool(load, processes=1)

    def __call__(self, batch: Batch) -> Batch:
        return {"outcomes": _packed(list(self._process.run(_unpacked(batch["photos"]))))}


def feed(_: Batch, queue: Any) -> Iterator[Batch]:  # noqa: ANN401 - ray.util.queue.Queue
    """What the queue brings, until it brings None."""
    while (photos := queue.get()) is not None:
        yield {"photos": photos}
    queue.put(None)  # for a second attempt of this task, which would wait for ever


class _Feeder(Thread):
    """Fills the queue, which is short; whatever ends the photos early ends the run in `check`."""

    def __init__(self, photos: Iterable[Photo]) -> None:
        from ray.util.queue import Queue

        super().__init__(name="feeder", daemon=True)
        self.queue = Queue(maxsize=CHUNKS_WAITING, actor_options={"num_cpus": 0})
        self.waiting: dict[tuple[str, str], None] = {}
        self._photos = iter(photos)
        self._error: Exception | None = None

    def run(self) -> None:
        from ray.exceptions import RayError

        try:
            while chunk := list(islice(self._photos, CHUNK_PHOTOS)):
                self.waiting.update(dict.fromkeys((one.name, one.person_id) for one in chunk))
                self.queue.put(_packed(chunk))
        except RayError:  # the queue was shut down: the run has ended for another reason
            return
        except Exception as error:  # noqa: BLE001 - raised again by `check`, in the run's thread
            self._error = error
        self.queue.put(None)

    def end(self) -> None:
        self.queue.shutdown(force=True)
        self.join()

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def unanswered(self) -> Iterator[Refused]:
        """Photos that went down with a machine."""
        for name, person_id in self.waiting:
            told = "The machine that worked on it went away; start again to go on."
            yield Refused(name, person_id, "internal-error", told)


def _packed(chunk: list[Any]) -> list[bytes]:
    return [pickle.dumps(chunk)]


def _unpacked(rows: Iterable[bytes]) -> list[Any]:
    """What this process, or an actor of its own, has packed."""
    return [one for row in rows for one in pickle.loads(row)]  # noqa: S301


def _name_of(outcome: Outcome) -> tuple[str, str]:
    if isinstance(outcome, Refused):
        return outcome.name, outcome.person_id
    return outcome.name, outcome.reference.person_id
