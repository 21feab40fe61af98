"""Backends: units on the cores of this machine or on a cluster, by joblib; a death costs the unit it struck."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Literal, get_args

from glt.errors import GltError
from glt.sweeps.status import clear, running
from glt.sweeps.units import Unit
from glt.sweeps.work import Place, end, lose, work

Backend = Literal["loky", "ray", "dask", "sequential"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
"""No threads: trainings share the random state of their process, so there is one of them in each."""

STRIKES = 2
"""How often a unit may be running when workers die before it is tried alone."""
KILLED = "its worker process died, alone too: out of memory?"
HOPELESS = 3
"""How often workers may die with nothing begun or ended in between."""


def run_units(
    units: Sequence[Unit],
    place: Place,
    backend: Backend = "loky",
    workers: int = 1,
    threads: int | None = None,
    address: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Work on every unit until it has ended, well or not.

    When a worker dies (killed, out of memory), the pool dies with it. What was running is tried again: twice beside
    others, then alone; what dies alone is recorded as ``killed``, and nothing else ever is.

    Args:
        units: in the order in which they are begun.
        place: what is the same for all of them.
        backend: one of :data:`BACKENDS`.
        workers: how many units at once.
        threads: CPU threads of each, for what reads the environment (default: cores / workers).
        address: of a Ray or Dask cluster; one is started here without.
        say: told what happened to workers, in a line.

    Raises:
        GltError: the backend is not installed, or its workers die before they begin.
    """
    clear(place.status)
    left, strikes, fruitless = list(units), Counter[str](), 0
    with _using(backend, workers, threads, address):
        while left:
            together = [unit for unit in left if strikes[unit.name] < STRIKES]
            batch, at_once = (together, workers) if together else (left, 1)
            try:
                _map(backend, batch, place, workers, at_once)
            except GltError:
                raise
            except Exception as error:
                struck = [unit for unit in batch if unit.name in running(place.status)]
                clear(place.status)
                strikes.update(unit.name for unit in struck)
                if at_once == 1:
                    for unit in struck[:1]:
                        lose(unit, "killed", KILLED, place.device)
                        end(unit, place, "killed", why=KILLED)
                before, left = len(left), _left(left, place)
                fruitless = 0 if struck or len(left) < before else fruitless + 1
                if fruitless == HOPELESS:
                    raise GltError(f"the workers of {backend} do not start: {' '.join(str(error).split())}") from error
                if struck:
                    names = ", ".join(f"{unit.label} seed {unit.seed}" for unit in struck)
                    say(f"a worker died ({type(error).__name__}); running then: {names}")
                continue
            left = _left(left, place)


def _left(units: Sequence[Unit], place: Place) -> list[Unit]:
    ended = {line["unit"] for line in place.ends.holding(place.invocation)}
    return [unit for unit in units if unit.name not in ended]


def _map(backend: Backend, units: Sequence[Unit], place: Place, workers: int, at_once: int) -> None:
    """Call :func:`~glt.sweeps.work.work` on every unit, begun in order."""
    if backend == "sequential":
        for unit in units:
            work(unit, place)
        return
    from joblib import Parallel, delayed

    # joblib has one worker work in this very process: of two, with one thing to do at a time, one is idle
    processes = max(workers, 2) if backend == "loky" else workers
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        Parallel(n_jobs=processes, pre_dispatch=at_once, batch_size=1)(delayed(work)(unit, place) for unit in units)


@contextmanager
def _using(backend: Backend, workers: int, threads: int | None, address: str | None) -> Iterator[None]:
    """Within the block, this backend is joblib's default."""
    if backend in ("loky", "sequential") and address:
        raise GltError(f"--address {address} is of a cluster: add --backend ray or dask")
    if backend == "sequential":
        yield
        return
    import joblib

    if backend == "loky":
        with joblib.parallel_config("loky", inner_max_num_threads=threads):
            try:
                yield
            finally:
                from joblib.externals.loky import get_reusable_executor

                get_reusable_executor().shutdown(wait=True, kill_workers=True)
    elif backend == "ray":
        try:
            import ray
            from ray.util.joblib import register_ray
        except ImportError:
            raise GltError("backend 'ray' needs Ray: pip install 'graph-lottery-tickets[ray]'") from None
        if address:
            ray.init(address=address, log_to_driver=False)
        else:
            ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
        register_ray()
        try:
            with joblib.parallel_config("ray"):
                yield
        finally:
            ray.shutdown()
    else:
        try:
            from distributed import Client, LocalCluster
        except ImportError:
            raise GltError("backend 'dask' needs Dask: pip install 'graph-lottery-tickets[dask]'") from None
        with ExitStack() as opened:
            cluster = address or opened.enter_context(
                LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
            )
            opened.enter_context(Client(cluster))
            with joblib.parallel_config("dask"):
                yield
