"""The starter model: its data is sound, its export is readable, its shipped file is whole."""

import ast
import builtins
import difflib
import hashlib
import json
import lzma
import random
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from string import Template

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from starter import bodies, corpus, idioms, smalltalk, tasks, unknown, wordings  # noqa: E402

from codehearth.lab import texts  # noqa: E402
from codehearth.models.catalogue import catalogue  # noqa: E402
from codehearth.models.weights import read_weights  # noqa: E402

DATA = ROOT / "src" / "codehearth" / "data"
PYTHON_FILE = "def double(number):\n    return number * 2\n\n\n" * 20


def source_file(path: str, text: str = PYTHON_FILE) -> corpus.SourceFile:
    return corpus.SourceFile("example", path, "library", text)


def test_an_empty_corpus_is_refused() -> None:
    with pytest.raises(corpus.CorpusError, match="corpus is empty"):
        corpus.split_corpus([], min_bytes=1000)


def test_a_small_corpus_is_refused_with_both_numbers() -> None:
    with pytest.raises(corpus.CorpusError, match=r"too small: \d+ bytes in 1 files.* 5000000"):
        corpus.split_corpus([source_file("a.py")], min_bytes=5_000_000)


def test_a_copied_file_is_learnt_once() -> None:
    text = "".join(f"value_number_{i} = compute_the_value({i})\n" for i in range(50))

    kept = list(
        corpus.without_duplicates([source_file("a.py", text), source_file("b.py", "# x\n" + text)])
    )

    assert [file.path for file in kept] == ["a.py"]


def test_tables_and_broken_files_are_not_worth_learning() -> None:
    assert corpus.is_worth_learning(PYTHON_FILE)
    assert not corpus.is_worth_learning("TABLE = [\n" + "    0x00, 0x01, 0x02,\n" * 100 + "]\n")
    assert not corpus.is_worth_learning("def broken(:\n" * 100)


def test_every_taught_task_passes_its_own_checks() -> None:
    taught = tasks.read_tasks()

    failures = {task.name: tasks.failed_check(task, task.code) for task in taught}

    assert len(taught) >= 200
    assert {name: failure for name, failure in failures.items() if failure} == {}


def test_a_wrong_answer_fails_its_check() -> None:
    task = next(task for task in tasks.read_tasks() if task.name == "reverse_string")

    assert tasks.failed_check(task, "def reverse_string(text):\n    return text\n") is not None


@pytest.mark.parametrize("language", ["en", "zh"])
def test_sentences_held_out_are_never_shown_in_training(language: wordings.Language) -> None:
    rng = random.Random(3)
    held_out = (*wordings.ENGLISH_HELD_OUT, *wordings.CHINESE_HELD_OUT)

    shown = {wordings.template(rng, language) for _ in range(30_000)}

    bare = {sentence.strip("?？.。").casefold() for sentence in shown}
    assert len(bare) > 1000
    assert not bare & {sentence.strip("?？.。").casefold() for sentence in held_out}


def test_each_phrase_asks_for_one_task_only() -> None:
    phrases = [
        phrase
        for task in tasks.read_tasks()
        for phrase in (
            *task.english,
            *task.chinese,
            *task.more_english,
            *task.more_chinese,
            *task.english_held_out,
            *task.chinese_held_out,
        )
    ]

    assert sorted({phrase for phrase in phrases if phrases.count(phrase) > 1}) == []


def test_questions_read_as_english() -> None:
    assert wordings.third_person("reverse a string") == "reverses a string"
    assert wordings.third_person("search a list") == "searches a list"
    assert wordings.third_person("multiply two numbers") == "multiplies two numbers"


def test_unknown_requests_keep_some_for_evaluation() -> None:
    learnt, held_out = smalltalk.unknown_requests()

    for language in ("en", "zh"):
        assert len(held_out[language]) >= 8
        assert not set(learnt[language]) & set(held_out[language])


