"""Mutation testing of the core: change one thing in a module, and see that a test fails.

The changes are those of mutmut and of cosmic-ray. Each runs in a forked child that imports the changed module in place of
the real one; no file is touched. A change that no test notices must be explained in docs/mutation.md, and nothing else may
be: the exit status is 1 otherwise. Called by ``make mutate``, which makes the environment that has both tools.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import os
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "src/dehedge/core"
TESTS = ROOT / "tests/core"
EXPLAINED = ROOT / "docs/mutation.md"
MODULES = sorted(path.stem for path in CORE.glob("*.py") if path.stem != "__init__")
OWN_TESTS_MAX_S, ALL_TESTS_MAX_S = 20, 150
"""Processor time, several times what the slowest module's tests need."""
MEMORY_MAX_BYTES = 2**31
PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "-o", "timeout=0", "-W", "ignore:Module already imported")
"""Without a limit of wall time, which on a busy machine would kill mutants that no test has noticed."""

NO_MISTAKES = re.compile(
    r"Comparison\w+_(Is|IsNot)_(?!Is)|Comparison\w+_\w+_(Is|IsNot)$|Binary\w+_(Bit\w+|[LR]Shift|MatMul)$"
)
"""Of cosmic-ray's operators: identity turned into order or equality or back, and arithmetic into operations on bits."""


Name = tuple[str, str, str]


class Mutant(NamedTuple):
    """A changed module; ``where`` is the function or class of the change, ``change`` its lines before and after."""

    module: str
    where: str
    change: str
    code: str

    @property
    def name(self) -> Name:
        return self.module, self.where, self.change


def build_mutants(module: str) -> Iterator[Mutant]:
    """Every change that is valid Python and more than another annotation or another way to pass an argument."""
    source = (CORE / f"{module}.py").read_text(encoding="utf-8")
    seen = {get_meaning(source)}
    for code in chain(mutate_by_mutmut(source), mutate_by_cosmic_ray(source)):
        try:
            meaning = get_meaning(code)
        except SyntaxError:
            continue
        if meaning not in seen:
            seen.add(meaning)
            yield Mutant(module, *describe(source, code), code)


def mutate_by_mutmut(source: str) -> Iterator[str]:
    import libcst
    from mutmut.mutation.file_mutation import MutationVisitor
    from mutmut.mutation.mutators import mutation_operators
    from mutmut.mutation.pragma_handling import IgnoredCode

    class Visitor(MutationVisitor):
        """Also goes into decorated functions, which mutmut leaves out: many a rule of the core is a property."""

        def _skip_node_and_children(self, node: libcst.CSTNode) -> bool:
            return not isinstance(node, libcst.FunctionDef) and super()._skip_node_and_children(node)

    visitor = Visitor(mutation_operators, IgnoredCode(set(), set(), set()))
    module = libcst.MetadataWrapper(libcst.parse_module(source)).visit(visitor)
    for mutation in visitor.mutations:
        yield module.deep_replace(mutation.original_node, mutation.mutated_node).code


def mutate_by_cosmic_ray(source: str) -> Iterator[str]:
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    for name in operator_names():
        operator = get_operator(name)
        if not operator.arguments() and not NO_MISTAKES.search(name):
            for number in count():
                code = mutate_code(source, operator(), number)
                if code is None:
                    break
                yield code


