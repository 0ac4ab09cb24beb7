"""Mutation testing: which small faults in the code its own tests find.

cosmic-ray makes the mutants. Each is the code with one change: another operator, another number, a negated condition, a
loop that never runs. A mutant that fails the tests is killed; one that passes them survives and shows what no test
checks. The score is the share of killed mutants among those that are not equivalent to the code.

A sample depends on the seed and on the text of the lines, not on the files they are in: code that has only moved gets
the same mutants. They run in scratch copies; the tree itself is never changed.

    python -m benchmarks.mutants --module optim --sample 20
"""

import ast
import contextlib
import difflib
import hashlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.record import ROOT, circumstances, new_parser, write_record

WORKERS = 2
MEMORY = 8 << 30
"""Address space of a test process in bytes: a mutant may ask for more than the machine has."""

SUBJECTS: dict[str, tuple[str, ...]] = {
    "model": tuple(f"model/{name}" for name in ("gpt", "attention", "documents", "dropout", "loss", "norm")),
    "optim": ("optim/*",),
    "batches": ("data/batches",),
    "filters": ("sampling/filters",),
    "checkpoint": ("runs/checkpoint",),
    "evaluation": ("evaluation/loss",),
}
"""Parts of the library: names of modules below `nanogpt/`, as glob patterns."""

# Operators are replaced within a family: `a << b` in place of `a + b` of two tensors raises, and any test notices.
_ARITHMETIC, _BITS = ("Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow"), ("RShift", "LShift", "BitOr", "BitAnd")
_ORDER = ("Eq", "NotEq", "Lt", "LtE", "Gt", "GtE")
_BINARY = (*itertools.permutations(_ARITHMETIC, 2), *itertools.permutations(_BITS, 2))
_COMPARISON = (*itertools.permutations(_ORDER, 2), ("Is", "IsNot"), ("IsNot", "Is"))
OPERATORS = (
    *(f"ReplaceBinaryOperator_{one}_{other}" for one, other in _BINARY),
    *(f"ReplaceComparisonOperator_{one}_{other}" for one, other in _COMPARISON),
    *("ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_USub", "AddNot", "ReplaceTrueWithFalse"),
    *("ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceBreakWithContinue"),
    *("ReplaceContinueWithBreak", "ExceptionReplacer", "NumberReplacer", "RemoveDecorator", "ZeroIterationForLoop"),
)

_ALIKE = "logits have two dimensions: 1 and -1 name the same one"
_NUMBERS = "one NaN in a row makes the whole row of its softmax NaN"
EQUIVALENT: dict[tuple[str, str, str], str] = {
    ("model", "@staticmethod", ""): "torch calls the methods of an autograd function on the class",
    ("filters", "logits > 0", "logits >= 0"): "0 times the penalty and 0 divided by it are 0",
    **{("filters", f"{call}-1", f"{call}1"): _ALIKE for call in ("dim=", "size(", "scatter(", "max(", "squeeze(")},
    **{("filters", f"{call}(-1)", f"{call}(1)"): _ALIKE for call in ("softmax", "cumsum")},
    **{("filters", "(running[:, -1])", f"(running[:, {one}])"): _NUMBERS for one in ("- 0", "- 2", "1")},
    **{("evaluation", "TOKENS_AT_ONCE = 8192", f"TOKENS_AT_ONCE = {n}"): "changes the speed" for n in (8191, 8193)},
    ("evaluation", "tokens == block_size", "tokens >= block_size"): "no window is longer",
    ("evaluation", "tokens[batch[0]]", "tokens[batch[ -1]]"): "the windows of a batch have one length",
    ("batches", 'device == "cpu"', 'device <= "cpu"'): "no type of device comes before cpu",
    ("batches", "share % parts == 0", "share % parts <= 0"): "a remainder is not negative",
}
"""(subject, code, mutated code) of mutants that no test can kill, and why; the code is any part of the line."""


class Mutant(NamedTuple):
    """One change of one file."""

    file: str
    line: int
    operator: str
    before: str
    after: str
    code: str
    """the whole mutated file"""


def code_of(tree: Path, modules: Iterable[str]) -> list[str]:
    """Return the files of some modules."""
    found = [path for module in modules for path in sorted((tree / "nanogpt").glob(f"{module}.py"))]
    return [path.relative_to(tree).as_posix() for path in found]


def mirrored_tests(tree: Path, code: Iterable[str]) -> list[str]:
    """Return the test files of those files that have one."""
    found = [Path("tests", name).with_name(f"test_{Path(name).name}") for name in code]
    return [path.as_posix() for path in found if (tree / path).exists()]


