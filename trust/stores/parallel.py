"""Owns doing the same to many files at once: a role in bins has thousands, and each costs a round trip."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 16


def for_each(items: Iterable[T], call: Callable[[T], object]) -> None:
    """Have ``call`` made for each of ``items``, up to ``AT_ONCE`` at a time.

    Raises:
        Exception: what the first of them that failed raised; those under way are waited for, no others begin.
    """
    # Imported here: who only reads needs no pool.
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    pool = ThreadPoolExecutor(max_workers=AT_ONCE)
    try:
        for done in [pool.submit(call, item) for item in items]:
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)
