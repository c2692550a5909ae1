"""Steps of a batch through attention layers: upstream's own metadata, forward context and call."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

import environment
import formats
from double import calls
from layers import Layers


@dataclass(frozen=True)
class Scenario:
    """One step of a batch.

    Attributes:
        name: in the table.
        cached: per request, the tokens in its cache before the step.
        queries: per request, the tokens of the step; decodes come before prefills.
        padding: rows behind those of the requests, as graphs pad a batch.
        empty: requests of one padded token, without a cache and with slot -1, behind the others.
        speculative: tokens that a draft model proposes.
        strided: caches with memory of others between their blocks.
        profile: a run without metadata and without caches.
    """

    name: str
    cached: tuple[int, ...] = ()
    queries: tuple[int, ...] = ()
    padding: int = 0
    empty: int = 0
    speculative: int = 0
    strided: bool = False
    profile: bool = False

    @property
    def tokens(self) -> int:
        return sum(self.queries) + self.empty

    @property
    def rows(self) -> int:
        return self.tokens + self.padding


@dataclass
class Result:
    """What a step left behind.

    Attributes:
        outputs: of each layer, the rows of all ranks.
        caches: of each layer.
        calls: the double's.
        shares: per layer the rows of its output that this rank has.
    """

    outputs: list[torch.Tensor]
    caches: list[list[torch.Tensor]]
    calls: calls.Calls
    shares: list[int] = field(default_factory=list)


_BLOCKS = 12
_SCATTERED = (7, 2, 9, 4, 11, 0, 6, 1, 8)  # no request's blocks are neighbours


def caches_for(layers: Layers, scenario: Scenario, seed: int) -> list[list[torch.Tensor]]:
    """The memory of each layer's caches, [blocks, block, 1, D] each, with random rows.

    A layer with int8 caches gets such, with the same rows.
    Strided ones are every second block of the memory that is returned.
    """
    draw = torch.Generator().manual_seed(seed)
    c = layers.hf_config
    blocks = _BLOCKS * (2 if scenario.strided else 1)
    memory = []
    for impl, module in zip(layers.impls, layers.modules, strict=True):
        widths = [c.kv_lora_rank, c.qk_rope_head_dim]
        if module.indexer is not None:
            widths.append(c.index_head_dim)
        plain = [
            torch.randn(blocks, environment.BLOCK, 1, width, generator=draw).bfloat16()
            for width in widths
        ]
        memory.append(formats.quantised(impl, plain))
    return memory


def run(layers: Layers, scenario: Scenario, seed: int = 0) -> Result:
    """One step through all layers, each with an input of its own, so that errors do not add up."""
    draw = input_generator(seed)
    memory = caches_for(layers, scenario, seed)
    outputs, shares = [], []
    with environment.context(layers.config), torch.inference_mode():
        found = None
        if not scenario.profile:
            found = metadata(layers, common_metadata(scenario))
        for module, caches in zip(layers.modules, memory, strict=True):
            used = [cache[::2] if scenario.strided else cache for cache in caches]
            bind(module, None if scenario.profile else tuple(used))
        with forward_context(layers, scenario, found), calls.record() as recorded:
            positions = torch.zeros(_rows(scenario), dtype=torch.long)
            for module in layers.modules:
                hidden = _share(new_input(layers, scenario, draw))
                output = module.mla_attn(positions, hidden)
                shares.append(len(output))
                outputs.append(_whole(output))
    return Result(outputs, formats.readable(layers.impls, memory), recorded, shares)


@contextlib.contextmanager
def after_first_layer(layers: Layers, scenario: Scenario, seed: int = 0) -> Iterator[None]:
    """The context of a step, in which the first layer's attention has run and no other."""
    memory = caches_for(layers, scenario, seed)
    with environment.context(layers.config), torch.inference_mode():
        found = metadata(layers, common_metadata(scenario))
        for module, caches in zip(layers.modules, memory, strict=True):
            bind(module, tuple(caches))
        with forward_context(layers, scenario, found):
            positions = torch.zeros(_rows(scenario), dtype=torch.long)
            layers.modules[0].mla_attn(positions, new_input(layers, scenario))
            yield


def input_generator(seed: int) -> torch.Generator:
    """Draws the inputs of a step's layers, one after the other."""
    return torch.Generator().manual_seed(1000 + seed)


def new_input(
    layers: Layers, scenario: Scenario, draw: torch.Generator | None = None
) -> torch.Tensor:
    """Random hidden states of a layer."""
    return torch.randn(_rows(scenario), layers.hf_config.hidden_size, generator=draw).bfloat16()


def _splits() -> bool:
    """Whether hidden states are split over the ranks in this step (flash communication)."""
    from vllm_ascend.ascend_forward_context import _EXTRA_CTX

    return bool(getattr(_EXTRA_CTX, "flash_comm_v1_enabled", False))


def _share(hidden: torch.Tensor) -> torch.Tensor:
    """This rank's rows of hidden states, which are padded so that all shares are equal."""
    from vllm.distributed import get_tp_group

    if not _splits():
        return hidden
    group = get_tp_group()
    padded = torch.nn.functional.pad(hidden, (0, 0, 0, -len(hidden) % group.world_size))
    return padded.chunk(group.world_size)[group.rank_in_group].clone()


def _whole(output: torch.Tensor) -> torch.Tensor:
    """The rows of all ranks."""
    from vllm.distributed import get_tp_group

    return get_tp_group().all_gather(output, 0) if _splits() else output


def _rows(scenario: Scenario) -> int:
    return scenario.rows or 8


