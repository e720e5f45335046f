"""Owns which containers want looking after and have nobody: those that run, and those that are to run.

A supervisor that has just begun asks this. Each engine is asked once, whatever the number of its containers.
"""

from __future__ import annotations

import traceback
from collections.abc import Container, Iterator
from pathlib import Path

from trust.errors import TrustError
from trust.runtime.course import Course, is_wanted, read_course
from trust.runtime.plan import PLAN, Plan, read_plan
from trust.runtime.starting import engine_for
from trust.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Neglected:
    """A container, how it fared, and the process whose end is its end; None where it is to be started again."""

    plan: Plan
    course: Course
    pid: int | None


def neglected(containers: Path, known: Container[str]) -> Iterator[Neglected]:
    """Yield each container of the directory ``containers`` that is not ``known`` and wants looking after.

    One that is damaged is reported and keeps no other from being looked after.
    """
    by_engine: dict[tuple[str, Path], list[tuple[Plan, Course | None]]] = {}
    for path in containers.glob(f"*/{PLAN}"):
        try:
            plan, course = read_plan(path.parent), read_course(path.parent)
        except TrustError:
            traceback.print_exc()
            continue
        if plan is not None and path.parent.name not in known and (path.parent / "record.json").exists():
            by_engine.setdefault((plan.engine, plan.program), []).append((plan, course))
    for found in by_engine.values():
        yield from _of_one_engine(found)


def _of_one_engine(found: list[tuple[Plan, Course | None]]) -> Iterator[Neglected]:
    engine = engine_for(found[0][0])
    try:
        running = engine.running([plan.bundle.identity for plan, _ in found])
    except TrustError:
        traceback.print_exc()
        return
    for plan, course in found:
        directory = plan.bundle.directory
        first = running.get(plan.bundle.identity)
        if first is not None:
            pid = engine.waited_for(directory) or first
            yield Neglected(plan=plan, course=course or Course(), pid=pid)
        elif course is not None and not course.is_over and is_wanted(directory):
            yield Neglected(plan=plan, course=course, pid=None)
