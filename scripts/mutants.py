"""Mutation tests of the formulas: change the code in small ways and see whether a test fails.

Cosmic Ray makes the mutants of each formula module: a changed sign, operator, comparison, number or
condition. A sample of them, the same in every run, is tried one by one in a temporary copy against
the module's doctests and ``tests/formulas/test_<module>.py``. Changes of annotations and docstrings
don't count, nor do those that put a bitwise operator where the code computes with numbers.

    python scripts/mutants.py                 all modules
    python scripts/mutants.py losses          one module
    python scripts/mutants.py --sample 9999   every mutant; writes nothing

What became of a module is kept in tests/mutants.json until its next run, and tests/MUTANTS.md is
written from that.

Exits with 1 when a module kills less than 90 % or a survivor isn't explained in
tests/mutants_explained.toml.
"""

import argparse
import ast
import difflib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parents[1]
OUTCOMES = ROOT / "tests" / "mutants.json"
REPORT = ROOT / "tests" / "MUTANTS.md"
EXPLAINED = ROOT / "tests" / "mutants_explained.toml"
SAMPLE = 60
SEED = 0
LEAST_KILLED = 0.9
LEFT_OUT = ("RShift", "LShift", "BitOr", "BitAnd", "BitXor")  # in place of +, -, *, /, **
NEEDS_ARGUMENTS = ("core/VariableReplacer", "core/VariableInserter")


@dataclass(frozen=True)
class Change:
    """What a mutant changes: the lines before and the lines after."""

    line: int
    before: str
    after: str

    @property
    def diff(self) -> str:
        """The change as a reader wants to see it."""
        removed = "\n".join(f"- {line}" for line in self.before.splitlines())
        added = "\n".join(f"+ {line}" for line in self.after.splitlines())
        return f"{removed}\n{added}"


@dataclass(frozen=True)
class Mutant:
    """One change of a module, with its whole new code."""

    change: Change
    code: str


@dataclass
class Outcome:
    """What became of a module's mutants."""

    module: str
    possible: int
    sampled: int
    timed_out: int = 0
    survivors: list[Change] = field(default_factory=list)

    @property
    def killed(self) -> int:
        """The number of mutants that made a test fail or run out of time."""
        return self.sampled - len(self.survivors)


class _Bare(ast.NodeTransformer):
    """Drop what is no behaviour: annotations and docstrings."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        self.generic_visit(node)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        if isinstance(node.annotation, ast.Name) and node.annotation.id == "TypeAlias":
            node.value = None
        node.annotation = ast.Constant(None)
        self.generic_visit(node)
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | ast.Pass:
        self.generic_visit(node)
        return ast.Pass() if isinstance(node.value, ast.Constant) else node


def behaviour(code: str) -> str | None:
    """Return the code's syntax tree without annotations and docstrings; None if it has none."""
    try:
        return ast.dump(_Bare().visit(ast.parse(code)))
    except (SyntaxError, ValueError):
        return None


def mutants_of(code: str) -> Iterator[Mutant]:
    """Yield every mutant that changes what the code does, each once."""
    seen = {behaviour(code), None}
    nodes = list(ast_nodes(get_ast(code)))
    for name in sorted(operator_names()):
        if name in NEEDS_ARGUMENTS or name.endswith(LEFT_OUT):
            continue
        operator = get_operator(name)()
        positions = [at for node in nodes for at in operator.mutation_positions(node)]
        for occurrence, ((line, _), _) in enumerate(positions):
            mutated = mutate_code(code, operator, occurrence)
            if mutated is None or behaviour(mutated) in seen:
                continue
            seen.add(behaviour(mutated))
            delta = [
                change
                for change in difflib.ndiff(code.splitlines(), mutated.splitlines())
                if change[0] in "+-"
            ]
            before, after = (
                "\n".join(change[2:].strip() for change in delta if change[0] == sign)
                for sign in "-+"
            )
            yield Mutant(Change(line, before, after), mutated)


