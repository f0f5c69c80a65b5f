"""The network: Qwen2's decoder in plain torch, small enough to read in one sitting.

Weights carry Hugging Face's names, so that `export` only renames and never reshapes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention


@dataclass(frozen=True)
class Shape:
    """The sizes that make one network; the defaults are the shipped model's."""

    vocabulary: int = 8192
    hidden: int = 512
    layers: int = 8
    feed_forward: int = 1536
    heads: int = 8
    kv_heads: int = 4
    head_size: int = 64
    context: int = 4096
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-6


@dataclass
class Cache:
    """Keys and values of the tokens so far, one pair a layer: (1, kv_heads, T, head_size)."""

    layers: list[tuple[Tensor, Tensor]]


class Norm(nn.Module):
    """Root-mean-square norm (Zhang and Sennrich 2019)."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x.float(), x.shape[-1:], self.weight, self.epsilon)


class Attention(nn.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.q_proj = nn.Linear(shape.hidden, shape.heads * shape.head_size)
        self.k_proj = nn.Linear(shape.hidden, shape.kv_heads * shape.head_size)
        self.v_proj = nn.Linear(shape.hidden, shape.kv_heads * shape.head_size)
        self.o_proj = nn.Linear(shape.heads * shape.head_size, shape.hidden, bias=False)

    def forward(
        self,
        x: Tensor,  # (B, T, hidden)
        rotation: tuple[Tensor, Tensor],  # cos and sin, each (T, head_size)
        visible: Tensor | BlockMask,  # (B or 1, 1, T, S), True where a token may look
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        batch, length, _ = x.shape
        size = self.shape.head_size
        q = self.q_proj(x).view(batch, length, -1, size).transpose(1, 2)
        k = self.k_proj(x).view(batch, length, -1, size).transpose(1, 2)
        v = self.v_proj(x).view(batch, length, -1, size).transpose(1, 2)
        q, k = rotate(q, rotation), rotate(k, rotation)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        mixed = attend(q, k, v, visible)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1)), (k, v)


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.down_proj = nn.Linear(shape.feed_forward, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = Norm(shape.hidden, shape.norm_epsilon)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = Norm(shape.hidden, shape.norm_epsilon)
        self.mlp = FeedForward(shape)

    def forward(
        self,
        x: Tensor,
        rotation: tuple[Tensor, Tensor],
        visible: Tensor | BlockMask,
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        attended, kept = self.self_attn(self.input_layernorm(x), rotation, visible, past)
        x = x + attended
        return x + self.mlp(self.post_attention_layernorm(x)), kept


class Decoder(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.hidden, shape.norm_epsilon)


class Network(nn.Module):
    """A causal language model: token ids in, logits of the next token out."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Decoder(shape)
        self.lm_head = nn.Linear(shape.hidden, shape.vocabulary, bias=False)

    def forward(self, ids: Tensor, visible: Tensor | BlockMask | None = None) -> Tensor:
        """Logits (B, T, vocabulary) of ids (B, T); a token sees all before it, or `visible`."""
        length = ids.shape[1]
        if visible is None:
            visible = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
            visible = visible[None, None]
        x = self.model.embed_tokens(ids)
        rotation = rotations(self.shape, 0, length, ids.device)
        for layer in self.model.layers:
            x, _ = layer(x, rotation, visible, None)
        logits: Tensor = self.lm_head(self.model.norm(x))
        return logits

    def continue_from(self, ids: Tensor, cache: Cache) -> Tensor:
        """Logits (T, vocabulary) of ids (T,) after the cached tokens; the cache grows by them."""
        start = cache.layers[0][0].shape[2] if cache.layers else 0
        length = ids.shape[0]
        visible = torch.ones(length, start + length, dtype=torch.bool).tril(start)[None, None]
        x = self.model.embed_tokens(ids[None])
        rotation = rotations(self.shape, start, length, ids.device)
        grown = []
        for index, layer in enumerate(self.model.layers):
            past = cache.layers[index] if cache.layers else None
            x, kept = layer(x, rotation, visible, past)
            grown.append(kept)
        cache.layers = grown
        logits: Tensor = self.lm_head(self.model.norm(x))[0]
        return logits


def attend(q: Tensor, k: Tensor, v: Tensor, visible: Tensor | BlockMask) -> Tensor:
    """Values (B, heads, T, head_size) mixed by attention.

    Written out it is the fastest at short windows on a CPU; a GPU gets a kernel that skips what a
    token may not see (Dong 2024, arXiv 2412.05496).
    """
    if isinstance(visible, BlockMask):
        mixed = flex_attention(q, k, v, block_mask=visible, enable_gqa=True)
        assert isinstance(mixed, Tensor)
        return mixed
    groups = q.shape[1] // k.shape[1]
    keys, values = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = (q @ keys.transpose(-1, -2)) * q.shape[-1] ** -0.5
    scores = scores.masked_fill(~visible, -3e4)
    return torch.softmax(scores, dim=-1).to(values.dtype) @ values


def within_segments(segments: Tensor) -> Tensor | BlockMask:
    """What each token of segments (B, T) may look at: those before it in its own segment."""
    batch, length = segments.shape
    if segments.device.type == "cuda":

        def may_look(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return (q >= k) & (segments[b, q] == segments[b, k])

        return _block_mask_maker()(may_look, batch, None, length, length, device=segments.device)
    visible = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    return visible & (segments[:, None, :, None] == segments[:, None, None, :])


@cache
def _block_mask_maker() -> Callable[..., BlockMask]:
    """Uncompiled, it would look at every pair of tokens of the batch in memory."""
    return torch.compile(create_block_mask, dynamic=False)


def rotations(shape: Shape, start: int, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """cos and sin of the rotary angles, halves repeated as Qwen2 has them."""
    steps = torch.arange(0, shape.head_size, 2, device=device).float() / shape.head_size
    positions = torch.arange(start, start + length, device=device).float()
    angles = torch.outer(positions, shape.rope_theta**-steps)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = (part.to(x.dtype) for part in rotation)
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-right, left], dim=-1) * sin


def initialise(network: Network, seed: int) -> None:
    """Normal weights by fan-in; the matrices that write to the residual start small (GPT-2)."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if parameter.ndim < 2:
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            continue
        scale = parameter.shape[1] ** -0.5
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            scale *= (2 * network.shape.layers) ** -0.5
        if "embed_tokens" in name or "lm_head" in name:
            scale = 0.02
        nn.init.normal_(parameter, std=scale, generator=generator)


def num_parameters(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