def test_every_task_is_asked_for_in_many_words_and_one_phrase_is_kept_for_measuring() -> None:
    for task in tasks.read_tasks():
        assert min(len(task.english), len(task.chinese)) >= 5, task.name
        assert min(len(task.more_english), len(task.more_chinese)) >= 5, task.name
        assert all(phrase.isascii() for phrase in task.english + task.more_english), task.name
        assert not any(phrase.isascii() for phrase in task.chinese + task.more_chinese), task.name
        assert len(task.english_held_out) == len(task.chinese_held_out) == 1, task.name


def test_no_phrase_of_a_task_is_nearly_the_one_kept_for_measuring() -> None:
    near = [
        (phrase, kept)
        for task in tasks.read_tasks()
        for phrases, held_out in (
            (task.english + task.more_english, task.english_held_out),
            (task.chinese + task.more_chinese, task.chinese_held_out),
        )
        for phrase in phrases
        for kept in held_out
        if difflib.SequenceMatcher(None, kept.lower(), phrase.lower()).ratio() > 0.85
    ]

    assert near == []


def test_an_idiom_is_whole_whatever_its_names_are() -> None:
    rng = random.Random(5)
    for block in idioms.idioms():
        for _ in range(50):
            code = idioms.renamed(rng, block)
            tree = ast.parse(code)
            known = set(dir(builtins)) | {"self", "__init__"}
            for node in ast.walk(tree):
                match node:
                    case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                        known.add(name)
                    case ast.FunctionDef(name=name) | ast.alias(name=name):
                        known.add(name)
                    case _:
                        pass
            used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            assert used <= known, code


def test_two_names_of_an_idiom_are_never_one() -> None:
    rng = random.Random(6)
    for block in idioms.idioms():
        wanted = Template(block).get_identifiers()
        for _ in range(50):
            names = idioms.chosen_names(rng, wanted)
            assert sorted(names) == sorted(wanted)
            assert len(set(names.values())) == len(wanted), names


def test_a_composed_request_to_decline_is_none_of_those_kept_for_evaluation() -> None:
    rng = random.Random(4)
    _, held_out = smalltalk.unknown_requests()

    for language in ("en", "zh"):
        composed = {unknown.composed_request(rng, language) for _ in range(20_000)}
        assert not composed & set(held_out[language])


def test_the_shipped_file_is_that_of_the_card() -> None:
    card = (DATA / "starter.md").read_text(encoding="utf-8")
    named = re.search(r"`starter\.gguf`: `([0-9a-f]{64})`", card)

    digest = hashlib.sha256((DATA / "starter.gguf").read_bytes()).hexdigest()

    assert named is not None
    assert named.group(1) == digest


def test_the_catalogue_says_the_shipped_files_sizes() -> None:
    row, weights = catalogue()["starter"], read_weights(DATA / "starter.gguf")

    said = (row.num_parameters, row.context_tokens)
    assert said == (weights.num_parameters, weights.context_tokens)


def test_a_new_starters_sizes_go_into_the_catalogues_row_and_nowhere_else() -> None:
    for needed in ("torch", "safetensors", "tokenizers"):
        pytest.importorskip(needed, reason=f"{needed} is not installed")
    from starter import card

    before = (DATA / "catalogue.toml").read_text("utf-8")
    after = card.catalogue_with(before, 34_000_000, 2048)

    pairs = zip(before.splitlines(), after.splitlines(), strict=True)
    changed = [new for old, new in pairs if old != new]
    assert changed == ["num_parameters = 34_000_000", "context_tokens = 2048"]


