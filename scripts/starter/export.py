"""Weights out: a Q8_0 GGUF file for llama.cpp and a folder for transformers and vLLM."""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from . import tokenizer as vocabulary
from .network import Network, Shape, num_parameters

NAME = "CodeHearth Starter"
LICENCE = "MIT"
DESCRIPTION = (
    "A very small Python model that recalls what it was taught, for trying CodeHearth out. "
    "Made by scripts/train_starter.py of CodeHearth."
)
# Hugging Face's name within a layer -> llama.cpp's
LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTER_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


def gguf_name(name: str) -> str:
    """model.layers.3.mlp.up_proj.weight -> blk.3.ffn_up.weight"""
    module, _, kind = name.rpartition(".")
    if module in OUTER_NAMES:
        return f"{OUTER_NAMES[module]}.{kind}"
    _, _, layer, inner = module.split(".", 3)
    return f"blk.{layer}.{LAYER_NAMES[inner]}.{kind}"


def write_gguf(network: Network, tokenizer: Tokenizer, path: Path) -> None:
    """Matrices in Q8_0, norms and biases in F32."""
    writer = gguf.GGUFWriter(path, "qwen2")
    _add_facts(writer, network)
    _add_tokenizer(writer, tokenizer)
    for name, tensor in network.state_dict().items():
        values = tensor.float().numpy()
        if values.ndim < 2:
            writer.add_tensor(gguf_name(name), values)
            continue
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(gguf_name(name), gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def shape_of(reader: gguf.GGUFReader) -> Shape:
    """The sizes that a file's facts say."""

    def fact(key: str) -> int:
        field = reader.get_field(f"qwen2.{key}")
        assert field is not None, key
        return int(field.contents())

    return Shape(
        vocabulary=fact("vocab_size"),
        hidden=fact("embedding_length"),
        layers=fact("block_count"),
        feed_forward=fact("feed_forward_length"),
        heads=fact("attention.head_count"),
        kv_heads=fact("attention.head_count_kv"),
        context=fact("context_length"),
    )


def read_gguf(path: Path) -> tuple[Network, Tokenizer]:
    """The network with its weights as the file has them, dequantised, and its tokenizer."""
    reader = gguf.GGUFReader(path)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    network = Network(shape_of(reader))
    state: dict[str, Tensor] = {}
    for name in network.state_dict():
        tensor = tensors[gguf_name(name)]
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        state[name] = torch.from_numpy(np.array(values, dtype=np.float32))
    network.load_state_dict(state)
    network.eval()
    lists = [reader.get_field(f"tokenizer.ggml.{key}") for key in ("tokens", "merges")]
    tokens, merges = (list(found.contents()) if found else [] for found in lists)
    return network, vocabulary.tokenizer_from_pieces(tokens, merges)


def write_hugging_face(network: Network, tokenizer: Tokenizer, folder: Path) -> None:
    """bf16 weights with the configuration that transformers and vLLM read."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: tensor.to(torch.bfloat16).contiguous()
        for name, tensor in network.state_dict().items()
    }
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, content in _configurations(network.shape, tokenizer).items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _add_facts(writer: gguf.GGUFWriter, network: Network) -> None:
    shape = network.shape
    writer.add_name(NAME)
    writer.add_description(DESCRIPTION)
    writer.add_license(LICENCE)
    writer.add_size_label(f"{num_parameters(network) / 1e6:.1f}M")
    writer.add_languages(["en", "zh"])
    writer.add_tags(["code", "python"])
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_size)
    writer.add_value_length(shape.head_size)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    by_id = {index: token for token, index in tokenizer.get_vocab(with_added_tokens=True).items()}
    tokens = [by_id[index] for index in range(len(by_id))]
    special = set(vocabulary.SPECIAL_TOKENS)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens]
    )
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])

    def index(token: str) -> int:
        return vocabulary.token_id(tokenizer, token)

    writer.add_bos_token_id(index(vocabulary.END_OF_TEXT))
    writer.add_eos_token_id(index(vocabulary.IM_END))
    writer.add_eot_token_id(index(vocabulary.END_OF_TEXT))
    writer.add_pad_token_id(index(vocabulary.END_OF_TEXT))
    writer.add_add_bos_token(False)
    writer.add_uint32("tokenizer.ggml.fim_pre_token_id", index(vocabulary.FIM_PREFIX))
    writer.add_uint32("tokenizer.ggml.fim_suf_token_id", index(vocabulary.FIM_SUFFIX))
    writer.add_uint32("tokenizer.ggml.fim_mid_token_id", index(vocabulary.FIM_MIDDLE))
    writer.add_uint32("tokenizer.ggml.fim_pad_token_id", index(vocabulary.FIM_PAD))
    writer.add_uint32("tokenizer.ggml.fim_rep_token_id", index(vocabulary.REPO_NAME))
    writer.add_uint32("tokenizer.ggml.fim_sep_token_id", index(vocabulary.FILE_SEPARATOR))
    writer.add_chat_template(vocabulary.CHAT_TEMPLATE)


def _configurations(shape: Shape, tokenizer: Tokenizer) -> dict[str, dict[str, object]]:
    def index(token: str) -> int:
        return vocabulary.token_id(tokenizer, token)

    end_of_text, im_end = index(vocabulary.END_OF_TEXT), index(vocabulary.IM_END)
    return {
        "config.json": {
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            "vocab_size": shape.vocabulary,
            "hidden_size": shape.hidden,
            "intermediate_size": shape.feed_forward,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "max_position_embeddings": shape.context,
            "rope_theta": shape.rope_theta,
            "rms_norm_eps": shape.norm_epsilon,
            "hidden_act": "silu",
            "tie_word_embeddings": False,
            "use_sliding_window": False,
            "bos_token_id": end_of_text,
            "eos_token_id": im_end,
            "torch_dtype": "bfloat16",
        },
        "generation_config.json": {
            "bos_token_id": end_of_text,
            "pad_token_id": end_of_text,
            "eos_token_id": [im_end, end_of_text],
            "do_sample": False,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "eos_token": vocabulary.IM_END,
            "pad_token": vocabulary.END_OF_TEXT,
            "model_max_length": shape.context,
            "chat_template": vocabulary.CHAT_TEMPLATE,
        },
    }