def draw_mutants(tree: Path, files: Iterable[str], count: int, seed: int) -> list[Mutant]:
    """Draw at most `count` mutants: one at each place in the code before a second one at any."""
    from cosmic_ray.mutating import mutate_code  # type: ignore
    from cosmic_ray.plugins import get_operator  # type: ignore

    operators = {name: get_operator(f"core/{name}")() for name in OPERATORS}
    sources = {file: (tree / file).read_text(encoding="utf-8") for file in files}
    at_place: Counter[tuple[str, int, int]] = Counter()
    order = []
    for candidate in sorted(_candidates(sources, operators, seed)):
        order.append((at_place[candidate[1]], candidate))
        at_place[candidate[1]] += 1
    drawn: dict[str, Mutant] = {}
    for _, (_, (file, line, _), operator, occurrence) in sorted(order):
        if len(drawn) == count:
            break
        code = mutate_code(sources[file], operators[operator], occurrence)
        if code is not None and _changes_behaviour(sources[file], code):
            before, after = _difference(sources[file], code)
            mutant = Mutant(file=file, line=line, operator=operator, before=before, after=after, code=code)
            drawn.setdefault(code, mutant)  # two operators may make the same change
    return sorted(drawn.values(), key=lambda mutant: (mutant.file, mutant.line, mutant.after))


def _candidates(
    sources: dict[str, str], operators: dict[str, Any], seed: int
) -> Iterator[tuple[str, tuple[str, int, int], str, int]]:
    """Yield the rank, the place (file, line, column), the operator and its occurrence of each possible mutant."""
    from cosmic_ray.ast import ast_nodes, get_ast  # type: ignore

    repeats: Counter[tuple[str, str, int]] = Counter()
    for file, source in sources.items():
        parsed, lines = get_ast(source), source.splitlines()
        for name, operator in operators.items():
            places = ((node, *at) for node in ast_nodes(parsed) for at, _ in operator.mutation_positions(node))
            for occurrence, (node, line, column) in enumerate(places):
                if node.parent.type == "parameters":  # a bare `*` or `/`, which cosmic-ray takes for an operator
                    continue
                text = lines[line - 1].lstrip()
                key = (name, text, column - len(lines[line - 1]) + len(text))
                rank = hashlib.sha256(repr((seed, key, repeats[key])).encode()).hexdigest()
                repeats[key] += 1
                yield rank, (file, line, column), name, occurrence


def _changes_behaviour(source: str, mutated: str) -> bool:
    """Return whether mutated code is valid and differs in more than annotations and decorators of classes.

    >>> [_changes_behaviour("x: int | None = 1", code) for code in ("x: int & None = 1", "x: int | None = 2", "x: =")]
    [False, True, False]
    """
    try:
        trees = [ast.parse(text) for text in (source, mutated)]
    except SyntaxError:
        return False
    for node in itertools.chain.from_iterable(map(ast.walk, trees)):
        for field in ("annotation", "returns"):
            if getattr(node, field, None) is not None:
                setattr(node, field, ast.Constant(value=None))
        if isinstance(node, ast.ClassDef):
            node.decorator_list = []
    return ast.dump(trees[0]) != ast.dump(trees[1])


def _difference(source: str, mutated: str) -> tuple[str, str]:
    """Return the changed lines before and after, without indentation, comments and repeated spaces."""
    one, other = (
        [" ".join(line.partition("  # ")[0].split()) for line in text.splitlines()] for text in (source, mutated)
    )
    changes = [line for line in difflib.ndiff(one, other) if line[0] in "-+" and line[2:]]
    before, after = ("\n".join(line[2:] for line in changes if line[0] == sign) for sign in "-+")
    return before, after


def is_equivalent(subject: str, before: str, after: str) -> bool:
    """Return whether `EQUIVALENT` lists a change of a line, anywhere in the line.

    >>> is_equivalent("filters", "x.softmax(-1).cumsum(-1)", "x.softmax(-1).cumsum(1)")
    True
    >>> is_equivalent("model", "x.softmax(-1).cumsum(-1)", "x.softmax(-1).cumsum(1)")
    False
    """
    return any(
        subject == name and before[:start] + new + before[start + len(old) :] == after
        for name, old, new in EQUIVALENT
        for start in range(len(before))
        if before.startswith(old, start)
    )


