"""``trust.value`` is the library's dataclass in the one form that the house uses."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from trust import value


@value.dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Ours:
    number: int
    text: str = "x"
    items: dict[str, int] = value.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Theirs:
    number: int
    text: str = "x"
    items: dict[str, int] = dataclasses.field(default_factory=dict)


BOTH: list[Any] = [Ours, Theirs]


@pytest.mark.parametrize("made", BOTH)
def test_value_is_frozen_slotted_and_keyword_only(made: Any) -> None:
    one = made(number=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.number = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del one.number
    assert not hasattr(one, "__dict__")
    for arguments in ({}, {"number": 1, "strange": 2}):
        with pytest.raises(TypeError):
            made(**arguments)
    with pytest.raises(TypeError):
        made(1)


@pytest.mark.parametrize("made", BOTH)
def test_values_compare_by_their_fields_and_by_nothing_of_another_class(made: Any) -> None:
    assert made(number=1) == made(number=1, text="x", items={})
    assert made(number=1) != made(number=2)
    assert made(number=1) < made(number=2)
    assert min(made(number=2), made(number=1)).number == 1
    assert made(number=1) != (1, "x", {})
    assert made(number=1) != BOTH[1 - BOTH.index(made)](number=1)


@pytest.mark.parametrize("made", BOTH)
def test_default_factory_makes_a_new_value_each_time(made: Any) -> None:
    assert made(number=1).items is not made(number=1).items


@pytest.mark.parametrize("made", BOTH)
def test_library_functions_work_on_it(made: Any) -> None:
    one = made(number=1)
    assert dataclasses.replace(one, text="y") == made(number=1, text="y")
    assert value.replace(one, text="y") == made(number=1, text="y")
    assert dataclasses.asdict(one) == {"number": 1, "text": "x", "items": {}}
    assert [each.name for each in dataclasses.fields(one)] == ["number", "text", "items"]
    assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one  # noqa: S301 - our own bytes


def test_its_text_is_the_library_s() -> None:
    assert repr(Ours(number=1)) == repr(Theirs(number=1)).replace("Theirs", "Ours")


def test_hash_is_of_the_fields() -> None:
    @value.dataclass(frozen=True, slots=True, kw_only=True)
    class Point:
        x: int

    assert hash(Point(x=1)) == hash(Point(x=1))
    assert len({Point(x=1), Point(x=1), Point(x=2)}) == 2


def test_hidden_field_is_in_no_text_and_counts_for_equality() -> None:
    @value.dataclass(frozen=True, slots=True, kw_only=True)
    class Login:
        user: str
        secret: str = value.field(repr=False)
        note: str = value.field(default="", repr=False)

    login = Login(user="me", secret="of the tests")
    assert repr(login).endswith("Login(user='me')")
    assert login != Login(user="me", secret="another")
    with pytest.raises(TypeError):
        Login(user="me")  # type: ignore[call-arg]


def test_class_that_is_not_frozen_slotted_and_keyword_only_is_no_value() -> None:
    said = {"frozen": True, "slots": True, "kw_only": True}
    for word in said:
        with pytest.raises(TypeError, match="frozen, slotted and keyword-only"):
            value.dataclass(**{**said, word: False})


def test_value_is_checked_once_all_its_fields_are_there() -> None:
    @value.dataclass(frozen=True, slots=True, kw_only=True)
    class Span:
        first: int
        last: int = 9

        def __post_init__(self) -> None:
            if self.first > self.last:
                raise ValueError("a span ends before it begins")

    assert Span(first=3).last == 9
    with pytest.raises(ValueError, match="ends before it begins"):
        Span(first=10)
    with pytest.raises(ValueError, match="ends before it begins"):
        value.replace(Span(first=3), last=2)


def test_value_without_fields_is_every_other_of_its_class() -> None:
    @value.dataclass(frozen=True, slots=True, kw_only=True)
    class Ping:
        pass

    assert Ping() == Ping()
    assert len({Ping(), Ping()}) == 1
