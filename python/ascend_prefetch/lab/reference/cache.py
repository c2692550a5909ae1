"""Paged caches in the layouts of the ops: row-major, joint or FRACTAL_NZ."""

from __future__ import annotations

import torch

from ._tensors import check_rank, check_shape

# Elements of a strip: 32 bytes.
_STRIP = {torch.bfloat16: 16, torch.float16: 16, torch.int8: 32}


def write_paged_cache(cache: torch.Tensor, rows: torch.Tensor, slot_mapping: torch.Tensor) -> None:
    """Writes one row per token into a paged cache, in place and rounded to the cache's dtype.

    A joint cache takes the rows of both parts side by side.

    Args:
        cache: [blocks, block_size, 1, dim], or FRACTAL_NZ [blocks, dim / C0, block_size, C0] with
            C0 16, or 32 for int8; any strides.
        rows: [T, dim]; int8 for an int8 cache.
        slot_mapping: [T], integer; slot s is row s % block_size of block s // block_size, and
            tokens with slot -1 are skipped. Other slots must be distinct.

    Raises:
        ValueError: a shape or dtype does not match or a slot is out of range; the cache is then
            untouched.
    """
    view = _blocks_and_rows(cache)
    if cache.dtype == torch.int8 and rows.dtype != torch.int8:
        raise ValueError(f"rows: expected torch.int8 for an int8 cache, got {rows.dtype}")
    check_rank("slot_mapping", slot_mapping, 1)
    check_shape("rows", rows, (slot_mapping.shape[0], view.shape[2] * view.shape[3]))
    slots = _checked_slots(slot_mapping, view)
    written = slots >= 0
    block, row = _addresses(slots[written], view)
    view[block, row] = rows[written].to(cache.dtype).unflatten(1, view.shape[2:])


def read_paged_cache(cache: torch.Tensor, slot_mapping: torch.Tensor) -> torch.Tensor:
    """The rows at the slots of slot_mapping, without slot -1: [tokens with a slot, dim].

    Args:
        cache: as for write_paged_cache.
        slot_mapping: as for write_paged_cache.

    Raises:
        ValueError: a shape does not match or a slot is out of range.
    """
    view = _blocks_and_rows(cache)
    check_rank("slot_mapping", slot_mapping, 1)
    slots = _checked_slots(slot_mapping, view)
    return view[_addresses(slots[slots >= 0], view)].flatten(1)


def _blocks_and_rows(cache: torch.Tensor) -> torch.Tensor:
    """A view [blocks, block_size, strips, elements of a strip]; one strip if row-major."""
    check_rank("cache", cache, 4)
    if cache.shape[-1] == _STRIP.get(cache.dtype):
        return cache.transpose(1, 2)
    check_shape("cache", cache, (*cache.shape[:2], 1, cache.shape[3]))
    return cache


def _checked_slots(slot_mapping: torch.Tensor, view: torch.Tensor) -> torch.Tensor:
    slots = slot_mapping.long()
    size = view.shape[0] * view.shape[1]
    wrong = slots[(slots < -1) | (slots >= size)]
    if wrong.numel():
        raise ValueError(
            f"slot_mapping: expected slots from -1 to {size - 1}, got {wrong[0].item()}"
        )
    return slots


def _addresses(slots: torch.Tensor, view: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return slots // view.shape[1], slots % view.shape[1]