def copy_to(folder: Path) -> None:
    """Copy what the formula tests need."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    for part in ("mapping_lib", "tests"):
        unwanted = shutil.ignore_patterns("__pycache__", "lab", "book")
        shutil.copytree(ROOT / part, folder / part, ignore=unwanted)


def import_what_tests_import(tests: Path) -> None:
    """Import the tests' libraries once, so that each forked run starts with them."""
    for node in ast.walk(ast.parse(tests.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            if not name.startswith("mapping_lib"):
                importlib.import_module(name)


def run_tests(folder: Path, module: str, limit: float) -> tuple[str, float]:
    """Run a module's tests in a forked process: ``passed``, ``failed`` or ``timed out``."""
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setsid()
        output = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        code = pytest.main(
            [
                *("-x", "-q", "--override-ini=addopts=", "--doctest-modules"),
                *("--import-mode=importlib", "-p", "no:cacheprovider"),
                f"mapping_lib/{module}.py",
                f"tests/formulas/test_{module}.py",
            ]
        )
        source = sys.modules.get(f"mapping_lib.{module}")
        if source and not str(source.__file__).startswith(str(folder)):
            code = pytest.ExitCode.USAGE_ERROR
        os._exit(int(code))
    while time.monotonic() - start < limit:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            if code == pytest.ExitCode.USAGE_ERROR:
                raise SystemExit((folder / "output.txt").read_text(encoding="utf-8"))
            return "passed" if code == 0 else "failed", time.monotonic() - start
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timed out", limit


def try_module(module: str, size: int) -> Outcome:
    """Try a sample of a module's mutants."""
    code = (ROOT / "mapping_lib" / f"{module}.py").read_text(encoding="utf-8")
    found = list(mutants_of(code))
    sample = random.Random(SEED).sample(found, min(size, len(found)))
    outcome = Outcome(module, len(found), len(sample))
    import_what_tests_import(ROOT / "tests" / "formulas" / f"test_{module}.py")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        copy_to(folder)
        result, seconds = run_tests(folder, module, limit=600)
        if result != "passed":
            output = (folder / "output.txt").read_text(encoding="utf-8")
            raise SystemExit(f"{output}\n{module}: the tests fail without any mutation")
        for position, mutant in enumerate(sample, start=1):
            (folder / "mapping_lib" / f"{module}.py").write_text(mutant.code, encoding="utf-8")
            result, _ = run_tests(folder, module, limit=20 + 5 * seconds)
            outcome.timed_out += result == "timed out"
            change = mutant.change
            print(f"{module} {position}/{len(sample)} line {change.line}: {result}", flush=True)
            if result == "passed":
                outcome.survivors.append(change)
                print(change.diff, flush=True)
    outcome.survivors.sort(key=lambda change: (change.line, change.after))
    return outcome


def formula_modules() -> list[str]:
    """Return the names of the modules with formulas."""
    paths = ROOT.glob("mapping_lib/*.py")
    return sorted(path.stem for path in paths if not path.stem.startswith("_"))


def stored(modules: list[str]) -> dict[str, Outcome]:
    """Read what became of those modules that have been tried."""
    if not OUTCOMES.exists():
        return {}
    content = json.loads(OUTCOMES.read_text(encoding="utf-8"))
    return {
        name: Outcome(**{**values, "survivors": [Change(**c) for c in values["survivors"]]})
        for name, values in content.items()
        if name in modules
    }


def store(outcomes: dict[str, Outcome]) -> None:
    """Keep what became of each module, and write the report."""
    content = {name: asdict(outcomes[name]) for name in sorted(outcomes)}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    OUTCOMES.write_text(text + "\n", encoding="utf-8")
    missing = [name for name in formula_modules() if name not in outcomes]
    note = f"\nNot tried in full yet: {', '.join(f'`{name}`' for name in missing)}.\n"
    text = report(list(outcomes.values()), explanations()) + note * bool(missing)
    REPORT.write_text(text, encoding="utf-8")


def explanations() -> dict[tuple[str, str, str], str]:
    """Return why a mutant survives, by module, lines before and lines after."""
    entries = tomllib.loads(EXPLAINED.read_text(encoding="utf-8")).get("survivor", [])
    return {(e["module"], e["before"].strip(), e["after"].strip()): e["why"] for e in entries}


def report(outcomes: list[Outcome], why: dict[tuple[str, str, str], str]) -> str:
    """Return the report as Markdown."""
    lines = [
        "# Mutation tests of the formulas",
        "",
        "Written by `make mutants`; the explanations come from `mutants_explained.toml`.",
        f"Each module is changed in up to {SAMPLE} small ways, sampled with seed {SEED} from all",
        "that Cosmic Ray makes. A change is killed when a doctest or a test of the module fails or",
        f"runs out of time. At least {LEAST_KILLED:.0%} must be killed in each module, and each",
        "survivor explained.",
        "",
        "| module | possible | sampled | killed | of these by time-out | survived | killed |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    for o in outcomes:
        lines.append(
            f"| `{o.module}` | {o.possible} | {o.sampled} | {o.killed} | {o.timed_out} "
            f"| {len(o.survivors)} | {o.killed / o.sampled:.0%} |"
        )
    for o in outcomes:
        for m in o.survivors:
            reason = why.get((o.module, m.before, m.after), "**Not explained.**")
            lines += [
                "",
                f"## A survivor in `{o.module}`",
                "",
                "```diff",
                m.diff,
                "```",
                "",
                reason,
            ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Try the modules named on the command line, or all, and say how many mutants were killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    modules = formula_modules()
    parser.add_argument("module", nargs="*", choices=[*modules, []], help="default: all")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="mutants a module")
    arguments = parser.parse_args()
    chosen = arguments.module
    sys.dont_write_bytecode = True
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # POT, a reference of some tests, would import TensorFlow, which crashes beside the others.
    os.environ.setdefault("POT_BACKEND_DISABLE_TENSORFLOW", "1")
    outcomes = []
    for module in chosen or modules:
        outcomes.append(try_module(module, arguments.sample))
        if arguments.sample == SAMPLE:
            store({**stored(modules), module: outcomes[-1]})
    why = explanations()
    print(report(outcomes, why))
    enough = all(o.killed >= LEAST_KILLED * o.sampled for o in outcomes)
    explained = all((o.module, m.before, m.after) in why for o in outcomes for m in o.survivors)
    return 0 if enough and explained else 1


if __name__ == "__main__":
    sys.exit(main())
