"""Owns the variants of a module: what cosmic-ray makes of it, each changed at one place, and what is left alone.

1. Its operators turn comparisons, conditions, truth values, numbers, loops, decorators and handlers; of the many
   that it has for one sign, those are taken that keep the type, since the others are noticed by any test at all.
2. It neither leaves out a call whose value nobody takes, the shape of most checks, nor turns ``in``: two operators
   of our own, of the same form, do.
3. Annotations are no code here, and the words of an error are not what security rests on: both are left alone.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

Span = tuple[tuple[int, int], tuple[int, int]]  # line from 1, column from 0; the end is not part of it

# Of the signs that one of comparison can become, those whose notice implies that of the others: a bound that moved
# by one, a bound on one side alone, the opposite.
_SIGNS = "Eq_NotEq|Eq_LtE|Eq_GtE|NotEq_Eq|NotEq_Lt|NotEq_Gt|Lt_LtE|Lt_NotEq|Lt_GtE|LtE_Lt|LtE_Eq|LtE_Gt"
_MORE_SIGNS = "Gt_GtE|Gt_NotEq|Gt_LtE|GtE_Gt|GtE_Eq|GtE_Lt|Is_IsNot|IsNot_Is"
_BINARY = (
    "Add_Sub|Sub_Add|Mul_Add|Div_Mul|FloorDiv_Mul|Mod_Add|Pow_Mul|LShift_RShift|RShift_LShift"
    "|BitOr_BitAnd|BitAnd_BitOr|BitXor_BitAnd|Sub_BitAnd|BitOr_Sub"
)
_WANTED = re.compile(
    rf"core/(ReplaceComparisonOperator_({_SIGNS}|{_MORE_SIGNS})|ReplaceBinaryOperator_({_BINARY})"
    r"|ReplaceUnaryOperator_(Delete_\w+|Invert_Not)|AddNot|Replace(True|False|And|Or|Break|Continue)With\w+"
    r"|ExceptionReplacer|NumberReplacer|RemoveDecorator|ZeroIterationForLoop)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A module whose ``line``, in the function or class ``place``, became ``becomes``; ``text`` is all of it.

    ``nth`` tells it from others of the same words: the first, the second.
    """

    path: str
    place: str
    line: str
    becomes: str
    nth: int
    text: str


class _Uncalled:
    """Leaves out a call whose value nobody takes."""

    @staticmethod
    def mutation_positions(node: Any) -> Iterator[Span]:  # noqa: ANN401 - the library is untyped
        if node.type == "atom_expr" and node.parent.type == "simple_stmt":
            yield node.start_pos, node.end_pos

    @staticmethod
    def mutate(node: Any, _index: int) -> Any:  # noqa: ANN401 - likewise
        return get_ast(f"{node.get_first_leaf().prefix}pass")


class _TurnedIn:
    """Makes ``not in`` of ``in``, and ``in`` of ``not in``."""

    @staticmethod
    def mutation_positions(node: Any) -> Iterator[Span]:  # noqa: ANN401 - likewise
        if node.type == "comparison":
            for sign in node.children[1::2]:
                if sign.get_code().split() in (["in"], ["not", "in"]):
                    yield sign.start_pos, sign.end_pos

    @staticmethod
    def mutate(node: Any, index: int) -> Any:  # noqa: ANN401 - likewise
        places = [
            at
            for at, sign in enumerate(node.children)
            if at % 2 and sign.get_code().split() in (["in"], ["not", "in"])
        ]
        at = places[index]
        is_in = node.children[at].get_code().split() == ["in"]
        node.children[at] = get_ast(" not in" if is_in else " in")
        return node


def variants(path: str, source: str) -> tuple[Variant, ...]:
    """Return the variants of the module ``path``, in the order of their places; no two mean the same."""
    tree = ast.parse(source)
    left_alone, seen = tuple(_left_alone(tree)), {_meaning(source)}
    found: list[tuple[Span, Variant]] = []
    nodes = tuple(ast_nodes(get_ast(source)))
    for operator in _operators():
        for occurrence, span in enumerate(span for node in nodes for span in operator.mutation_positions(node)):
            if any(start <= span[0] and span[1] <= end for start, end in left_alone):
                continue
            text = _changed(source, operator, occurrence)
            meaning = _meaning(text)
            if meaning is None or meaning in seen:
                continue
            seen.add(meaning)
            found.append((span, _variant(path, source, text, _place(tree, span[0][0]))))
    return tuple(_numbered(variant for _, variant in sorted(found, key=lambda one: one[0])))