def test_the_card_of_the_shipped_file_is_written_beside_it(tmp_path: Path) -> None:
    for needed in ("torch", "tokenizers", "gguf", "xllamacpp"):
        pytest.importorskip(needed, reason=f"{needed} is not installed")
    from starter import card, infilling

    folder, out = tmp_path / "data", tmp_path / "out"
    for made in (folder, out):
        made.mkdir()
    for name in ("starter.gguf", "catalogue.toml"):
        shutil.copy(DATA / name, folder)
    line = {"exact": 0.25, "similarity": 0.5}
    sources = ("taught", "standard_library", "held_out_packages")
    shares = (
        *(
            f"{kind}_pass_{name}"
            for kind in ("taught", "seldom", "paraphrased")
            for name in ("english", "chinese")
        ),
        *("taught_stopped_by_itself", "unknown_declined", "bodies_that_parse"),
        *("pass_at_1", "pass_at_10"),
    )
    summary = dict.fromkeys(shares, 0.125) | {
        "parameters": 33_571_328,
        "file_bytes": 35_987_776,
        "bits_per_byte_standard_library": 0.8,
        "bits_per_byte_held_out_packages": 0.6,
        "taught_tasks": 267,
        "hidden_lines": {source: dict.fromkeys(infilling.ORDERS, line) for source in sources},
        "humaneval_tasks": 0,
        "tokens_per_s": 200.0,
    }
    figures = {"summary": summary, "samples": []}
    (out / "figures.json").write_text(json.dumps(figures), "utf-8")
    (out / "log.jsonl").write_text('{"num_tokens": 2000000, "loss": 1.5}\n', "utf-8")

    card.write(out, folder / "starter.gguf", (), folder)

    digest = hashlib.sha256((DATA / "starter.gguf").read_bytes()).hexdigest()
    text = (folder / "starter.md").read_text("utf-8")
    assert digest in text
    assert "| one hidden line¹, exact match, taught code | 25.0 % / 25.0 % / 25.0 % |" in text


def test_the_shipped_file_names_its_formats() -> None:
    gguf = pytest.importorskip("gguf", reason="gguf is not installed")

    reader = gguf.GGUFReader(DATA / "starter.gguf")

    def fact(key: str) -> object:
        return reader.get_field(key).contents()

    assert fact("general.architecture") == "qwen2"
    assert fact("tokenizer.ggml.pre") == "qwen2"
    tokens = fact("tokenizer.ggml.tokens")
    assert isinstance(tokens, list)
    assert tokens[fact("tokenizer.ggml.eos_token_id")] == "<|im_end|>"
    assert tokens[fact("tokenizer.ggml.fim_mid_token_id")] == "<|fim_middle|>"


def test_the_tokenizer_gives_back_what_it_was_given() -> None:
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    from starter import tokenizer as vocabulary

    tokenizer = vocabulary.train_tokenizer([PYTHON_FILE, "写一个函数"], vocabulary_size=400)
    text = 'def é(n):\n\treturn "写一个函数 ✓"  \n\n\n    # end'

    ids = vocabulary.encode(tokenizer, text)

    assert vocabulary.decode(tokenizer, ids) == text
    assert tokenizer.get_vocab_size() - len(vocabulary.SPECIAL_TOKENS) == min(
        vocabulary.token_id(tokenizer, token) for token in vocabulary.SPECIAL_TOKENS
    )


