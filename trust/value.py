"""Owns how values are made: frozen, slotted, keyword-only dataclasses without the library's price at each start.

``dataclasses`` writes the source of each method and compiles it: 0.35 ms for a class, 13 ms for the two dozen on
the warm path, a fifth of a whole verification. Here all methods are ready-made closures. To a type checker they
are the library's own; ``dataclasses.fields``, ``replace`` and ``asdict`` work on them as well. See ADR 0008.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import replace as replace
else:
    from operator import attrgetter

    _set = object.__setattr__

    _NOTHING = object()

    class _Factory:
        """A default that is made anew for each value."""

        __slots__ = ("make",)

        def __init__(self, make):
            self.make = make

    class _Hidden:
        """A field that no text of the value shows: a secret."""

        __slots__ = ("default",)

        def __init__(self, default):
            self.default = default

    class _Fields:
        """``__dataclass_fields__``, made by the library when somebody asks for it."""

        def __init__(self, names, defaults):
            self._names, self._defaults = names, defaults

        def __get__(self, _value, cls):
            import dataclasses  # noqa: PLC0415 - that nobody has to import it is the point of this module

            made = dataclasses.make_dataclass(
                cls.__name__,
                [(name, cls.__annotations__[name], _library_field(self._defaults, name)) for name in self._names],
                kw_only=True,
            )
            return made.__dataclass_fields__

    def field(*, default=_NOTHING, default_factory=None, repr=True):  # noqa: A002 - the library's own word
        """Return what stands for a field with a default, or one that is not shown."""
        if default_factory is not None:
            default = _Factory(default_factory)
        return default if repr else _Hidden(default)

    def dataclass(*, frozen, slots, kw_only, order=False):
        """Return the decorator; the library's other words are not spoken here."""
        if not (frozen and slots and kw_only):
            raise TypeError("a value is frozen, slotted and keyword-only")
        return lambda cls: _value_class(cls, is_ordered=order)

    def replace(value, /, **changes):
        """Return ``value`` with ``changes``."""
        return type(value)(**{name: getattr(value, name) for name in value.__slots__} | changes)

    def _value_class(cls, *, is_ordered):
        body = {name: entry for name, entry in cls.__dict__.items() if name not in {"__dict__", "__weakref__"}}
        names = tuple(body.get("__annotations__", ()))
        said = {name: body.pop(name) for name in names if name in body}
        hidden = {name for name, default in said.items() if type(default) is _Hidden}
        shown = tuple(name for name in names if name not in hidden)
        said |= {name: said[name].default for name in hidden}
        defaults = {name: default for name, default in said.items() if default is not _NOTHING}
        body |= _methods(cls.__qualname__, names, defaults, shown, has_check="__post_init__" in body) | {
            "__slots__": names,
            "__match_args__": (),
            "__dataclass_fields__": _Fields(names, defaults),
        }
        if is_ordered:
            body |= _order(names)
        made = type(cls)(cls.__name__, cls.__bases__, body)
        made.__qualname__ = cls.__qualname__
        return made

    def _methods(title, names, defaults, shown, *, has_check):
        wanted = dict.fromkeys(names).keys()
        key = _key(names)

        def __init__(self, **given):
            if given.keys() != wanted:
                given = _completed(title, names, defaults, given)
            for name in names:
                _set(self, name, given[name])
            if has_check:
                self.__post_init__()

        def __eq__(self, other):
            return key(self) == key(other) if other.__class__ is self.__class__ else NotImplemented

        def __hash__(self):
            return hash(key(self))

        def __repr__(self):
            return f"{title}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

        return {
            "__init__": __init__,
            "__eq__": __eq__,
            "__hash__": __hash__,
            "__repr__": __repr__,
            "__setattr__": _refuse,
            "__delattr__": _refuse,
            "__getstate__": lambda self: [getattr(self, name) for name in names],
            "__setstate__": lambda self, state: [_set(self, *pair) for pair in zip(names, state, strict=True)],
        }

    def _completed(title, names, defaults, given):
        for name, default in defaults.items():
            if name not in given:
                given[name] = default.make() if type(default) is _Factory else default
        if given.keys() != set(names):
            missing, strange = sorted(set(names) - given.keys()), sorted(given.keys() - set(names))
            raise TypeError(f"{title}: missing {missing}, not known {strange}")
        return given

    def _key(names):
        if len(names) == 1:
            only = attrgetter(*names)
            return lambda value: (only(value),)
        return attrgetter(*names) if names else lambda _value: ()

    def _order(names):
        key = _key(names)

        def comparing(compare):
            return lambda self, other: (
                compare(key(self), key(other)) if other.__class__ is self.__class__ else NotImplemented
            )

        return {
            "__lt__": comparing(lambda one, other: one < other),
            "__le__": comparing(lambda one, other: one <= other),
            "__gt__": comparing(lambda one, other: one > other),
            "__ge__": comparing(lambda one, other: one >= other),
        }

    def _refuse(self, name, *_value):
        from dataclasses import FrozenInstanceError  # noqa: PLC0415 - likewise

        raise FrozenInstanceError(f"cannot change {name!r} of a {type(self).__name__}")

    def _library_field(defaults, name):
        import dataclasses  # noqa: PLC0415 - likewise

        if name not in defaults:
            return dataclasses.field()
        default = defaults[name]
        if type(default) is _Factory:
            return dataclasses.field(default_factory=default.make)
        return dataclasses.field(default=default)
