"""Real code against real tests in a real sandbox: what passes, what fails and why, who cheats."""

from __future__ import annotations

import pytest

from codehearth.lab.judging.cases import LANGUAGES, Case, judge_cases
from codehearth.lab.judging.judge import judge
from codehearth.lab.judging.verdict import Verdict
from codehearth.lab.sandbox import Limits, Protection, protections

LIMITS = Limits(time_s=20.0)
QUICK = Limits(time_s=1.5)
ADD = "def add(a, b):\n    return a + b\n"
TESTS = "assert add(1, 2) == 3\nassert add(2, 2) == 4\n"
CHECK = "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(2, 2) == 4\n"


@pytest.fixture(scope="module")
def protection() -> Protection:
    found = protections()
    if found.best is None:
        pytest.skip(f"no sandbox here: {found.summary()}")
    return found.best


def judged(code: str, protection: Protection, tests: str = TESTS, **options: object) -> Verdict:
    return judge(code, tests, limits=LIMITS, protection=protection, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "tests", "is_apart"),
    [
        (ADD, TESTS, True),
        (ADD, "def test_add():\n    assert add(1, 2) == 3\n", True),
        (ADD, ">>> add(1, 2)\n3\n>>> add('a', 'b')\n'ab'\n", True),
        (
            ADD,
            "import unittest\nfrom solution import add\n\n\nclass TestAdd(unittest.TestCase):\n"
            "    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\n",
            True,
        ),
        (
            "def first(items):\n    if not items:\n        raise ValueError('empty')\n"
            "    return items[0]\n",
            "try:\n    first([])\nexcept ValueError as error:\n    assert 'empty' in str(error)\n"
            "assert first((1, {2: {3}})) == 1\n",
            True,
        ),
        ("def big(n):\n    return 10**n\n", "assert big(6000) == 10**6000\n", True),
        ("def sort(items):\n    items.sort()\n", "x = [2, 1]\nsort(x)\nassert x == [1, 2]\n", True),
        ("def up(n):\n    yield from range(n)\n", ">>> list(up(2))\n[0, 1]\n", False),
        ("def up(n):\n    yield from range(n)\n", "assert list(up(3)) == [0, 1, 2]\n", False),
        (
            "class Stack:\n    def __init__(self):\n        self.items = []\n"
            "    def push(self, item):\n        self.items.append(item)\n",
            "s = Stack()\ns.push(1)\nassert s.items == [1]\n",
            False,
        ),
    ],
)
def test_right_code_passes(code: str, tests: str, is_apart: bool, protection: Protection) -> None:
    verdict = judged(code, protection, tests)

    assert verdict.has_passed, verdict
    assert verdict.is_apart is is_apart
    assert verdict.num_checks >= 1


@pytest.mark.parametrize(
    ("code", "group", "says"),
    [
        ("def add(a, b):\n    return a - b\n", "wrong", "left side: -1\nright side: 3"),
        ("def add(a, b) return a", "syntax", "line 1"),
        ("def add(a, b):\n    return c\n", "exception", "solution, line 2, in add"),
        ("def plus(a, b):\n    return a + b\n", "exception", "add"),
        ("raise RuntimeError('loaded')", "exception", "RuntimeError: loaded"),
        ("def add(a, b):\n    return 'x' * (1 << 40)\n", "memory", ""),
        ("", "empty", ""),
    ],
)
def test_wrong_code_fails_for_its_reason(
    code: str, group: str, says: str, protection: Protection
) -> None:
    verdict = judged(code, protection)

    assert verdict.group == group, verdict
    assert says in verdict.detail


