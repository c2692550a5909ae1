"""The formats of a layer's caches: int8 ones made from rows in bfloat16, and read back."""

from __future__ import annotations

import torch

from double import int8_caches

_ROPE = 64
_WIDTHS = (512, 64, 128)  # of rows that are not packed: latents, rope keys, the indexer's keys


def _packs(impl) -> bool:
    return getattr(impl, "enable_sparse_sfa_c8", False)


def _quantises_keys(impl) -> bool:
    switches = ("enable_sparse_li_c8", "use_sparse_c8_indexer")
    module = getattr(impl, "indexer", None)
    owners = (impl, getattr(module, "impl", None))  # the latter since 0.28
    return any(getattr(owner, switch, False) for owner in owners for switch in switches)


def caches_of_layer(impl) -> int:
    """How many caches an attention layer has, beside those of its indexer."""
    return 1 if _packs(impl) else 2


def quantised(impl, plain: list[torch.Tensor]) -> list[torch.Tensor]:
    """A layer's caches, from its latents, rope keys and keys of an indexer in bfloat16."""
    latent, rope, *keys = plain
    if getattr(impl, "fa_quant_layer", False):
        latent = (latent.float() / impl.fak_descale_float).round().clamp(-128, 127)
        return [_fractals(latent.to(torch.int8)), _fractals(rope)]
    caches = [int8_caches.pack(latent, rope)] if _packs(impl) else [latent, rope]
    for key in keys:
        if _quantises_keys(impl):
            scale = (key.float().abs().amax(-1, keepdim=True) / 127).half()
            caches += [(key / scale).round().clamp(-127, 127).to(torch.int8), scale]
        else:
            caches.append(key)
    return caches


def readable(impls, memory: list[list[torch.Tensor]]) -> list[list[torch.Tensor]]:
    """Caches by layer, row-major where they are in FRACTAL_NZ behind a row-major shape."""
    return [
        [_of_fractals(cache) for cache in caches]
        if getattr(impl, "fa_quant_layer", False)
        else caches
        for impl, caches in zip(impls, memory, strict=True)
    ]


def _fractals(cache: torch.Tensor) -> torch.Tensor:
    blocks, size, _, width = cache.shape
    c0 = 32 // cache.element_size()
    rows = cache.view(blocks, size, width // c0, c0)
    return rows.transpose(1, 2).contiguous().view(cache.shape)


def _of_fractals(cache: torch.Tensor) -> torch.Tensor:
    blocks, size, _, width = cache.shape
    c0 = 32 // cache.element_size()
    return cache.view(blocks, width // c0, size, c0).transpose(1, 2).reshape(cache.shape)


def parts(rows: torch.Tensor) -> list[torch.Tensor]:
    """Rows of a cache, [T, D], as tensors of numbers: two where they are packed."""
    if rows.dtype is torch.int8 and rows.shape[-1] not in _WIDTHS:
        return list(int8_caches.unpack(rows, _ROPE))
    return [rows]