def test_an_untrained_network_survives_its_export(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    from starter import export, network
    from starter import tokenizer as vocabulary

    tokenizer = vocabulary.train_tokenizer([PYTHON_FILE], vocabulary_size=300)
    shape = network.Shape(
        vocabulary=tokenizer.get_vocab_size(),
        hidden=64,
        layers=1,
        feed_forward=64,
        heads=1,
        kv_heads=1,
    )
    tiny = network.Network(shape)
    network.initialise(tiny, seed=1)

    export.write_gguf(tiny, tokenizer, tmp_path / "tiny.gguf")
    export.write_hugging_face(tiny, tokenizer, tmp_path / "folder")
    read, read_tokenizer = export.read_gguf(tmp_path / "tiny.gguf")

    ids = vocabulary.encode(read_tokenizer, "def double(number):\n    ")
    assert ids == vocabulary.encode(tokenizer, "def double(number):\n    ")
    with torch.inference_mode():
        written, back = (net(torch.tensor([ids])) for net in (tiny, read))
    assert torch.allclose(written, back, atol=0.05)
    assert (tmp_path / "folder" / "model.safetensors").stat().st_size > 1000


def test_training_goes_on_from_earlier_weights_and_counts_their_tokens(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    from starter import export, network, schedule, training, windows
    from starter import tokenizer as vocabulary

    tokenizer = vocabulary.train_tokenizer([PYTHON_FILE], vocabulary_size=300)
    shape = network.Shape(tokenizer.get_vocab_size(), 64, 1, 64, 1, 1)
    earlier = network.Network(shape)
    network.initialise(earlier, seed=7)
    export.write_hugging_face(earlier, tokenizer, tmp_path / "earlier")
    files = {"stdlib": (source_file("a.py"),)}
    mixture = windows.Mixture(tokenizer, files, {"stdlib": 1.0}, None, None)
    recipe = schedule.Recipe(
        max_tokens=2048, tokens_a_step=256, windows=((1.0, 256),), learning_rate=0.0
    )

    went_on = training.train(
        lambda share: mixture,
        mixture,
        shape,
        recipe,
        tmp_path / "earlier",
        device="cpu",
        earlier=training.Earlier(tmp_path / "earlier", 1024),
        report_steps=1,
    )

    log = (tmp_path / "earlier" / "log.jsonl").read_text("utf-8").splitlines()
    first, last = json.loads(log[0]), json.loads(log[-1])
    assert (first["first_step"], first["step"], first["num_tokens"]) == (4, 5, 1280)
    assert last["num_tokens"] == 2048
    for name, tensor in went_on.state_dict().items():  # nothing is learnt at a rate of zero
        assert torch.allclose(tensor, earlier.state_dict()[name], atol=0.01), name


def test_what_is_kept_is_not_forgotten_while_something_else_is_learnt(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    from starter import export, network, schedule, training, windows
    from starter import tokenizer as vocabulary

    known, new = PYTHON_FILE, "import json\n\n\nsettings = json.loads('[1, 2]')\n" * 20
    tokenizer = vocabulary.train_tokenizer([known, new], vocabulary_size=300)
    shape = network.Shape(tokenizer.get_vocab_size(), 64, 1, 64, 1, 1)
    learns_known, learns_new = (
        windows.Mixture(tokenizer, {"stdlib": (file,)}, {"stdlib": 1.0}, None, None)
        for file in (source_file("a.py", known), source_file("b.py", new))
    )
    recipe = schedule.Recipe(
        max_tokens=15_360,
        tokens_a_step=512,
        windows=((1.0, 256),),
        learning_rate=3e-3,
        warmup_steps=5,
    )

    def trained(mixture, recipe, name, earlier=None):
        return training.train(
            lambda share: mixture,
            learns_known,
            shape,
            recipe,
            tmp_path / name,
            device="cpu",
            earlier=earlier,
        )

    def surprise(net, text):
        ids = torch.tensor([vocabulary.encode(tokenizer, text)[:256]])
        with torch.inference_mode():
            return torch.nn.functional.cross_entropy(net(ids)[0, :-1], ids[0, 1:]).item()

    for name in ("first", "careless", "careful"):
        (tmp_path / name).mkdir()
    first = trained(learns_known, recipe, "first")
    export.write_hugging_face(first, tokenizer, tmp_path / "folder")
    earlier = training.Earlier(tmp_path / "folder", 0)
    careless = trained(learns_new, recipe, "careless", earlier)
    careful = trained(learns_new, replace(recipe, kept_rows=1), "careful", earlier)

    with pytest.raises(ValueError, match="earlier weights"):
        trained(learns_new, replace(recipe, kept_rows=1), "careless")
    assert surprise(careful, new) < surprise(first, new) - 1
    lost = [surprise(net, known) - surprise(first, known) for net in (careless, careful)]
    assert lost[1] < lost[0] / 3, lost


def test_an_answer_weighs_more_than_its_question_where_it_is_asked_to() -> None:
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    from starter import tokenizer as vocabulary
    from starter import windows

    tokenizer = vocabulary.train_tokenizer([PYTHON_FILE], vocabulary_size=300)
    turns = (windows.Turn("user", "why?"), windows.Turn("assistant", "because"))
    mixture = windows.Mixture(
        tokenizer, {}, {"chat": 1.0}, lambda rng: turns, None, answer_weight=3
    )
    asked = windows.encode_conversation(tokenizer, turns[:1])[0]
    head = vocabulary.encode(tokenizer, f"{vocabulary.IM_START}assistant\n")

    row = mixture.row("1", 2 * len(windows.encode_conversation(tokenizer, turns)[0]) - 2)

    one = row.weights[: len(row.weights) // 2]
    before = len(asked) + len(head) - 1
    assert one == [1] * before + [3] * (len(one) - before)


def test_rows_are_the_same_for_the_same_seed_and_keep_the_middle() -> None:
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    from starter import middles, teaching, windows
    from starter import tokenizer as vocabulary

    tokenizer = vocabulary.train_tokenizer([PYTHON_FILE], vocabulary_size=300)
    learnt, _ = smalltalk.unknown_requests()
    lessons = teaching.Teaching(tasks.read_tasks(), learnt, more_share=0.5, idiom_share=0.3)
    mixture = windows.Mixture(
        tokenizer,
        {"stdlib": (source_file("a.py"),)},
        {"chat": 0.3, "taught": 0.3, "stdlib": 0.4},
        lessons.conversation,
        lessons.code,
    )

    row, again = (mixture.row("1/2/3", 256) for _ in range(2))

    assert row == again
    assert len(row.inputs) == len(row.targets) == len(row.segments) == len(row.weights) == 256
    start, end = middles.middle_span(random.Random(1), PYTHON_FILE)
    assert 0 <= start <= end <= len(PYTHON_FILE)


def test_a_value_alone_is_often_the_middle() -> None:
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    from starter import middles

    text = "def mean(numbers):\n    total = sum(numbers)\n    return total / len(numbers)\n"

    spans = [middles.middle_span(random.Random(seed), text) for seed in range(300)]

    cut = [text[start:end] for start, end in spans]
    assert cut.count("sum(numbers)") > 5
    assert cut.count("total / len(numbers)") > 5


def test_a_hidden_line_is_code_and_neither_comment_nor_docstring() -> None:
    for needed in ("torch", "tokenizers", "xllamacpp"):
        pytest.importorskip(needed, reason=f"{needed} is not installed")
    from starter import infilling

    text = (
        '"""What it is for.\n\nMore of it.\n"""\n\n# a comment\nimport os\n\n\n'
        "def f(a):\n    'In one line.'\n    if a:  # why\n        return '#'\n    else:\n"
        "        pass\n"
    )

    lines = [text[start:end] for start, end in infilling.code_lines(text)]

    assert lines == ["import os", "def f(a):", "if a:  # why", "return '#'", "else:", "pass"]


def test_what_is_to_be_filled_in_weighs_more_than_what_stands_around_it() -> None:
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    from starter import middles, windows
    from starter import tokenizer as vocabulary

    tokenizer = vocabulary.train_tokenizer([PYTHON_FILE], vocabulary_size=300)
    mark = vocabulary.token_id(tokenizer, vocabulary.FIM_MIDDLE)
    has_led = False

    for seed in range(50):
        document = middles.encode_infilling(tokenizer, random.Random(seed), PYTHON_FILE)
        row = windows.Row()
        row.add(document, 4000)
        heavy = [id for id, w in zip(row.targets, row.weights, strict=True) if w > 1]
        behind = document.ids[document.ids.index(mark) + 1 :]
        assert heavy == behind[-document.num_wanted :]
        assert heavy[-1] == vocabulary.token_id(tokenizer, vocabulary.END_OF_TEXT)
        has_led |= len(behind) > len(heavy)  # lines before the middle, behind its mark

    assert has_led


def test_a_body_ends_where_its_indent_ends() -> None:
    assert bodies.block("    return 1\n\n\ndef next", is_whole=True) == "    return 1\n"
    assert bodies.block("    return 1\n    retur", is_whole=False) == "    return 1\n"
    assert bodies.has_left("    return 1\n\n\ndef next():\n    ret")
    assert not bodies.has_left('    """Two paragraphs.\n\n    The sec')
    assert bodies.is_beginning('def f():\n    """Open')
    assert not bodies.is_beginning("def f():\n    return )\n    x = (")


def test_pass_at_k_is_the_unbiased_estimator() -> None:
    for needed in ("torch", "tokenizers", "xllamacpp"):
        pytest.importorskip(needed, reason=f"{needed} is not installed")
    from starter import measure

    assert measure.pass_at(10, 0, 10) == 0
    assert measure.pass_at(10, 1, 10) == 1
    assert measure.pass_at(10, 3, 1) == pytest.approx(0.3)


def test_a_corpus_travels_in_one_file(tmp_path: Path) -> None:
    texts = ("x = 1\n" * 100, "名字 = '\u2028'\n" * 100)
    files = tuple(source_file(f"{i}.py", text) for i, text in enumerate(texts))
    found = corpus.Corpus(files, (), (corpus.PackageRecord("example", "1.0", "MIT"),))

    corpus.write_packed(found, tmp_path / "corpus.jsonl.xz")

    assert corpus.read_packed(tmp_path / "corpus.jsonl.xz") == found


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"not packed", "Input format not supported"),
        (lzma.compress(b"{"), "Expecting property name"),
        (lzma.compress(b'[{"colour": 1}]\n'), "unexpected keyword"),
        (lzma.compress(b"[]\n")[:-10], "ended before"),
    ],
    ids=("missing", "not packed", "no JSON", "other fields", "cut off"),
)
def test_what_is_no_packed_corpus_is_refused(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "corpus.jsonl.xz"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(corpus.CorpusError, match=f"{re.escape(str(path))} cannot be read.*{said}"):
        corpus.read_packed(path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "--corpus", "{empty}"), "the corpus is empty"),
        (("train", "--corpus", "{nothing}"), "cannot be read as a packed corpus"),
        (("train", "--recipe", "teaching"), "name --earlier"),
        (("train", "--recipe", "teaching", "--earlier", "{nothing}"), "there is nothing at"),
        (("export",), "checkpoint.pt"),
        (("verify",), "there is no GGUF file at"),
    ],
)
def test_a_step_that_lacks_something_says_what(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    for needed in ("torch", "gguf", "tokenizers"):
        pytest.importorskip(needed, reason=f"{needed} is not installed")
    corpus.write_packed(corpus.Corpus((), (), ()), tmp_path / "empty.xz")
    places = {"empty": tmp_path / "empty.xz", "nothing": tmp_path / "nothing"}
    script = ROOT / "scripts" / "train_starter.py"

    done = subprocess.run(
        [
            *(sys.executable, script, "--out", tmp_path / "out"),
            *(part.format_map(places) for part in arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_no_large_package_is_most_of_what_is_learnt() -> None:
    files = [source_file(f"{i}.py") for i in range(10)]
    size = files[0].num_bytes

    kept = list(corpus.capped(files, 3 * size))

    assert len(kept) == 3
    assert kept == list(corpus.capped(reversed(files), 3 * size))


def test_every_package_for_a_gpu_is_named_with_its_version() -> None:
    names = corpus.gpu_packages()

    assert len(names) > 500
    assert not set(names) & {*corpus.TEACHING_PACKAGES, *corpus.LIBRARY_PACKAGES}


def test_muon_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from starter.muon import Muon

    torch.manual_seed(0)
    start = [torch.randn(64, 32), torch.randn(32, 64), torch.randn(64, 64), torch.randn(64, 32)]
    ours, theirs = ([torch.nn.Parameter(matrix.clone()) for matrix in start] for _ in range(2))
    optimisers = (
        Muon(ours, lr=0.01, weight_decay=0.1),
        torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )

    for _ in range(5):
        for our, their in zip(ours, theirs, strict=True):
            our.grad = torch.randn_like(our)
            their.grad = our.grad.clone()
        for optimiser in optimisers:
            optimiser.step()

    for our, their, matrix in zip(ours, theirs, start, strict=True):
        moved = (their.detach() - matrix).abs().max()
        assert (our - their).abs().max() < 0.05 * moved  # bf16, in another order


def test_what_models_are_measured_on_was_not_shown_to_the_starter() -> None:
    for module in texts._MODULES:
        shown = corpus.SourceFile("python", f"{module}.py", "stdlib", "")
        assert corpus.is_held_out(shown), module
    assert not set(texts._MODULES) & set(texts._CALIBRATION_MODULES)
