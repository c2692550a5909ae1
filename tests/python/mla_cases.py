"""Inputs, runs and checks of torch.ops.ascend_prefetch.mla_prolog that its tests share.

Inputs are random anew in every test run. The seed is printed with each case; to repeat a failure,
set ASCEND_PREFETCH_SEED to it.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ascend_prefetch import reference
from ascend_prefetch.models import ModelDimensions, get_model
from ascend_prefetch.packing import nd_to_nz

SEED = int(os.environ.get("ASCEND_PREFETCH_SEED") or random.SystemRandom().getrandbits(32))
ROPE = 64
WEIGHTS = ("qkv_a_weight", "q_b_weight", "w_uk")
OUTPUTS = ("q_nope", "q_rope", "q_c", "kv_cache", "rope_cache")

# Norm-wise relative error of each output and cache against float64 on the same inputs.
BOUNDS = {torch.bfloat16: 4e-3, torch.float16: 1e-3}
# A row (one token, one head) has few elements, so its own error scatters: over 80,000 rows of 64
# elements, rounded to bf16 as often as the op rounds q_rope, the worst is 6e-3. One wrong element
# in a row of 512 is an error of about 6e-2.
ROW_FACTOR = 5
# Token-head pairs that the norm-wise error is taken over, in several runs if need be: with fewer
# elements it scatters beyond the bound although every element is rounded as it should.
FEWEST_PAIRS = 8

# The models with a query latent, each set of dimensions once: deepseek-v3.2 has deepseek-v3's.
MODEL_NAMES = ("deepseek-v3", "kimi-k2", "longcat-flash", "glm-4-moe-lite", "glm-5")


@dataclass(frozen=True)
class MlaCase:
    """One call of the op: sizes, formats and options. Sizes count elements."""

    tokens: int
    hidden: int = 512
    q_lora: int = 192
    kv_lora: int = 128
    nope: int = 64
    heads: int = 3
    dtype: torch.dtype = torch.bfloat16
    nz: tuple[str, ...] = ()  # weights in FRACTAL_NZ
    rope_interleaved: bool = True
    table_dtype: torch.dtype | None = torch.float32  # of cos and sin; None: that of activations
    eps: float = 1e-6
    hidden_scale: float = 1.0
    bias: bool = False
    slot_dtype: torch.dtype = torch.int64
    skip: float = 0.0  # share of the tokens with slot -1
    block_size: int = 16
    cache_gap: int = 0  # elements between a cache block and the next


def model_case(name: str, tp: int, tokens: int, **options) -> MlaCase:
    """The case of one tensor-parallel rank of a model."""
    dims: ModelDimensions = get_model(name)
    assert dims.q_lora_rank is not None and dims.qk_rope_head_dim == ROPE
    return MlaCase(
        tokens,
        hidden=dims.hidden_size,
        q_lora=dims.q_lora_rank,
        kv_lora=dims.kv_lora_rank,
        nope=dims.qk_nope_head_dim,
        heads=dims.heads_per_rank(tp),
        eps=dims.rms_norm_eps,
        rope_interleaved=dims.rope_interleaved,
        **options,
    )


def model_ranks(degrees: tuple[int, ...]) -> list[tuple[str, int]]:
    """(model, tensor-parallel degree) wherever the heads can be split that way."""
    return [
        (name, tp) for name in MODEL_NAMES for tp in degrees if not get_model(name).num_heads % tp
    ]


class MlaInputs:
    """The tensors of a case.

    Attributes:
        nd: arguments as the reference takes them: weights row-major.
        arguments: keyword arguments of the op, caches excluded.
        slots: [T], int64.
    """

    def __init__(self, case: MlaCase, seed: int = SEED) -> None:
        print(f"ASCEND_PREFETCH_SEED={seed} {case}")  # pytest shows it if the test fails
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int, mean: float = 0.0, std: float = 1.0) -> torch.Tensor:
            return torch.empty(shape, dtype=case.dtype).normal_(mean, std, generator=generator)

        def norm_weight(size: int) -> torch.Tensor:
            return normal(size, mean=1.0, std=0.25)

        rows = case.q_lora + case.kv_lora + ROPE
        self.case = case
        self.nd = {
            "hidden_states": normal(case.tokens, case.hidden, std=case.hidden_scale),
            "qkv_a_weight": normal(rows, case.hidden, std=case.hidden**-0.5),
            "q_a_norm_weight": norm_weight(case.q_lora),
            "q_b_weight": normal(
                case.heads * (case.nope + ROPE), case.q_lora, std=case.q_lora**-0.5
            ),
            "w_uk": normal(case.heads, case.nope, case.kv_lora, std=case.nope**-0.5),
            "kv_a_norm_weight": norm_weight(case.kv_lora),
        }
        # Independent elements: the halves of a row differ, and so would a table read in the wrong
        # order.
        for name in ("cos", "sin"):
            table = torch.randn(case.tokens, ROPE, generator=generator)
            self.nd[name] = table.to(case.table_dtype or case.dtype)
        self.nd["q_a_norm_bias"] = normal(case.q_lora) if case.bias else None

        self.blocks = case.tokens * 5 // 4 // case.block_size + 2
        slots = torch.randperm(self.blocks * case.block_size, generator=generator)[: case.tokens]
        skipped = torch.rand(case.tokens, generator=generator) < case.skip
        self.slots = slots.masked_fill(skipped, -1)

        packed = {name: nd_to_nz(self.nd[name]) for name in case.nz}
        self.arguments = {
            **self.nd,
            **packed,
            "slot_mapping": self.slots.to(case.slot_dtype),
            "eps": case.eps,
            "rope_interleaved": case.rope_interleaved,
        }
        self._poison = [self._poisoned_storage(width, generator) for width in (case.kv_lora, ROPE)]

    def _poisoned_storage(self, width: int, generator: torch.Generator) -> torch.Tensor:
        """[blocks, elements of a block and the gap behind it], NaNs of random sign and payload."""
        mantissa_bits = {torch.bfloat16: 7, torch.float16: 10}[self.case.dtype]
        exponent = 0x7FFF >> mantissa_bits << mantissa_bits
        shape = (self.blocks, self.case.block_size * width + self.case.cache_gap)
        payload = torch.randint(1, 1 << mantissa_bits, shape, generator=generator)
        sign = torch.randint(-1, 1, shape, generator=generator) * 0x8000
        return (sign + exponent + payload).to(torch.int16).view(self.case.dtype)

    def poisoned_caches(self) -> tuple[MlaCache, MlaCache]:
        """New caches full of NaN, the same ones every time."""
        kv_storage, rope_storage = self._poison
        return (
            MlaCache(kv_storage.clone(), self.case.block_size, self.case.kv_lora, self.slots),
            MlaCache(rope_storage.clone(), self.case.block_size, ROPE, self.slots),
        )


class MlaCache:
    """A paged cache [blocks, block size, 1, width] in its storage, which has gaps between blocks.

    Attributes:
        storage: [blocks, elements of a block and the gap behind it].
        tensor: the cache itself, a view.
    """

    def __init__(
        self, storage: torch.Tensor, block_size: int, width: int, slots: torch.Tensor
    ) -> None:
        self.storage = storage
        self.tensor = storage[:, : block_size * width].unflatten(1, (block_size, 1, width))
        slots = slots[slots >= 0]
        self._addressed = (slots // block_size, slots % block_size, 0)

    def written(self) -> torch.Tensor:
        """[tokens that have a slot, width]: the rows the slot mapping addresses."""
        return self.tensor[self._addressed]

    def assert_only_slots_changed(self, before: MlaCache) -> None:
        """Everything but the addressed rows has the bits of `before`, gaps included.

        The addressed rows of `before` are overwritten.
        """
        before.tensor[self._addressed] = self.written()
        assert same_bits(self.storage, before.storage)


@dataclass(frozen=True)
class MlaResult:
    """What a run left behind: the op's outputs and both caches."""

    outputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    kv_cache: MlaCache
    rope_cache: MlaCache

    def tensors(self) -> dict[str, torch.Tensor]:
        """Outputs and addressed cache rows by name."""
        values = (*self.outputs, self.kv_cache.written(), self.rope_cache.written())
        return dict(zip(OUTPUTS, values, strict=True))

    def assert_same(self, other: MlaResult) -> None:
        """Bit for bit the same result."""
        for name, tensor in self.tensors().items():
            assert same_bits(tensor, other.tensors()[name]), name


