"""The files that start CodeHearth elsewhere: what they must say, and what linters say of them.

Linters are in an environment of their own: `make container` makes it and names it. The image's
steps themselves are run by scripts/build_without_docker.py, as root, in minutes.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from codehearth.gateway.metrics import Metrics
from codehearth.settings import setting_fields

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "deploy" / "container")]
from build_without_docker import instructions  # noqa: E402
from slim import without  # noqa: E402

TOOLS = os.environ.get("HEARTH_DEPLOY_TOOLS", "")
DOCKERFILES = ("Dockerfile", "Dockerfile.cuda")
MANIFESTS = sorted((ROOT / "deploy" / "kubernetes" / "base").glob("*.yaml"))


def tool(name: str) -> str:
    """A linter's path; the test is skipped where it is not here."""
    found = shutil.which(name, path=f"{TOOLS}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not here: `make container` brings it")
    return found


def said(*argv: str) -> str:
    """What a program complains about; empty where it is content."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    return "" if done.returncode == 0 else done.stdout + done.stderr or "failed"


def words_of(file: str) -> list[tuple[str, str]]:
    return list(instructions(ROOT.joinpath(file).read_text("utf-8")))


@pytest.mark.parametrize("file", DOCKERFILES)
def test_hadolint_is_content(file: str) -> None:
    assert said(tool("hadolint"), "--failure-threshold", "warning", file) == ""


@pytest.mark.parametrize("file", DOCKERFILES)
def test_an_image_is_no_root_keeps_its_data_and_knows_whether_it_is_well(file: str) -> None:
    words = words_of(file)
    last = dict(words)

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last["USER"])
    assert last["VOLUME"] == "/data"
    assert last["EXPOSE"] == "8765"
    assert "/health" in last["HEALTHCHECK"]
    assert json.loads(last["ENTRYPOINT"]) == ["hearth"]
    assert "HEARTH_DATA=/data/hearth" in " ".join(rest for word, rest in words if word == "ENV")


@pytest.mark.parametrize("file", DOCKERFILES)
def test_an_images_variables_are_settings(file: str) -> None:
    known = {f"HEARTH_{setting.name.upper()}" for setting in setting_fields()}
    text = " ".join(rest for word, rest in words_of(file) if word == "ENV")

    assert set(re.findall(r"HEARTH_[A-Z_]+", text)) <= known


@pytest.mark.parametrize("file", DOCKERFILES)
def test_everything_an_image_copies_is_there_and_not_ignored(file: str) -> None:
    patterns = [
        line[1:]
        for line in ROOT.joinpath(".dockerignore").read_text().splitlines()
        if line[:1] == "!"
    ]
    for word, rest in words_of(file):
        if word == "COPY" and not rest.startswith("--from"):
            for path in rest.split()[:-1]:
                assert ROOT.joinpath(path).exists(), path
                assert any(fnmatch.fnmatch(path, pattern) for pattern in patterns), path


def test_both_images_install_in_the_same_way() -> None:
    """What was tried in the CPU's image is what the GPU's image does."""

    def installs(file: str) -> list[str]:
        return [rest for word, rest in words_of(file) if word == "RUN" and "/opt/hearth" in rest]

    assert [step for step in installs("Dockerfile") if "--without-page" not in step] == installs(
        "Dockerfile.cuda"
    )


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(ROOT.joinpath("compose.yaml").read_text("utf-8"))
    return document


def test_compose_starts_one_service_and_the_gpu_on_demand() -> None:
    services = compose()["services"]

    assert [name for name, service in services.items() if not service.get("profiles")] == ["hearth"]
    assert services["hearth-gpu"]["profiles"] == ["gpu"]
    (device,) = services["hearth-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


@pytest.mark.parametrize("name", ["hearth", "hearth-gpu"])
def test_compose_lets_nobody_in_from_elsewhere_by_itself(name: str) -> None:
    service = compose()["services"][name]

    assert service["ports"] == ["${HEARTH_BIND:-127.0.0.1}:${HEARTH_PORT:-8765}:8765"]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert "hearth:/data" in service["volumes"]
    stages = {rest.split()[-1] for word, rest in words_of(
        service["build"].get("dockerfile", "Dockerfile")) if word == "FROM"}  # fmt: skip
    assert service["build"]["target"] in stages


def test_compose_is_what_its_specification_says() -> None:
    python = Path(tool("hadolint")).with_name("python")
    if not python.exists():
        pytest.skip("compose-spec is not here: `make container` brings it")
    if said(str(python), "-c", "import compose_spec"):
        pytest.skip("compose-spec is not here: `make container` brings it")
    # Merge keys are YAML's matter, variables are Compose's: both are resolved before.
    document = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", yaml.safe_dump(compose()))
    code = "import compose_spec, sys; compose_spec.PyCompose.from_yaml(sys.argv[1])"
    assert said(str(python), "-c", code, document) == ""


def statefulset() -> dict[str, Any]:
    file = ROOT / "deploy" / "kubernetes" / "base" / "hearth.yaml"
    document: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    return document


def test_kubernetes_asks_for_health_and_runs_without_rights() -> None:
    pod = statefulset()["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    assert container["startupProbe"]["httpGet"]["path"] == "/health"
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    uid = str(pod["securityContext"]["runAsUser"])
    assert dict(words_of("Dockerfile"))["USER"].startswith(f"{uid}:")


def test_kubernetes_does_not_set_our_port_by_accident() -> None:
    """A service named hearth makes Kubernetes set HEARTH_PORT=tcp://… in every pod."""
    assert statefulset()["spec"]["template"]["spec"]["enableServiceLinks"] is False


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_kubernetes_schemas_are_content(manifest: Path) -> None:
    if manifest.name == "kustomization.yaml":
        listed = yaml.safe_load(manifest.read_text())["resources"]
        assert {path.name for path in MANIFESTS} == {*listed, manifest.name}
        return
    assert said(tool("kubernetes-validate"), "--strict", str(manifest)) == ""