class Meaning(ast.NodeTransformer):
    """Takes away what does not count at run time: annotations, which are never evaluated, and kinds of parameters."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(node.arg)

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        every = [*node.posonlyargs, *node.args, *node.kwonlyargs]
        defaults = [default for default in (*node.defaults, *node.kw_defaults) if default is not None]
        return self.generic_visit(ast.arguments([], every, node.vararg, [], [], node.kwarg, defaults))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def get_meaning(code: str) -> str:
    return ast.dump(Meaning().visit(ast.parse(code)))


def describe(source: str, code: str) -> tuple[str, str]:
    """Where the first change is, and its lines before and after."""
    before, after = source.splitlines(), code.splitlines()
    lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
    first = int(re.match(r"@@ -(\d+)", lines[0])[1])
    removed, added = (" ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
    return find_definition(source, first), f"{removed} → {added}"


def find_definition(source: str, line: int) -> str:
    found = [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and min([node.lineno, *(one.lineno for one in node.decorator_list)]) <= line <= node.end_lineno
    ]
    return ".".join(found) or "module"


class QuickestFirst:
    """A plugin of pytest: properties take longer than examples, and one failure is enough."""

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=lambda item: getattr(item.obj, "is_hypothesis_test", False))


def prepare() -> None:
    """Import once what every child needs, and let hypothesis draw the same examples each time and shrink none.

    The tests of other modules draw fewer: they are there for what the module's own do not look at.
    """
    sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
    for name in ("_pytest.assertion", "hypothesis.stateful", "pytest_asyncio", "pytest_timeout"):
        importlib.import_module(name)
    from hypothesis import Phase, settings

    same = settings(settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate))
    settings.register_profile("own", same)
    settings.register_profile("others", same, max_examples=20)


def run_tests(mutant: Mutant) -> int:
    """The exit status of pytest with the mutant in place of its module; 0 when no test has noticed."""
    name, path = f"dehedge.core.{mutant.module}", CORE / f"{mutant.module}.py"
    spec = spec_from_file_location(name, path)
    module = sys.modules[name] = module_from_spec(spec)
    exec(compile(mutant.code, path, "exec"), module.__dict__)
    setattr(importlib.import_module("dehedge.core"), mutant.module, module)
    own = sorted(map(str, TESTS.glob(f"test_{mutant.module}*.py")))
    others = sorted(str(path) for path in TESTS.glob("test_*.py") if str(path) not in own)
    status = run_pytest(own, "own")
    resource.setrlimit(resource.RLIMIT_CPU, (ALL_TESTS_MAX_S, ALL_TESTS_MAX_S))
    return status or run_pytest(others, "others")


def run_pytest(paths: Sequence[str], profile: str) -> int:
    import pytest

    return pytest.main([*PYTEST, f"--hypothesis-profile={profile}", *paths], plugins=[QuickestFirst()])


def start(mutant: Mutant) -> int:
    """Fork a child that runs the tests, and return its process id. A child that runs away dies by its limits."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (OWN_TESTS_MAX_S, ALL_TESTS_MAX_S))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX_BYTES, MEMORY_MAX_BYTES))
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        status = run_tests(mutant)
    finally:
        # Whatever goes wrong in here, also at import, is the mutant being noticed; the parent's own work must not go on.
        os._exit(status)


def run_all(mutants: Iterable[Mutant], jobs: int) -> Iterator[tuple[Mutant, bool]]:
    """Each mutant and whether it survived, in the order in which they end."""
    running: dict[int, Mutant] = {}
    for mutant in mutants:
        if len(running) >= jobs:
            yield wait(running)
        running[start(mutant)] = mutant
    while running:
        yield wait(running)


def wait(running: dict[int, Mutant]) -> tuple[Mutant, bool]:
    pid, status = os.wait()
    return running.pop(pid), status == 0


def read_explained() -> set[Name]:
    """The rows of the table: file, where, the change as code, why no test can see it."""
    row = re.compile(r"^\| `core/(\w+)\.py` \| `?([\w.]*)`? \| `(.+)` \| .+ \|$", re.MULTILINE)
    return {
        (module, where, change.replace("\\|", "|"))
        for module, where, change in row.findall(EXPLAINED.read_text(encoding="utf-8"))
    }


def read_counts() -> dict[str, list[int]]:
    """By module: mutants, killed, explained, as they came out when the page was written."""
    row = re.compile(r"^\| (\w+) \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE)
    return {name: [*map(int, figures)] for name, *figures in row.findall(EXPLAINED.read_text(encoding="utf-8"))}


def check_module(module: str, jobs: int) -> bool:
    """Run the module's mutants, print what came out, and tell whether every survivor is explained."""
    source = (CORE / f"{module}.py").read_text(encoding="utf-8")
    ((_, is_sound),) = run_all([Mutant(module, "", "", source)], 1)
    if not is_sound:
        sys.exit(f"the tests of {module} fail without any change: run `make test ARGS=tests/core`")
    explained = {name for name in read_explained() if name[0] == module}
    began, mutants, survivors = time.monotonic(), 0, Counter[Name]()
    for mutant, survived in run_all(build_mutants(module), jobs):
        mutants += 1
        if survived:
            survivors[mutant.name] += 1
            if mutant.name not in explained:
                report("survived", mutant.name)
    stale = sorted(explained - survivors.keys())
    for name in stale:
        report("explained, but killed or gone", name)
    killed, excused = mutants - survivors.total(), sum(survivors[name] for name in explained)
    sys.stdout.write(
        f"{module:10} {mutants:4} mutants {killed:4} killed {excused:3} explained {time.monotonic() - began:5.0f} s\n"
    )
    return not stale and survivors.keys() <= explained


def report(what: str, name: Name) -> None:
    module, where, change = name
    sys.stdout.write(f"  {what}: | `core/{module}.py` | `{where}` | `{change.replace('|', chr(92) + '|')}` |\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutate ARGS=", description="Mutation testing of src/dehedge/core.")
    every = f"{', '.join(MODULES)}; those with a row under Counts unless named"
    parser.add_argument("modules", nargs="*", choices=[*MODULES, []], metavar="MODULE", help=every)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at once (%(default)s)")
    asked = parser.parse_args()
    prepare()
    sys.stdout.reconfigure(line_buffering=True)
    os.nice(10)
    found = [check_module(module, asked.jobs) for module in asked.modules or read_counts()]
    return 0 if all(found) else 1


if __name__ == "__main__":
    sys.exit(main())