def same_bits(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two tensors are equal bit for bit, NaN payloads and signs of zero included."""
    first, second = first.contiguous().flatten(), second.contiguous().flatten()
    return first.dtype == second.dtype and torch.equal(
        first.view(torch.uint8), second.view(torch.uint8)
    )


@contextlib.contextmanager
def poisoned_memory() -> Iterator[None]:
    """Fresh tensors hold NaN, or all ones where they hold bytes: the op's outputs and workspace."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(64, dtype=torch.bfloat16).isnan().all()
        assert torch.empty(64, dtype=torch.uint8).view(torch.float32).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread: for small tensors more of them wait longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def run(inputs: MlaInputs, **prefetch) -> MlaResult:
    """Runs the op with outputs, workspace and caches full of NaN; nothing else may change."""
    before = {k: v.clone() for k, v in inputs.arguments.items() if isinstance(v, torch.Tensor)}
    poison = inputs.poisoned_caches()
    kv_cache, rope_cache = inputs.poisoned_caches()
    with poisoned_memory():
        outputs = torch.ops.ascend_prefetch.mla_prolog(
            **inputs.arguments, kv_cache=kv_cache.tensor, rope_cache=rope_cache.tensor, **prefetch
        )[:3]
    for name, tensor in before.items():
        assert same_bits(inputs.arguments[name], tensor), f"{name} changed"
    kv_cache.assert_only_slots_changed(poison[0])
    rope_cache.assert_only_slots_changed(poison[1])
    case = inputs.case
    shapes = [(case.heads, case.kv_lora), (case.heads, ROPE), (case.q_lora,)]
    for output, shape in zip(outputs, shapes, strict=True):
        assert output.shape == (case.tokens, *shape)
        assert output.dtype == case.dtype
        assert output.is_contiguous()
    return MlaResult(tuple(outputs), kv_cache, rope_cache)


def expected_tensors(inputs: MlaInputs) -> dict[str, torch.Tensor]:
    """The float64 results that MlaResult.tensors() is held against."""
    expected = reference.mla_prolog(
        **inputs.nd, eps=inputs.case.eps, rope_interleaved=inputs.case.rope_interleaved
    )
    written = inputs.slots >= 0
    return {
        "q_nope": expected.q_nope,
        "q_rope": expected.q_rope,
        "q_c": expected.q_c,
        "kv_cache": expected.kv_c[written],
        "rope_cache": expected.k_rope[written],
    }


@one_thread()
def check_values(case: MlaCase, seed: int = SEED, **prefetch) -> None:
    """Runs the case on random inputs and holds every output against the float64 reference."""
    actual: dict[str, list[torch.Tensor]] = {name: [] for name in OUTPUTS}
    expected: dict[str, list[torch.Tensor]] = {name: [] for name in OUTPUTS}
    for repeat in range(-(-FEWEST_PAIRS // (case.tokens * case.heads))):
        inputs = MlaInputs(case, seed + repeat)
        for name, tensor in run(inputs, **prefetch).tensors().items():
            actual[name].append(tensor)
        for name, tensor in expected_tensors(inputs).items():
            expected[name].append(tensor)
    for name in OUTPUTS:
        check_output(name, torch.cat(actual[name]), torch.cat(expected[name]))


def check_output(name: str, actual: torch.Tensor, expected: torch.Tensor) -> None:
    """Norm-wise error of the whole output and of each of its rows."""
    bound = BOUNDS[actual.dtype]
    error = reference.relative_error(actual, expected)
    assert error <= bound, f"{name}: relative error {error:.2e}, allowed {bound:.0e}"
    norms = torch.linalg.vector_norm(expected, dim=-1)
    errors = torch.linalg.vector_norm(actual.double() - expected, dim=-1) / norms
    if errors.numel():
        worst = errors.max().item()
        assert worst <= ROW_FACTOR * bound, f"{name}: a row has relative error {worst:.2e}"