@pytest.mark.parametrize("folder", ["base", "gpu"])
def test_kustomize_puts_it_together(folder: str) -> None:
    argv = [tool("kubectl"), "kustomize", f"deploy/kubernetes/{folder}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)

    documents = {one["kind"]: one for one in yaml.safe_load_all(done.stdout)}
    limits = documents["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]["resources"]

    assert done.returncode == 0, done.stderr
    assert ("nvidia.com/gpu" in limits["limits"]) == (folder == "gpu")
    assert limits["limits"]["memory"] == "16Gi"


def _installed(site: Path, name: str, *requirements: str) -> None:
    """A package of one module in a site folder, as pip leaves it."""
    module, facts = site / name / "__init__.py", site / f"{name}-1.dist-info"
    for path in (module, module.parent / "__pycache__" / "__init__.cpython-313.pyc"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    facts.mkdir()
    needs = "".join(f"Requires-Dist: {one}\n" for one in requirements)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{needs}")
    (facts / "RECORD").write_text(f"{name}/__init__.py,,\n{name}-1.dist-info/METADATA,,\n")


def test_without_the_page_goes_what_only_the_page_needs(tmp_path: Path) -> None:
    _installed(tmp_path, "codehearth", "gradio>=6", "click", 'pillow; extra == "plots"')
    _installed(tmp_path, "gradio", "pandas", "click", "pillow")
    for name in ("click", "pandas", "pillow"):
        _installed(tmp_path, name)

    doomed = set(without(tmp_path, {"gradio"}))

    gone = {path.relative_to(tmp_path).parts[0] for path in doomed if path.suffix == ".py"}
    assert gone == {"gradio", "pandas", "pillow"}
    assert {path.relative_to(tmp_path).parts[0] for path in doomed if path.suffix == ".pyc"} == gone


class _NoModels:
    """A pool with no model in it, as far as metrics ask."""

    class counters:  # noqa: N801
        num_loads = num_failed_loads = num_evictions = num_deaths = num_kills = num_refusals = 0
        load_seconds = 0.0

    def status(self) -> tuple[()]:
        return ()


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "codehearth.json").read_text("utf-8"))
    metrics = Metrics(_NoModels())  # type: ignore[arg-type]
    text = generate_latest(metrics.registry).decode()
    known = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    families = {re.sub(r"_total$", "", name) for name in known}
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"hearth_\w+", target["expr"])
    }

    assert len(asked) > 10
    assert {re.sub(r"_(total|bucket)$", "", name) for name in asked} <= families
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