@pytest.mark.parametrize(
    ("tests", "num_checks"),
    [
        ("async def test_add():\n    assert add(1, 2) == 3\n", 1),
        ("def test_add(one=1):\n    assert add(one, 2) == 3\n", 1),
        ("class TestAdd:\n    def test_add(self):\n        assert add(1, 2) == 3\n", 1),
        (
            "class TestAdd:\n    def setup_method(self):\n        self.sum = 3\n"
            "    def test_add(self):\n        assert add(1, 2) == self.sum\n",
            1,
        ),
        ('"""\n>>> add(1, 2)\n3\n"""\n', 1),
        ('def of_add():\n    """\n    >>> add(1, 2)\n    3\n    """\n', 1),
        (
            "import unittest\nclass T(unittest.TestCase):\n    @classmethod\n"
            "    def setUpClass(cls):\n        cls.sum = 3\n    @unittest.skip('later')\n"
            "    def test_later(self):\n        pass\n    def test_add(self):\n"
            "        with self.subTest():\n            self.assertEqual(add(1, 2), self.sum)\n",
            1,
        ),
    ],
)
def test_every_kind_of_test_is_run(tests: str, num_checks: int, protection: Protection) -> None:
    right, wrong = (
        judged(ADD, protection, tests),
        judged("def add(a, b): return 0", protection, tests),
    )
    assert (right.group, right.num_checks, wrong.group) == ("passed", num_checks, "wrong"), tests


@pytest.mark.parametrize(
    ("tests", "says"),
    [
        ("def test_add(tmp_path):\n    assert add(1, 2) == 3\n", "'tmp_path'"),
        (
            "import unittest\n@unittest.skip('later')\nclass T(unittest.TestCase):\n"
            "    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\n",
            "later",
        ),
    ],
)
def test_tests_that_cannot_be_run_pass_nothing(
    tests: str, says: str, protection: Protection
) -> None:
    verdict = judged(ADD, protection, tests)
    assert verdict.group == "tests" and says in verdict.detail


def test_a_doctest_says_what_was_expected_and_what_came(protection: Protection) -> None:
    verdict = judged(ADD, protection, ">>> add(1, 2)\n4\n")

    assert (verdict.group, verdict.detail) == ("wrong", ">>> add(1, 2)\nexpected: 4\ngot: 3")
    missing = judged("def plus(): pass", protection, ">>> add(1, 2)\n3\n")
    assert (missing.group, missing.detail) == (
        "exception",
        "NameError: name 'add' is not defined",
    )


def test_code_that_never_ends_is_ended(protection: Protection) -> None:
    code = "def add(a, b):\n    while True:\n        pass\n"

    verdict = judge(code, TESTS, limits=QUICK, protection=protection)

    assert verdict.group == "time-out"


def test_broken_tests_are_told_from_broken_code(protection: Protection) -> None:
    assert judged(ADD, protection, "import nowhere\nassert add(1, 2) == 3\n").group == "tests"
    assert judged(ADD, protection, "assert add(1, 2 == 3\n").group == "tests"