def _numbered(found: Iterable[Variant]) -> Iterator[Variant]:
    seen = Counter[tuple[str, str, str]]()
    for one in found:
        words = (one.place, one.line, one.becomes)
        seen[words] += 1
        yield replace(one, nth=seen[words])


def _operators() -> Iterator[Any]:
    yield from (get_operator(name)() for name in operator_names() if _WANTED.fullmatch(name))
    yield _Uncalled()
    yield _TurnedIn()


def _changed(source: str, operator: Any, occurrence: int) -> str:  # noqa: ANN401 - likewise
    try:
        return str(mutate_code(source, operator, occurrence))
    except AttributeError:  # an operator that knows no ``except module.Error`` among several
        return source


class _Plain(ast.NodeTransformer):
    """Makes ``a != b`` of ``not a == b`` and nothing of ``not not``: where it is asked for truth they are one."""

    _OPPOSITES = (
        (ast.Eq, ast.NotEq), (ast.In, ast.NotIn), (ast.Is, ast.IsNot), (ast.Lt, ast.GtE), (ast.LtE, ast.Gt),
    )  # fmt: skip

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=ast.Compare(left=left, ops=[sign], comparators=other)):
                return ast.Compare(left=left, ops=[self._opposite(sign)], comparators=other)
            case ast.UnaryOp(op=ast.Not(), operand=ast.UnaryOp(op=ast.Not(), operand=inner)):
                return inner
            case _:
                return node

    def _opposite(self, sign: ast.cmpop) -> ast.cmpop:
        pairs = (*self._OPPOSITES, *((other, one) for one, other in self._OPPOSITES))
        return next(other() for one, other in pairs if isinstance(sign, one))


def _meaning(text: str) -> str | None:
    """Return what tells ``text`` from others that mean something else; None where it is no Python."""
    try:
        compile(text, "variant", "exec", dont_inherit=True)
        return ast.dump(_Plain().visit(ast.parse(text)))
    except SyntaxError:
        return None


def _left_alone(tree: ast.Module) -> Iterator[Span]:
    for node in ast.walk(tree):
        yield from map(_span, _no_code(node))


def _no_code(node: ast.AST) -> Iterable[ast.expr | ast.stmt]:
    match node:
        case ast.FunctionDef(returns=ast.expr() as said) | ast.AsyncFunctionDef(returns=ast.expr() as said):
            return (said,)
        case ast.arg(annotation=ast.expr() as said) | ast.AnnAssign(annotation=said):
            return (said,)
        case ast.Raise(exc=ast.Call(args=args, keywords=keywords)):
            return (*args, *(keyword.value for keyword in keywords))
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body):
            return (node.test, *body)
        case _:
            return ()


def _span(node: ast.expr | ast.stmt) -> Span:
    end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    return (node.lineno, node.col_offset), (end_line, end_column)


def _place(tree: ast.Module, line: int) -> str:
    """Return the names of what ``line`` is in, from the outside: ``Class.method``; empty at the top."""
    names: list[str] = []
    body: list[ast.stmt] = tree.body
    while True:
        around = next((one for one in body if _first_line(one) <= line <= (one.end_lineno or one.lineno)), None)
        if not isinstance(around, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            return ".".join(names)
        names.append(around.name)
        body = around.body


def _first_line(one: ast.stmt) -> int:
    decorators = (
        one.decorator_list if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) else ()
    )
    return min([one.lineno, *(each.lineno for each in decorators)])


def _variant(path: str, source: str, text: str, place: str) -> Variant:
    """Return the variant; what differs is told by whole lines."""
    before, after = source.splitlines(), text.splitlines()
    start = next(
        (at for at, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), len(after)
    )
    end = next(
        at for at in range(len(before) + 1)
        if at == min(len(before), len(after)) - start or before[-1 - at] != after[-1 - at]
    )  # fmt: skip
    return Variant(
        path=path,
        place=place,
        line=_words(before[start : len(before) - end]),
        becomes=_words(after[start : len(after) - end]),
        nth=1,
        text=text,
    )


def _words(lines: Iterable[str]) -> str:
    return " ".join(" ".join(lines).split())