def forward_context(layers: Layers, scenario: Scenario, metadata: dict | None, **more):
    """Upstream's context of a step; `more` goes to set_ascend_forward_context."""
    from vllm_ascend.ascend_forward_context import set_ascend_forward_context

    return set_ascend_forward_context(
        metadata,
        layers.config,
        num_tokens=_rows(scenario),
        num_actual_tokens=scenario.tokens or _rows(scenario),
        in_profile_run=scenario.profile,
        **more,
    )


def bind(module, caches) -> None:
    """Gives a layer its caches; None as in profile runs."""
    attention = module.mla_attn.mla_attn
    if caches is None:
        caches = torch.tensor([])
    elif hasattr(attention.impl, "_compose_sfa_kv_cache"):
        of_layer = formats.caches_of_layer(attention.impl)
        if len(caches) > of_layer:  # the indexer has a cache of its own since 0.26
            attention.impl.indexer.k_cache.kv_cache = caches[of_layer:]
            caches = caches[:of_layer]
    # A list by virtual engine in the first releases.
    attention.kv_cache = [caches] if isinstance(attention.kv_cache, list) else caches


def metadata(layers: Layers, common) -> dict:
    """The metadata of every layer and indexer, by its name."""
    return {name: _build(layers, name, common) for name in layers.names}


def _build(layers: Layers, name: str, common):
    """The metadata of one layer or of its indexer's cache, by the builder of its backend."""
    if name not in layers.builders:
        owner = layers.config.compilation_config.static_forward_context[name]
        backend = owner.get_attn_backend() if name.endswith(".attn") else _indexers_backend()
        make = backend.get_builder_cls()
        spec = owner.get_kv_cache_spec(layers.config)
        layers.builders[name] = make(spec, [name], layers.config, torch.device("cpu"))
    return layers.builders[name].build(0, common)


def _indexers_backend():
    """The backend that the model runner of vLLM Ascend has for the caches of indexers."""
    from vllm_ascend.attention.indexer import AscendSFAIndexerBackend

    return AscendSFAIndexerBackend


def _placed(scenario: Scenario):
    """Per request its blocks, and per token of the step its slot and its position."""
    blocks_of, slots, positions, free = [], [], [], iter(_SCATTERED)
    for context, query in zip(scenario.cached, scenario.queries, strict=True):
        blocks = [next(free) for _ in range(-(-(context + query) // environment.BLOCK))]
        blocks_of.append(blocks)
        for position in range(context, context + query):
            block = blocks[position // environment.BLOCK]
            slots.append(block * environment.BLOCK + position % environment.BLOCK)
            positions.append(position)
    return blocks_of, slots, positions


def written_rows(scenario: Scenario) -> list[int]:
    """The slots that the step writes."""
    return [] if scenario.profile else _placed(scenario)[1]


def common_metadata(scenario: Scenario, table_width: int = 1):
    """What the metadata of all layers is built from.

    Args:
        scenario: the step.
        table_width: least number of columns of the block table.
    """
    from vllm_ascend.attention.attention_v1 import AscendAttentionState
    from vllm_ascend.attention.utils import AscendCommonAttentionMetadata

    cached = [*scenario.cached, *[0] * scenario.empty]
    queries = [*scenario.queries, *[1] * scenario.empty]
    lengths = [c + q for c, q in zip(scenario.cached, scenario.queries, strict=True)]
    lengths += [0] * scenario.empty
    starts = torch.tensor([0, *queries]).cumsum(0).int()
    blocks_of, slots, positions = _placed(scenario)
    blocks_of += [[]] * scenario.empty
    slots += [-1] * (scenario.empty + scenario.padding)
    positions += [0] * (scenario.empty + scenario.padding)
    width = max(table_width, *(len(blocks) for blocks in blocks_of))
    table = torch.tensor([[*blocks, *[0] * (width - len(blocks))] for blocks in blocks_of])
    prefills = [q for q, c in zip(scenario.queries, scenario.cached, strict=True) if c == 0]
    state = AscendAttentionState.DecodeOnly
    if scenario.speculative:
        state = AscendAttentionState.SpecDecoding
    if prefills:
        state = AscendAttentionState.ChunkedPrefill
        if len(prefills) == len(scenario.queries):
            state = AscendAttentionState.PrefillNoCache
    slots = torch.tensor(slots, dtype=torch.int32)
    values = dict(
        query_start_loc=starts,
        query_start_loc_cpu=starts,
        seq_lens=torch.tensor(lengths, dtype=torch.int32),
        seq_lens_cpu=torch.tensor(lengths, dtype=torch.int32),
        _seq_lens_cpu=torch.tensor(lengths, dtype=torch.int32),
        num_reqs=len(queries),
        num_actual_tokens=scenario.tokens,
        num_input_tokens=scenario.rows,
        max_query_len=max(queries),
        max_seq_len=max(lengths),
        block_table_tensor=table.int(),
        slot_mapping=slots,
        num_computed_tokens_cpu=torch.tensor(cached),
        decode_token_per_req=1 + scenario.speculative,
        actual_seq_lengths_q=starts[1:].tolist(),
        positions=torch.tensor(positions),
        attn_state=state,
        causal=True,
        **{
            f"group_{part}": torch.zeros_like(slots) for part in ("len", "key_idx", "key_cache_idx")
        },
    )
    names = {field.name for field in dataclasses.fields(AscendCommonAttentionMetadata)}
    return AscendCommonAttentionMetadata(**{k: v for k, v in values.items() if k in names})
