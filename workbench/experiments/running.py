"""Units taken through the epochs together, so that a stop leaves all at one place."""

import concurrent.futures
import os
import threading

from workbench.experiments import records

_FIRST_CHUNK = 4  # steps; whatever cannot run on a path shows here
_CHUNK_SECONDS = 0.5  # between two signs of life
# Small operations leave cores idle, so that more runs than cores still gain.
_THREADS = 2 * (os.cpu_count() or 1)


def run(session, candidates, progress):
    """Trains candidates; an interrupt ends all with what they have.

    Args:
        session: `sessions.Session`.
        candidates: List of `variants.Candidate`.
        progress: `workbench.steps.Progress`.

    Returns:
        Dict of name -> `(Record, weights)`, and whether it was interrupted.
    """
    units, interrupted, before = [], False, 0
    try:
        units = session.make_units(candidates)
        for index in range(session.epochs):
            epoch = session.feed.epoch(index)
            if index == 0:
                _start(session, units, epoch, progress)
            validation = session.validation_after(index)
            _run_epoch(units, epoch, validation, before, progress)
            before += len(epoch.sizes)
    except KeyboardInterrupt:
        interrupted = True
    results = {}
    for unit in units:
        for record, weights in unit.results(interrupted=interrupted):
            results[record.name] = record, weights
    for candidate in candidates:
        if candidate.name not in results:
            record = records.empty_record(candidate.name, interrupted=True)
            results[candidate.name] = record, []
    return results, interrupted


def _start(session, units, epoch, progress):
    """Tries the first steps; in place, what cannot run gives way to slower units."""
    first = epoch.orders[0][:_FIRST_CHUNK]
    waiting, units[:] = list(units), []
    while waiting:
        unit = waiting.pop(0)
        progress.add(0)  # tracing takes seconds; who wants to end it is heard before
        try:
            if not unit.finished_early:
                unit.advance(epoch.data, first)
        except Exception as error:  # noqa: BLE001, from the user's model or from pfor
            if unit.path != records.FIT:
                waiting = session.slower(unit, error) + waiting
                continue
            unit.error = error
        units.append(unit)


def _run_epoch(units, epoch, validation, before, progress):
    stop = threading.Event()

    def finish(unit):
        try:
            _finish_epoch(unit, epoch, validation, before, progress, stop)
        except Exception as error:  # noqa: BLE001, ends these variants, not the others
            unit.error = error

    single = [u for u in units if u.path == records.SHARED_TRACE]
    for unit in units:
        if len(single) < 2 or unit not in single:
            finish(unit)
    if len(single) > 1:
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            try:
                list(pool.map(finish, single))
            except KeyboardInterrupt:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise


def _finish_epoch(unit, epoch, validation, before, progress, stop):
    steps = len(epoch.sizes)
    while not unit.finished_early and unit.steps - before < steps:
        if stop.is_set():
            return
        piece = _next_piece(epoch.orders, unit.steps - before, _chunk(unit))
        unit.advance(epoch.data, piece)
        progress.add(len(piece) * len(unit.candidates))
    if unit.steps - before == steps and not unit.finished_early:
        unit.end_epoch(epoch.sizes, validation)


def _chunk(unit):
    """Returns how many steps fit between two signs of life."""
    if not unit.pace:
        return _FIRST_CHUNK
    return max(int(_CHUNK_SECONDS / unit.pace), 1)


def _next_piece(orders, done, most):
    """Cuts the next steps of one size out of an epoch's orders."""
    for order in orders:
        if done < len(order):
            return order[done : done + most]
        done -= len(order)
    raise IndexError(f"`done` must be below the epoch's steps. Received: done={done}")
