"""Runs the Dockerfile's own steps where there is no Docker: a root by debootstrap, and chroot.

    sudo python scripts/build_without_docker.py --work /tmp/image [--share PATH]... [--check]

Each stage becomes a folder below `--work`; the sizes of the images are printed. `--check` starts
the image's command as its user, waits for its HEALTHCHECK, asks the starter model and the page,
and stops it. `--share` shows a path of this machine to the steps (a folder of packages, a
certificate). What Docker does and this does not: layers, and the real `debian:trixie-slim`, which
is debootstrap's minimal system without documentation, as it is made here too.

It reads the instructions that the Dockerfile uses, and refuses others.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent
SUITES = {"debian:trixie-slim": "trixie", "debian:bookworm-slim": "bookworm"}

# What debian:*-slim leaves out (debuerreotype's slim lists).
_NOT_IN_SLIM = ("doc", "info", "locale", "man", "lintian", "linda", "groff")

# As the official image has it: apt keeps no packages and no caches of its own.
_DOCKER_CLEAN = """\
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
"""


@dataclass
class Stage:
    """One FROM: where its files are, and what its instructions set."""

    name: str
    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    entry: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    def child(self, name: str, root: Path) -> Stage:
        return Stage(
            name, root, dict(self.environment), self.folder, self.user,
            list(self.entry), list(self.command), list(self.health),
        )  # fmt: skip


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Pairs of an instruction and its words; comments are gone, continued lines are one."""
    joined = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        joined += line.removesuffix("\\") + " " if line.endswith("\\") else line
        if not line.endswith("\\"):
            if joined.strip():
                word, _, rest = joined.strip().partition(" ")
                yield word.upper(), rest.strip()
            joined = ""


