"""A native llama-server, played by a script that knows its `--help`."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path

import pytest
from engines.asking import GGUF, Facts
from engines.children import FAKE, post

from codehearth.engines import choose_engine, engines
from codehearth.engines.base import Adapter, Launch, Unavailable
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.llama_server import LlamaServer, find, probe
from codehearth.engines.process import EngineProcess
from codehearth.errors import EngineMissing, Unsupported

HELP = """
-m,    --model FNAME                    model path to load
-a,    --alias STRING                   set alias for model name
-c,    --ctx-size N                     size of the prompt context
-np,   --parallel N                     number of slots
-t,    --threads N                      number of CPU threads
-tb,   --threads-batch N                threads for prompts
-b,    --batch-size N                   logical batch
-ub,   --ubatch-size N                  physical batch
-ngl,  --gpu-layers, --n-gpu-layers N   layers in VRAM
--host HOST                             ip address to listen, or bind to an UNIX socket if the
                                        address ends with .sock
--api-key KEY                           (env: LLAMA_API_KEY)
--metrics                               metrics
--no-slots                              no slots
--no-webui                              no page
--jinja                                 templates
--no-context-shift                      no shift
--embedding, --embeddings               embeddings only
--lora FNAME                            an adapter
--lora-init-without-apply               adapters are loaded, and asked for
"""

SCRIPT = """#!{python}
import os, sys
if "--version" in sys.argv:
    sys.exit(print({version!r}, file=sys.stderr))
if "--help" in sys.argv:
    sys.exit(print({help!r}))
os.environ["FAKE_ENGINE_KEY"] = os.environ["LLAMA_API_KEY"]
socket = sys.argv[sys.argv.index("--host") + 1]
os.execv(sys.executable, [sys.executable, {fake!r}, "--socket", socket])
"""


def make_server(
    path: Path, *, version: str = "version: 6789 (abc)\nbuilt with cc", help_text: str = HELP
) -> Path:
    script = SCRIPT.format(python=sys.executable, version=version, help=help_text, fake=str(FAKE))
    path.write_text(script)
    path.chmod(0o755)
    return path


def test_a_server_on_the_path_is_preferred_and_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_server(tmp_path / "llama-server")
    monkeypatch.setenv("PATH", str(tmp_path))

    native, embedded = engines()

    assert native.name == "llama-server"
    assert "6789" in getattr(native.availability(), "detail", "")
    assert embedded.name == "llama.cpp"
    assert choose_engine(GGUF).engine.name == "llama-server"


def test_it_can_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_server(tmp_path / "llama-server")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert choose_engine(GGUF, llama_server="off").engine.name == "llama.cpp"


def test_it_serves_on_its_socket_with_its_key(tmp_path: Path) -> None:
    path = make_server(tmp_path / "my-server")
    engine = choose_engine(GGUF, llama_server=str(path)).engine
    launch = Launch(tmp_path / "m.gguf", "m", 512, 2, 1)

    async def story() -> None:
        process = EngineProcess("m", partial(engine.command, launch))
        endpoint = await process.ensure_ready()

        status, _ = await post(endpoint, "/v1/completions", {"prompt": "x"})

        assert status == 200
        assert any("built for this machine" in reason for reason in process.why)
        await process.stop()

    asyncio.run(story())


def test_only_options_that_it_knows_are_used(tmp_path: Path) -> None:
    server = probe(make_server(tmp_path / "llama-server"), ours={})
    assert isinstance(server, LlamaServer)
    endpoint = Endpoint(Path("/tmp/h/e.sock"), "http://engine", "the-key")

    argv = server.command(Launch(Path("/m.gguf"), "m", 512, 4, 2, gpu_layers=9), endpoint).argv

    assert argv[argv.index("--ctx-size") + 1] == "2048"
    assert argv[argv.index("--n-gpu-layers") + 1] == "9"
    assert "--no-webui" in argv and "--no-slots" in argv
    assert "--cache-ram" not in argv and "--no-ui" not in argv
    assert "--embeddings" not in argv
    assert "the-key" not in argv


@pytest.mark.parametrize(
    ("missing", "told"),
    [(".sock", "a Unix socket"), ("LLAMA_API_KEY", "a key"), ("--parallel", "--parallel")],
)
def test_a_server_that_lacks_what_we_depend_on_is_too_old(
    missing: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_server(tmp_path / "llama-server", help_text=HELP.replace(missing, "--other"))
    monkeypatch.setenv("PATH", str(tmp_path))

    assert choose_engine(GGUF).engine.name == "llama.cpp"
    with pytest.raises(EngineMissing, match=told):
        choose_engine(GGUF, llama_server=str(path))


def test_a_program_that_is_no_llama_server_is_told(tmp_path: Path) -> None:
    path = make_server(tmp_path / "llama-server", version="hello")

    answer = probe(path, ours={})

    assert isinstance(answer, Unavailable)
    assert "does not say its version" in answer.reason


def test_a_program_that_cannot_run_is_told(tmp_path: Path) -> None:
    path = tmp_path / "llama-server"
    path.write_bytes(b"\x7fELF nonsense")
    path.chmod(0o755)

    assert isinstance(probe(path, ours={}), Unavailable)
    assert isinstance(probe(tmp_path / "none", ours={}), Unavailable)


def test_a_named_server_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EngineMissing, match="no program"):
        choose_engine(GGUF, llama_server=str(tmp_path / "none"))


def test_an_updated_server_is_asked_again(tmp_path: Path) -> None:
    path = make_server(tmp_path / "llama-server", version="version: 1 (a)")
    first = probe(path, ours={})
    make_server(path, version="version: 2 (b)")

    second = probe(path, ours={})

    assert isinstance(first, LlamaServer) and isinstance(second, LlamaServer)
    assert (first.version, second.version) == ("1", "2")


def test_weights_that_no_engine_reads_are_refused() -> None:
    with pytest.raises(Unsupported, match="GGUF"):
        choose_engine(Facts(kind="safetensors"), llama_server="off")


def test_the_setting_off_finds_nothing() -> None:
    assert find("off") is None


def test_several_adapters_are_loaded_and_wait_to_be_asked_for(tmp_path: Path) -> None:
    server = probe(make_server(tmp_path / "llama-server"), ours={})
    assert isinstance(server, LlamaServer)
    adapters = (Adapter("ours", Path("/a.gguf")), Adapter("theirs", Path("/b.gguf")))
    launch = Launch(Path("/m.gguf"), "m", 512, 4, 2, adapters=adapters)

    argv = server.command(launch, Endpoint(Path("/tmp/h/e.sock"), "http://engine", "key")).argv

    assert [argv[at + 1] for at, word in enumerate(argv) if word == "--lora"] == [
        "/a.gguf",
        "/b.gguf",
    ]
    assert "--lora-init-without-apply" in argv


def test_one_adapter_alone_answers_every_request(tmp_path: Path) -> None:
    server = probe(make_server(tmp_path / "llama-server"), ours={})
    assert isinstance(server, LlamaServer)
    launch = Launch(Path("/m.gguf"), "m", 512, 4, 2, adapters=(Adapter("a", Path("/a.gguf")),))

    argv = server.command(launch, Endpoint(Path("/tmp/h/e.sock"), "http://engine", "key")).argv

    assert "--lora" in argv and "--lora-init-without-apply" not in argv