class ScratchCopy:
    """A copy of the tree in a temporary folder, in which one mutant at a time is tested."""

    def __init__(self, tree: Path, folder: Path) -> None:
        """Copy the files that git does not ignore."""
        self.root, self.temporary, self.log = folder / "tree", folder / "tmp", folder / "log.txt"
        self.temporary.mkdir(parents=True)
        words = ["git", "-C", str(tree), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(words, capture_output=True, text=True, check=True).stdout.split("\0"):
            if name and (tree / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                (self.root / name).write_bytes((tree / name).read_bytes())

    def check(self, name: str, paths: list[str]) -> float:
        """Return the seconds that the tests of the unchanged code take; exit where they fail."""
        before = time.perf_counter()
        if self._run(paths) != 0:
            end = self.log.read_text(encoding="utf-8", errors="replace")[-3000:]
            raise SystemExit(f"the tests of {name} fail without a mutant:\n{end}")
        return time.perf_counter() - before

    def test(self, mutant: Mutant, tests: list[str], timeout: float) -> str:
        """Return `killed`, `timeout` or `survived`."""
        file = self.root / mutant.file
        original = file.read_bytes()
        file.write_text(mutant.code, encoding="utf-8")
        # The module's doctests and its own test file come first: they kill most mutants.
        tests = sorted(tests, key=lambda test: Path(test).name != f"test_{file.name}")
        status = self._run([mutant.file, *tests], timeout)
        file.write_bytes(original)
        outcome = {0: "survived", None: "timeout"}.get(status, "killed")
        print("S" if outcome == "survived" else ".", end="", file=sys.stderr, flush=True)
        return outcome

    def _run(self, paths: list[str], timeout: float | None = None) -> int | None:
        """Return pytest's exit status, None after a timeout."""
        words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-n0", *paths]
        # No bytecode files: Python takes two mutants of one length, written within a second, for the same.
        ours = {"PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        environment = {**os.environ, **ours, "TMPDIR": str(self.temporary), "PYTEST_ADDOPTS": ""}
        options: dict[str, Any] = {"cwd": self.root, "env": environment, "start_new_session": True}
        with self.log.open("wb") as log, subprocess.Popen(words, stdout=log, stderr=log, **options) as process:
            try:
                if sys.platform == "linux":
                    import resource

                    resource.prlimit(process.pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
                return process.wait(timeout)
            except subprocess.TimeoutExpired:
                return None
            finally:
                with contextlib.suppress(ProcessLookupError, PermissionError):  # all have ended
                    os.killpg(process.pid, signal.SIGKILL)  # also what a test started and left running


def measure(tree: Path, name: str, modules: Iterable[str], count: int, seed: int) -> dict[str, Any]:
    """Test a sample of a subject's mutants; return the score and the survivors."""
    code = code_of(tree, modules)
    tests = mirrored_tests(tree, code)
    drawn = draw_mutants(tree, code, count, seed)
    mutants = [mutant for mutant in drawn if not is_equivalent(name, mutant.before, mutant.after)]
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch, ThreadPoolExecutor(WORKERS) as pool:
        copies = [ScratchCopy(tree, Path(scratch).resolve() / str(worker)) for worker in range(WORKERS)]
        timeout = 3 * copies[0].check(name, [*code, *tests]) + 10
        shares = [mutants[worker::WORKERS] for worker in range(WORKERS)]
        tested = pool.map(lambda copy, share: [(one, copy.test(one, tests, timeout)) for one in share], copies, shares)
        outcomes = dict(itertools.chain.from_iterable(tested))
    print(file=sys.stderr)
    survivors = [mutant for mutant in mutants if outcomes[mutant] == "survived"]
    killed = len(mutants) - len(survivors)
    return {
        "mutants": len(drawn),
        "equivalent": len(drawn) - len(mutants),
        "killed": killed,
        "timeouts": list(outcomes.values()).count("timeout"),
        "survived": len(survivors),
        "score": round(killed / len(mutants), 3) if mutants else None,
        "survivors": survivors,
    }


def report(name: str, result: dict[str, Any]) -> str:
    """Return a subject's result as text, with a diff of each survivor."""
    lines = [
        f"{name}: {result['mutants']} mutants, {result['equivalent']} equivalent, {result['killed']} killed "
        f"({result['timeouts']} by timeout), {result['survived']} survived, score {result['score']}"
    ]
    for mutant in result["survivors"]:
        lines.append(f"  {mutant.file}:{mutant.line} {mutant.operator}")
        for sign, text in (("-", mutant.before), ("+", mutant.after)):
            lines += [f"    {sign} {line}" for line in text.splitlines()]
    return "\n".join(lines)


def main() -> None:
    """Test the mutants of the chosen subjects, print the scores and record them if asked for."""
    parser = new_parser(__doc__, module=SUBJECTS, sample=60, seed=1)
    parser.add_argument("--record", action="store_true", help="write the scores to benchmarks/records/mutants.json")
    options, measured_in, found = parser.parse_args(), circumstances(), {}
    for name in options.module:
        result = measure(ROOT, name, SUBJECTS[name], options.sample, options.seed)
        print(report(name, result), flush=True)
        survivors = [{"file": one.file, "before": one.before, "after": one.after} for one in result["survivors"]]
        found[name] = result | {"survivors": survivors}
    if options.record:
        print(f"wrote {write_record('mutants', measured_in, {'subjects': found})}")


if __name__ == "__main__":
    main()