class Build:
    def __init__(self, work: Path, share: list[str], *, is_built: bool) -> None:
        self.work, self.share, self.is_built = work, share, is_built
        self.stages: dict[str, Stage] = {}

    def run(self, dockerfile: Path) -> None:
        stage: Stage | None = None
        for word, rest in instructions(dockerfile.read_text("utf-8")):
            if word == "FROM":
                stage = self._from(rest)
                continue
            assert stage is not None, f"{word} before FROM"
            print(f"[{stage.name}] {word} {rest[:100]}", file=sys.stderr)
            self._instruction(stage, word, rest)

    def _instruction(self, stage: Stage, word: str, rest: str) -> None:
        match word:
            case "RUN" | "COPY" if self.is_built:
                pass
            case "RUN":
                self._in(stage, ["sh", "-c", rest], user="0:0")
            case "COPY":
                self._copy(stage, shlex.split(rest))
            case "ENV":
                stage.environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            case "WORKDIR":
                stage.folder = rest
                (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "USER":
                stage.user = rest
            case "ENTRYPOINT":
                stage.entry, stage.command = json.loads(rest), []
            case "CMD":
                stage.command = json.loads(rest)
            case "HEALTHCHECK":
                stage.health = json.loads(rest.partition("CMD ")[2])
            case "VOLUME" | "EXPOSE" | "LABEL":
                pass
            case _:
                raise SystemExit(f"error: {word} is not understood here")

    def _from(self, rest: str) -> Stage:
        base, _, name = re.split(r"\s+", rest)
        root = self.work / name
        if not self.is_built:
            if root.exists():
                shutil.rmtree(root)
            under = self.stages[base].root if base in self.stages else self._system(SUITES[base])
            subprocess.run(["cp", "-a", str(under), str(root)], check=True)
        if base in self.stages:
            stage = self.stages[base].child(name, root)
        else:
            stage = Stage(name, root, {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"})
        self.stages[name] = stage
        return stage

    def _system(self, suite: str) -> Path:
        """The base system, made once."""
        root = self.work / f"system-{suite}"
        if not (root / ".made").exists():
            if root.exists():
                shutil.rmtree(root)
            argv = ["debootstrap", "--variant=minbase", suite, str(root)]
            subprocess.run(argv, check=True, stdout=sys.stderr)
            for name in _NOT_IN_SLIM:
                shutil.rmtree(root / "usr/share" / name, ignore_errors=True)
            for used in ("var/cache/apt", "var/lib/apt/lists", "var/log"):
                shutil.rmtree(root / used, ignore_errors=True)
                (root / used).mkdir()
            (root / "etc/apt/apt.conf.d/docker-clean").write_text(_DOCKER_CLEAN)
            (root / ".made").touch()
        return root

    def _copy(self, stage: Stage, words: list[str]) -> None:
        source = REPOSITORY
        if words[0].startswith("--from="):
            source = self.stages[words.pop(0).removeprefix("--from=")].root
        *files, target = words
        place = stage.root / os.path.normpath(f"{stage.folder}/{target}").lstrip("/")
        if target.startswith("/"):
            place = stage.root / target.lstrip("/")
        for file in files:
            path = source / file.lstrip("/")
            if path.is_dir():
                place.mkdir(parents=True, exist_ok=True)
                subprocess.run(["cp", "-a", f"{path}/.", str(place)], check=True)
            else:
                into = place / path.name if target.endswith("/") else place
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, into)
        if source == REPOSITORY:  # as .dockerignore has it
            for folder in place.rglob("__pycache__") if place.is_dir() else ():
                shutil.rmtree(folder)

    def _in(self, stage: Stage, argv: list[str], *, user: str) -> None:
        if subprocess.run(self.entered(stage, argv, user=user), check=False).returncode != 0:
            raise SystemExit(f"error: this step of '{stage.name}' failed: {shlex.join(argv)[:300]}")

    def entered(self, stage: Stage, argv: list[str], *, user: str) -> list[str]:
        """The command that runs `argv` in a stage, with mounts that end when it does."""
        root = shlex.quote(str(stage.root))
        mounts = [f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
        for path in ["/etc/resolv.conf", *self.share]:
            inside = stage.root / path.lstrip("/")
            maker = "mkdir -p" if Path(path).is_dir() else f"mkdir -p {inside.parent} && touch"
            mounts.append(f"{maker} {inside} && mount --bind {path} {inside}")
            mounts.append(f"mount -o remount,bind,ro {inside}")
        passed: Mapping[str, str] = {k: v for k, v in os.environ.items() if k.startswith("PIP_")}
        setting = {**stage.environment, **(passed if user == "0:0" else {})}
        words = shlex.join([f"{name}={value}" for name, value in setting.items()])
        script = " && ".join(mounts) + (
            f" && exec chroot --userspec={user} {root} /usr/bin/env -i {words} "
            f"sh -c {shlex.quote(f'cd {stage.folder} && exec {shlex.join(argv)}')}"
        )
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]


def num_bytes(root: Path) -> int:
    """What the files of an image take, links counted once."""
    said = subprocess.run(
        ["du", "--summarize", "--bytes", "--one-file-system", str(root)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(said.stdout.split()[0])


def check(build: Build, stage: Stage, *, has_page: bool) -> dict[str, Any]:
    """Starts the image as Docker would, and uses it; how long it took to be healthy."""
    argv = build.entered(stage, [*stage.entry, *stage.command], user=stage.user)
    shutil.rmtree(stage.root / "data" / "hearth", ignore_errors=True)  # of a check before
    # A group of its own: a process that changed its user does not die with its parent.
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        try:
            return _checked(build, stage, server, has_page=has_page)
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(timeout=45)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)


def _checked(
    build: Build, stage: Stage, server: subprocess.Popen[str], *, has_page: bool
) -> dict[str, Any]:
    began = time.monotonic()
    health = build.entered(stage, stage.health, user=stage.user)
    while subprocess.run(health, capture_output=True, check=False).returncode != 0:
        assert server.poll() is None, "the server has ended"
        assert time.monotonic() - began < 120, "the image does not become healthy"
        time.sleep(0.5)
    healthy_s = time.monotonic() - began
    assert server.stdout is not None
    key = server.stdout.readline().strip()
    assert key.startswith("sk-"), f"no first key was printed: {key!r}"

    def curl(path: str, *words: str) -> str:
        url = f"http://127.0.0.1:8765{path}"
        argv = ["curl", "--silent", "--show-error", "--noproxy", "*", *words, url]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    refused = curl("/v1/models")
    assert "invalid_api_key" in refused, refused
    asked = json.dumps(
        {
            "model": "starter",
            "max_tokens": 60,
            "messages": [{"role": "user", "content": "write a function that reverses a string"}],
        }
    )
    bearer = ["--header", f"Authorization: Bearer {key}"]
    body = ["--header", "Content-Type: application/json", "--data", asked]
    answer = json.loads(curl("/v1/chat/completions", *bearer, *body))
    assert "def " in answer["choices"][0]["message"]["content"], answer
    if has_page:
        deadline = time.monotonic() + 60
        while "hearth.theme" not in (page := curl("/", *bearer)):  # it is made in the background
            assert time.monotonic() < deadline, page[:400]
            time.sleep(1)
        scripts = re.findall(r'<script[^>]* src="(?:\./|/)?([^"]+)"', page)
        assert scripts, page[:400]
        for script in scripts:
            assert len(curl(f"/{script}", *bearer, "--fail")) > 100, script
    return {"healthy_s": round(healthy_s, 1), "page": has_page}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--share", action="append", default=[])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--reuse", action="store_true", help="check what was built there before")
    parser.add_argument("--record", type=Path, help="write the sizes into this file too")
    asked = parser.parse_args()
    if os.getuid() != 0:
        raise SystemExit("error: chroot needs root\n\nhint: sudo")
    if shutil.which("debootstrap") is None:
        raise SystemExit("error: debootstrap is not here\n\nhint: apt install debootstrap")
    asked.work.mkdir(parents=True, exist_ok=True)
    build = Build(asked.work.resolve(), asked.share, is_built=asked.reuse)
    build.run(REPOSITORY / "Dockerfile")
    images = []
    for name in ("full", "slim"):
        stage = build.stages[name]
        sizes: dict[str, Any] = {"image": name, "num_bytes": num_bytes(stage.root)}
        sizes["of_that_program"] = num_bytes(stage.root / "opt/hearth")
        if asked.check:
            sizes |= check(build, stage, has_page=name == "full")
        print(json.dumps(sizes), flush=True)
        images.append(sizes)
    if asked.record:
        machine = {"system": platform.machine(), "base": next(iter(SUITES))}
        document = {"built": time.strftime("%Y-%m-%d"), **machine, "images": images}
        asked.record.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
