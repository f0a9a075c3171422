"""The mutants of a module: mutmut's operators, on all code that runs.

mutmut itself switches mutants on with a second copy of each function beside the first. That leaves out everything
that is not the body of a plain function: here the table of rules (lambdas in a dict), properties and the cached
builders of the networks. So its operators are used, on whole modules, and a mutant is a mutated source text.
As in mutmut, annotations, decorators, docstrings and calls of ``len`` and ``isinstance`` stay as they are.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper, PositionProvider
from mutmut.mutation.file_mutation import MutationVisitor, deep_replace
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    name: str
    path: str
    line: int
    change: str
    source: str

    def codes(self) -> list[tuple[CodeType | None, CodeType | None]]:
        """Return the functions that differ as code objects, before and after, the innermost first.

        A pair of Nones where what differs runs at import; an empty list where both texts compile to the same code.
        Raises SyntaxError where the mutant is no program.
        """
        text = Path(self.path).read_text(encoding="utf-8")
        old, new = (compile(t, self.path, "exec", dont_inherit=True) for t in (text, self.source))
        return list(changed(old, new))


class _Everywhere(MutationVisitor):
    """mutmut's visitor, which goes into functions with decorators too and notes where each mutation is."""

    METADATA_DEPENDENCIES = (*MutationVisitor.METADATA_DEPENDENCIES, ByteSpanPositionProvider)

    def __init__(self) -> None:
        super().__init__(mutation_operators, IgnoredCode(set(), set(), set()))
        self.places: list[tuple[int, int, int]] = []  # (line, first byte, last byte + 1)

    def _create_mutations(self, node: cst.CSTNode) -> None:
        before = len(self.mutations)
        super()._create_mutations(node)
        if len(self.mutations) > before:
            line = self.get_metadata(PositionProvider, node).start.line
            span = self.get_metadata(ByteSpanPositionProvider, node)
            self.places += [(line, span.start, span.start + span.length)] * (len(self.mutations) - before)

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef):
            return False
        # Docstrings are no code.
        if isinstance(node, cst.Expr) and isinstance(node.value, cst.SimpleString | cst.ConcatenatedString):
            return True
        return super()._skip_node_and_children(node)


def mutants_of(path: Path, root: Path) -> list[Mutant]:
    """Return the mutants of a file, each text once."""
    source, name = path.read_bytes(), str(path.relative_to(root))
    wrapper = MetadataWrapper(cst.parse_module(source))
    visitor = _Everywhere()
    module = wrapper.visit(visitor)
    found: list[Mutant] = []
    seen = {source}
    for (line, start, end), mutation in zip(visitor.places, visitor.mutations, strict=True):
        node, new = mutation.original_node, mutation.mutated_node
        if source[start:end] == module.code_for_node(node).encode():
            text = source[:start] + module.code_for_node(new).encode() + source[end:]
        else:  # the span leaves out something that belongs to the node, such as its parentheses
            text = deep_replace(module, node, new).code.encode()
        if text in seen:
            continue
        seen.add(text)
        change = change_of(source.decode().splitlines(), text.decode().splitlines())
        found.append(Mutant(f"{name}:{line}:{len(found) + 1}", str(path), line, change, text.decode()))
    return found


def change_of(old: list[str], new: list[str]) -> str:
    """Return the lines that differ, as ``- old`` and ``+ new``."""
    while old and new and old[0] == new[0]:
        old, new = old[1:], new[1:]
    while old and new and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    return "\n".join([f"- {line.strip()}" for line in old] + [f"+ {line.strip()}" for line in new])


def changed(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType | None, CodeType | None]]:
    """Yield the functions that differ, from the innermost out; two Nones where the code of a module or class does."""
    function = bool(old.co_flags & inspect.CO_NEWLOCALS) and old.co_freevars == new.co_freevars
    if _shallow(old) != _shallow(new) or len(_inner(old)) != len(_inner(new)):
        yield (old, new) if function else (None, None)
        return
    found = [pair for a, b in zip(_inner(old), _inner(new), strict=True) for pair in changed(a, b)]
    yield from found
    if found and function and found[0][0] is not None:
        yield old, new


def _inner(code: CodeType) -> list[CodeType]:
    return [const for const in code.co_consts if isinstance(const, CodeType)]


def _shallow(code: CodeType) -> tuple[object, ...]:
    consts = [(type(c), repr(c)) for c in code.co_consts if not isinstance(c, CodeType)]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_name)
    return (code.co_code, code.co_argcount, code.co_kwonlyargcount, code.co_flags, names, consts)
