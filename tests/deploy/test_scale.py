"""The files of docs/scale.md: whole, and true to what the code and the engines know."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from engine_environments import installed

from codehearth.engines.base import Launch, Parallel
from codehearth.engines.recipes import RECIPES
from codehearth.engines.remote import REMOTE_KEY_VARIABLE
from codehearth.engines.vllm import arguments
from codehearth.models.remotes import Server, parse_remotes
from codehearth.settings import read_settings

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "deploy" / "scale").glob("*.yaml"))
GUIDE = ROOT / "docs" / "scale.md"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "deploy" / "scale" / name).read_text()))


def containers() -> Iterator[dict[str, Any]]:
    for name in ("vllm.yaml", "vllm-ray.yaml"):
        for document in documents(name):
            if document["kind"] == "StatefulSet":
                yield from document["spec"]["template"]["spec"]["containers"]


def flags_of(container: dict[str, Any]) -> dict[str, str]:
    """The flags that vLLM itself gets; none for a worker of Ray."""
    text = "\n".join(container["args"])
    if "vllm serve" in text:
        text = text.partition("vllm serve")[2]
    elif "ray start" in text:
        return {}
    return dict(re.findall(r"(--[a-z-]+)=?([^\s\\]*)", text))


SERVERS = [container for container in containers() if flags_of(container)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_document_has_a_kind_and_a_name_of_its_own(file: Path) -> None:
    found = [(one["kind"], one["metadata"]["name"]) for one in documents(file.name)]

    assert found and len(set(found)) == len(found)
    assert all("apiVersion" in one for one in documents(file.name))


@pytest.mark.parametrize("container", SERVERS, ids=lambda one: flags_of(one)["--served-model-name"])
def test_vllm_is_started_with_flags_that_the_engine_uses_too(container: dict[str, Any]) -> None:
    launch = Launch(Path("/m"), "m", 8192, 64, 1, gpu_share=0.9, parallel=Parallel(4, 2, True))
    known = {word for word in arguments(launch, on_gpu=True)[0] if word.startswith("--")}

    assert set(flags_of(container)) - {"--port"} <= known


def test_the_image_is_of_the_release_that_was_tried() -> None:
    (pin,) = re.findall(r"^vllm==(.+)$", RECIPES["vllm"]["cuda"].pins.read_text(), re.MULTILINE)

    assert {one["image"] for one in containers()} == {f"vllm/vllm-openai:v{pin}"}


@pytest.mark.parametrize("container", SERVERS, ids=lambda one: flags_of(one)["--served-model-name"])
def test_ports_keys_and_gpus_agree(container: dict[str, Any]) -> None:
    flags = flags_of(container)
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    names = {one["name"] for one in container["env"]}

    assert ports["api"] == int(flags["--port"])
    assert "VLLM_API_KEY" in names
    assert container["resources"]["limits"]["nvidia.com/gpu"] == int(
        flags["--tensor-parallel-size"]
    )
    assert container["readinessProbe"]["httpGet"]["path"] == "/health"


def test_the_gateway_asks_for_models_under_the_names_and_ports_that_they_have() -> None:
    settings, secret = documents("gateway.yaml")
    served = {flags_of(one)["--served-model-name"]: flags_of(one)["--port"] for one in SERVERS}
    services = {
        one["metadata"]["name"]: one["spec"]["ports"][0]["port"]
        for name in ("vllm.yaml", "vllm-ray.yaml")
        for one in documents(name)
        if one["kind"] == "Service"
    }

    read = read_settings(flags={}, environment=settings["data"])
    remotes = parse_remotes(read.remotes)

    assert set(secret["stringData"]) == {REMOTE_KEY_VARIABLE}
    assert {server.model for servers in remotes.values() for server in servers} == set(served)
    assert remotes["coder"] == (
        Server("http://vllm-0.vllm:8000/v1", "coder"),
        Server("http://vllm-1.vllm:8000/v1", "coder"),
    )
    for servers in remotes.values():
        for server in servers:
            host, port = re.fullmatch(r"http://([^:]+):(\d+)/v1", server.url).groups()  # type: ignore[union-attr]
            assert services[host.rpartition(".")[2]] == int(port)
            assert served[server.model] == port


@pytest.mark.parametrize("name", ["vllm.yaml", "vllm-ray.yaml"])
def test_only_the_gateway_and_a_models_own_nodes_get_in(name: str) -> None:
    """Ray runs whatever it is sent, so who reaches its port owns the nodes."""
    gateway, app = {"app": "codehearth"}, Path(name).stem
    pods = [one["spec"] for one in documents(name) if one["kind"] == "StatefulSet"]
    (policy,) = [one["spec"] for one in documents(name) if one["kind"] == "NetworkPolicy"]
    selected = policy["podSelector"]["matchLabels"]

    let_in = [
        (one["podSelector"]["matchLabels"], rule.get("ports"))
        for rule in policy["ingress"]
        for one in rule["from"]
    ]

    assert policy["policyTypes"] == ["Ingress"] and selected == {"app": app}
    assert all(selected.items() <= pod["template"]["metadata"]["labels"].items() for pod in pods)
    among_nodes = [({"app": app}, None)] if len(pods) > 1 else []
    assert let_in == [(gateway, [{"port": "api"}]), *among_nodes]


def test_the_guide_names_every_file_and_no_other() -> None:
    named = set(re.findall(r"deploy/scale/([a-z-]+\.yaml)", GUIDE.read_text()))

    assert named == {file.name for file in FILES}


PARSE = """
import sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
for line in sys.stdin:
    parsed = make_arg_parser(FlexibleArgumentParser()).parse_args(line.split())
    print("parsed", parsed.served_model_name[0])
"""


def test_vllms_own_parser_takes_the_files_command_lines() -> None:
    python = installed("vllm").python
    lines = [
        " ".join(f"{name}={value}" if value else name for name, value in flags_of(one).items())
        for one in SERVERS
    ]

    answer = subprocess.run(
        [str(python), "-P", "-c", PARSE],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    told = [line for line in answer.stdout.splitlines() if line.startswith("parsed")]
    assert told == ["parsed coder", "parsed coder-large"], answer.stderr[-2000:]