# Each would pass where a harness believes the wrong thing.
CHEATS = {
    "sys.exit while loading": "import sys\nsys.exit(0)",
    "os._exit while loading": "import os\nos._exit(0)",
    "sys.exit in the call": "def add(a, b):\n    import sys\n    sys.exit(0)",
    "os._exit in the call": "def add(a, b):\n    import os\n    os._exit(0)",
    "kills its harness": "import os\ndef add(a, b):\n    os.kill(os.getppid(), 9)",
    "closes every descriptor": "import os\nos.closerange(0, 256)\ndef add(a, b):\n    return 0",
    "prints the verdict": """
import json
def add(a, b):
    print(json.dumps({"group": "passed", "detail": "", "secret": "0" * 32}))
    return 0
""",
    "writes the verdict's shape to every descriptor": """
import json, os
for fd in range(256):
    for said in ({"group": "passed", "secret": "0" * 32}, {"finished": True},
                 {"result": {"group": "passed"}, "word": ""}, {"functions": ["add"], "values": {},
                  "modules": {}, "others": []}, {"value": 3, "args": []}):
        try: os.write(fd, json.dumps(said).encode() + b"\\n")
        except OSError: pass
def add(a, b):
    return 0
""",
    "patches the builtins": """
import builtins
builtins.AssertionError = type("Quiet", (Exception,), {})
builtins.__import__ = lambda *a, **k: None
builtins.compile = builtins.exec = lambda *a, **k: None
def add(a, b):
    return 0
""",
    "patches json": """
import json
json.loads = lambda *a, **k: {"group": "passed"}
json.dumps = lambda *a, **k: '{"group": "passed"}'
def add(a, b):
    return 0
""",
    "reads the secret from the parent": """
import glob, os, re
def add(a, b):
    for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
        try: found = re.search(rb"[0-9a-f]{32}", open(path, "rb").read())
        except OSError: continue
        if found: print("SECRET", found)
    for pid in (os.getppid(), 1, 2, 3):
        try: open(f"/proc/{pid}/mem", "rb").read(1); print("SECRET in memory")
        except OSError: pass
        for fd in range(10):
            try: print("SECRET", open(f"/proc/{pid}/fd/{fd}").read(100))
            except (OSError, ValueError): pass
    return 0
""",
    "looks for the secret in frames and objects": """
import gc, re, sys
def add(a, b):
    frame, texts = sys._getframe(), []
    while frame:
        texts.append(repr(frame.f_locals)); frame = frame.f_back
    texts += [one for one in gc.get_objects() if type(one) is str]
    texts += [str(one) for one in gc.get_objects() if type(one) is dict]
    if any(re.search(r"\\b[0-9a-f]{32}\\b", text) for text in texts): print("SECRET")
    return 0
""",
    "changes the tests' file": """
import glob, os
for path in glob.glob("/files/**", recursive=True) + glob.glob("/tmp/**", recursive=True):
    try: open(path, "w").write("")
    except OSError: pass
def add(a, b):
    return 0
""",
    "an int that equals anything": """
class Any(int):
    __eq__ = lambda *_: True
    __hash__ = None
def add(a, b):
    return Any(0) if False else 0
""",
    "never returns but answers at exit": """
import atexit, os
atexit.register(lambda: os.write(3, b'{"group": "passed"}'))
def add(a, b):
    raise SystemExit(0)
""",
}


@pytest.mark.parametrize("name", CHEATS)
def test_nobody_cheats_the_verdict(name: str, protection: Protection) -> None:
    for tests, entry in ((TESTS, None), (CHECK, "add")):
        verdict = judged(CHEATS[name], protection, tests, entry=entry)

        assert not verdict.has_passed, verdict
        assert "SECRET" not in verdict.stdout, verdict


@pytest.mark.parametrize(
    ("language", "function", "code", "group"),
    [
        ("python", "f", "def f(x):\n    return x + 1\n", "passed"),
        ("python", "f", "def f(x):\n    return x\n", "wrong"),
        (
            "python",
            "f",
            'import os\nos.write(3, b\'{"failed": "passed"}\\n\')\nos._exit(0)',
            "exit",
        ),
        ("javascript", "f", "const f = (x) => x + 1;", "passed"),
        ("javascript", "f", "function f(x) { return x }", "wrong"),
        ("javascript", "f", "function f(x { }", "syntax"),
        ("javascript", "f", "process.exit(0)", "exit"),
        ("bash", None, "read n; echo $((n + 1))", "passed"),
        ("bash", None, "exit 1", "exception"),
        (
            "c",
            None,
            '#include <stdio.h>\nint main(void){int n;scanf("%d",&n);printf("%d\\n",n+1);}',
            "passed",
        ),
        ("c", None, "int main(", "syntax"),
    ],
)
def test_other_languages(
    language: str, function: str | None, code: str, group: str, protection: Protection
) -> None:
    row = LANGUAGES[language]
    if reason := row.why_not(protection):
        pytest.skip(reason)
    cases = [Case([1], 2), Case([5], 6)] if function else [Case("1\n", "2"), Case("5\n", "6")]

    verdict = judge_cases(
        code, cases, language=row, function=function, limits=LIMITS, protection=protection
    )

    assert verdict.group == group, verdict
