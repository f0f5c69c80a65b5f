"""One right answer to each of our own tasks, so that no task asks for the impossible."""

from __future__ import annotations

from codehearth.lab.evaluation.tasks import Task

PYTHON = {
    "reverse_string": "return text[::-1]",
    "is_palindrome": "return text == text[::-1]",
    "count_vowels": "return sum(c in 'aeiou' for c in text.lower())",
    "factorial": "return 1 if n < 2 else n * factorial(n - 1)",
    "fibonacci": "a, b = 0, 1\nfor _ in range(n): a, b = b, a + b\nreturn a",
    "is_prime": "return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))",
    "gcd": "return a if not b else gcd(b, a % b)",
    "sum_of_digits": "return sum(map(int, str(n)))",
    "remove_duplicates": "return list(dict.fromkeys(items))",
    "second_largest": "return sorted(set(numbers))[-2]",
    "flatten": "return [one for part in lists for one in part]",
    "rotate_left": "k = k % len(items) if items else 0\nreturn items[k:] + items[:k]",
    "word_count": "return len(text.split())",
    "caesar": (
        "def move(c):\n"
        "    for start in (65, 97):\n"
        "        at = ord(c) - start\n"
        "        if 0 <= at < 26: return chr((at + shift) % 26 + start)\n"
        "    return c\n"
        "return ''.join(map(move, text))"
    ),
    "is_balanced": (
        "opened, pairs = [], {')': '(', ']': '[', '}': '{'}\n"
        "for c in text:\n"
        "    if c in '([{': opened.append(c)\n"
        "    elif c in pairs and (not opened or opened.pop() != pairs[c]): return False\n"
        "return not opened"
    ),
    "run_lengths": (
        "import itertools\nreturn [[c, len(list(g))] for c, g in itertools.groupby(text)]"
    ),
    "merge_intervals": (
        "merged = []\n"
        "for start, end in sorted(intervals):\n"
        "    if merged and start <= merged[-1][1]: merged[-1][1] = max(merged[-1][1], end)\n"
        "    else: merged.append([start, end])\n"
        "return merged"
    ),
    "longest_common_prefix": "import os\nreturn os.path.commonprefix(words)",
    "edit_distance": (
        "row = list(range(len(b) + 1))\n"
        "for i, x in enumerate(a, 1):\n"
        "    last, row[0] = row[0], i\n"
        "    for j, y in enumerate(b, 1):\n"
        "        last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))\n"
        "return row[-1]"
    ),
    "num_islands": (
        "left = {(y, x) for y, row in enumerate(grid) for x, one in enumerate(row) if one}\n"
        "count = 0\n"
        "while left:\n"
        "    count, todo = count + 1, [left.pop()]\n"
        "    while todo:\n"
        "        y, x = todo.pop()\n"
        "        for n in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):\n"
        "            if n in left: left.remove(n); todo.append(n)\n"
        "return count"
    ),
}

JAVASCRIPT = {
    "reverse_string": "return [...text].reverse().join('');",
    "remove_duplicates": "return [...new Set(items)];",
    "fibonacci": "let a = 0, b = 1; for (let i = 0; i < n; i++) [a, b] = [b, a + b]; return a;",
    "flatten": "return lists.flat();",
}

BASH = {
    "sum_of_numbers": "s=0; for n in $(cat); do s=$((s + n)); done; echo $s",
    "longest_line": "awk 'length > m || NR == 1 { m = length; l = $0 } END { print l }'",
    "count_words": "wc -w | tr -d ' '",
    "fizzbuzz": (
        "read n\nfor ((i = 1; i <= n; i++)); do\n"
        "  if ((i % 15 == 0)); then echo FizzBuzz; elif ((i % 5 == 0)); then echo Buzz\n"
        "  elif ((i % 3 == 0)); then echo Fizz; else echo $i; fi\ndone"
    ),
    "number_lines": "awk '{ print NR \": \" $0 }'",
}

C = {
    "sum_of_numbers": (
        '#include <stdio.h>\nint main(void) { long n, s = 0; while (scanf("%ld", &n) == 1) s += n; '
        'printf("%ld\\n", s); }'
    ),
}


def solution_of(task: Task) -> str | None:
    """Code that must pass, None where there is none here."""
    name = task.name.partition("/")[2]
    if task.language == "python":
        return task.head + "".join(f"    {line}\n" for line in PYTHON[name].splitlines())
    if task.language == "javascript":
        return f"{task.head}{JAVASCRIPT[name]}\n}}\n" if name in JAVASCRIPT else None
    return {"bash": BASH, "c": C}[task.language].get(name)
