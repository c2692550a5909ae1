"""Inputs, runs and checks of torch.ops.ascend_prefetch.mla_prolog that its tests share.

sfa_cases.py adds the indexer of sfa_prolog to the same classes.

Inputs are random anew in every test run. The seed is printed with each case; to repeat a failure,
set ASCEND_PREFETCH_SEED to it.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from ascend_prefetch.lab import reference, twin
from ascend_prefetch.models import ModelDimensions, get_model
from ascend_prefetch.packing import nd_to_nz

SEED = int(os.environ.get("ASCEND_PREFETCH_SEED") or random.SystemRandom().getrandbits(32))
ROPE = 64
WEIGHTS = ("qkv_a_weight", "q_b_weight", "w_uk")
OUTPUTS = ("q_nope", "q_rope", "q_c", "kv_cache", "rope_cache")
CHIPS = [chip["name"] for chip in twin.chips()]
DTYPES = (torch.bfloat16, torch.float16)

# Norm-wise relative error of each output and cache against float64 on the same inputs. float32
# results are sums of exact products: rounding them one by one comes to 1e-6 over 7,168 of them, to
# 4e-6 over 65,520.
BOUNDS = {torch.bfloat16: 4e-3, torch.float16: 1e-3, torch.float32: 1e-5}
# A row (one token, one head) has few elements, so its own error scatters: over 80,000 rows of 64
# elements, rounded to bf16 as often as the op rounds q_rope, the worst is 6e-3. One wrong element
# in a row of 512 is an error of about 6e-2.
ROW_FACTOR = 5
# Token-head pairs that the norm-wise error is taken over, in several runs if need be: with fewer
# elements it scatters beyond the bound although every element is rounded as it should.
FEWEST_PAIRS = 8

# int8 latents are exact but for float64 values that lie this close to a rounding tie, in steps.
TIE = 1e-4
# Error of an fp32 sum of some hundred products, and of the norm behind it, as a share of the row's
# size: ten roundings of 6e-8 and some.
FP32_SUMS = 1e-6

# The models with a query latent, each set of dimensions once: deepseek-v3.2 has deepseek-v3's.
MODEL_NAMES = ("deepseek-v3", "kimi-k2", "longcat-flash", "glm-4-moe-lite", "glm-5")


@dataclass(frozen=True)
class MlaCase:
    """One call of the op: sizes, formats and options. Sizes count elements."""

    tokens: int
    hidden: int = 512
    q_lora: int = 192  # 0: no query latent
    kv_lora: int = 128
    nope: int = 64
    heads: int = 3
    dtype: torch.dtype = torch.bfloat16
    nz: tuple[str, ...] = ()  # weights in FRACTAL_NZ
    rope_interleaved: bool = True
    table_dtype: torch.dtype | None = torch.float32  # of cos and sin; None: that of activations
    eps: float = 1e-6
    hidden_scale: float = 1.0
    bias: bool = False  # behind the norm of the query latent
    kv_bias: bool = False  # behind that of the key-value latent
    slot_dtype: torch.dtype = torch.int64
    skip: float = 0.0  # share of the tokens with slot -1
    block_size: int = 16
    blocks: int | None = None  # of each cache; None: some more than the tokens need
    cache_gap: int = 0  # elements between a cache block and the next
    cache_nz: tuple[str, ...] = ()  # caches in FRACTAL_NZ
    joint: bool = False  # no rope_cache: its rows follow the latent's
    kv_cache_scale: float | None = None  # of an int8 latent cache
    quantize_q_nope: bool = False

    @property
    def name(self) -> str:
        return f"{self.tokens}x{self.hidden}-{self.q_lora}-{self.kv_lora}-{self.nope}x{self.heads}"

    def cache_rows(self) -> dict[str, tuple[int, torch.dtype]]:
        """Width and dtype of the rows of each cache, in the order of the op's arguments."""
        if self.joint:
            return {"kv_cache": (self.kv_lora + ROPE, self.dtype)}
        latent = self.dtype if self.kv_cache_scale is None else torch.int8
        return {"kv_cache": (self.kv_lora, latent), "rope_cache": (ROPE, self.dtype)}

    def outputs(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Shape and dtype of each result of the op, in order."""
        per_head = (self.tokens, self.heads)
        q_nope = torch.int8 if self.quantize_q_nope else self.dtype
        return {
            "q_nope": ((*per_head, self.kv_lora), q_nope),
            "q_rope": ((*per_head, ROPE), self.dtype),
            "q_c": ((self.tokens, self.q_lora), self.dtype),
            "q_nope_scale": (per_head if self.quantize_q_nope else (0,), torch.float32),
        }


def model_case(name: str, tp: int, tokens: int, **options) -> MlaCase:
    """The case of one tensor-parallel rank of a model."""
    dims: ModelDimensions = get_model(name)
    assert dims.qk_rope_head_dim == ROPE
    return MlaCase(
        tokens,
        hidden=dims.hidden_size,
        q_lora=dims.q_lora_rank or 0,
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
        op: what takes them.
        nd: arguments as the reference takes them: weights row-major.
        arguments: keyword arguments of the op, caches excluded.
        slots: [T], int64.
    """

    op = torch.ops.ascend_prefetch.mla_prolog

    def __init__(self, case: MlaCase, seed: int = SEED) -> None:
        print(f"ASCEND_PREFETCH_SEED={seed} {case}")  # pytest shows it if the test fails
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int, mean: float = 0.0, std: float = 1.0) -> torch.Tensor:
            return torch.empty(shape, dtype=case.dtype).normal_(mean, std, generator=generator)

        def norm_weight(size: int) -> torch.Tensor:
            return normal(size, mean=1.0, std=0.25)

        rows = case.q_lora + case.kv_lora + ROPE
        q_b_in = case.q_lora or case.hidden
        self.case = case
        self.nd = {
            "hidden_states": normal(case.tokens, case.hidden, std=case.hidden_scale),
            "qkv_a_weight": normal(rows, case.hidden, std=case.hidden**-0.5),
            "q_a_norm_weight": norm_weight(case.q_lora) if case.q_lora else None,
            "q_b_weight": normal(case.heads * (case.nope + ROPE), q_b_in, std=q_b_in**-0.5),
            "w_uk": normal(case.heads, case.nope, case.kv_lora, std=case.nope**-0.5),
            "kv_a_norm_weight": norm_weight(case.kv_lora),
        }
        # Independent elements: the halves of a row differ, and so would a table read in the wrong
        # order.
        for name in ("cos", "sin"):
            table = torch.randn(case.tokens, ROPE, generator=generator)
            self.nd[name] = table.to(case.table_dtype or case.dtype)
        self.nd["q_a_norm_bias"] = normal(case.q_lora) if case.bias else None
        self.nd["kv_a_norm_bias"] = normal(case.kv_lora) if case.kv_bias else None

        self.blocks = case.blocks or case.tokens * 5 // 4 // case.block_size + 2
        slots = torch.randperm(self.blocks * case.block_size, generator=generator)[: case.tokens]
        skipped = torch.rand(case.tokens, generator=generator) < case.skip
        self.slots = slots.masked_fill(skipped, -1)

        # A case may name weights that a subclass adds.
        packed = {name: nd_to_nz(self.nd[name]) for name in case.nz if name in WEIGHTS}
        self.arguments = {
            **self.nd,
            **packed,
            "slot_mapping": self.slots.to(case.slot_dtype),
            "eps": case.eps,
            "rope_interleaved": case.rope_interleaved,
        }
        if case.joint:
            self.arguments["rope_cache"] = None
        if case.kv_cache_scale is not None:
            self.arguments["kv_cache_scale"] = torch.tensor([case.kv_cache_scale])
        if case.quantize_q_nope:
            self.arguments["quantize_q_nope"] = True
        self._poison = {
            name: self._poisoned_storage(*rows, generator)
            for name, rows in case.cache_rows().items()
        }

    def _poisoned_storage(
        self, width: int, dtype: torch.dtype, generator: torch.Generator
    ) -> torch.Tensor:
        """[blocks, elements of a block and the gap behind it].

        NaNs of random sign and payload, or random int8.
        """
        shape = (self.blocks, self.case.block_size * width + self.case.cache_gap)
        if dtype == torch.int8:
            return torch.randint(-128, 128, shape, generator=generator).to(dtype)
        mantissa_bits = {torch.bfloat16: 7, torch.float16: 10}[dtype]
        exponent = 0x7FFF >> mantissa_bits << mantissa_bits
        payload = torch.randint(1, 1 << mantissa_bits, shape, generator=generator)
        sign = torch.randint(-1, 1, shape, generator=generator) * 0x8000
        return (sign + exponent + payload).to(torch.int16).view(dtype)

    def poisoned_caches(self) -> tuple[MlaCache, ...]:
        """New caches full of NaN in the order of the arguments, the same ones every time."""
        return tuple(
            MlaCache(
                self._poison[name].clone(),
                self.case.block_size,
                width,
                self.slots,
                nz=name in self.case.cache_nz,
            )
            for name, (width, _) in self.case.cache_rows().items()
        )

    def expected(self) -> dict[str, torch.Tensor]:
        """The float64 results that MlaResult.tensors() is held against."""
        return self.named(
            reference.mla_prolog(
                **self.nd, eps=self.case.eps, rope_interleaved=self.case.rope_interleaved
            )
        )

    def named(self, result: reference.MlaPrologOutput) -> dict[str, torch.Tensor]:
        """Results of the reference under the names of MlaResult.tensors()."""
        written = self.slots >= 0
        return {
            "q_nope": result.q_nope,
            "q_rope": result.q_rope,
            "q_c": result.q_c,
            "kv_cache": result.kv_c[written],
            "rope_cache": result.k_rope[written],
        }


class MlaCache:
    """A paged cache in its storage, which has gaps between blocks.

    Attributes:
        storage: [blocks, elements of a block and the gap behind it].
        tensor: the cache itself, a view: [blocks, block size, 1, width], or in FRACTAL_NZ
            [blocks, width / C0, block size, C0] with C0 elements in 32 bytes.
    """

    def __init__(
        self,
        storage: torch.Tensor,
        block_size: int,
        width: int,
        slots: torch.Tensor,
        nz: bool = False,
    ) -> None:
        self.storage = storage
        c0 = 32 // storage.element_size()
        shape = (width // c0, block_size, c0) if nz else (block_size, 1, width)
        self.tensor = storage[:, : block_size * width].unflatten(1, shape)
        # [blocks, block size, strips, elements of a strip].
        self._rows = self.tensor.transpose(1, 2) if nz else self.tensor
        slots = slots[slots >= 0]
        self._addressed = (slots // block_size, slots % block_size)

    def written(self) -> torch.Tensor:
        """[tokens that have a slot, width]: the rows the slot mapping addresses."""
        return self._rows[self._addressed].flatten(1)

    def assert_only_slots_changed(self, before: MlaCache) -> None:
        """Everything but the addressed rows has the bits of `before`, gaps included.

        The addressed rows of `before` are overwritten.
        """
        before._rows[self._addressed] = self._rows[self._addressed]
        assert same_bits(self.storage, before.storage)


@dataclass(frozen=True)
class MlaResult:
    """What a run left behind.

    Attributes:
        case: the call.
        outputs: all results of the op.
        caches: in the order of the arguments.
    """

    case: MlaCase
    outputs: tuple[torch.Tensor, ...]
    caches: tuple[MlaCache, ...]

    @property
    def kv_cache(self) -> MlaCache:
        return self.caches[0]

    @property
    def rope_cache(self) -> MlaCache:
        assert not self.case.joint
        return self.caches[1]

    def tensors(self) -> dict[str, torch.Tensor]:
        """Outputs and addressed cache rows by name, whatever the layout of the caches.

        Without the outputs that such a call leaves empty.
        """
        tensors = dict(zip(self.case.outputs(), self.outputs, strict=True))
        tensors = {name: tensor for name, tensor in tensors.items() if tensor.shape != (0,)}
        for name, cache in zip(self.case.cache_rows(), self.caches, strict=True):
            tensors[name] = cache.written()
        if self.case.joint:
            rows = tensors["kv_cache"].split([self.case.kv_lora, ROPE], dim=1)
            tensors["kv_cache"], tensors["rope_cache"] = rows
        return tensors

    def assert_same(self, other: MlaResult) -> None:
        """Bit for bit the same result."""
        actual, expected = self.tensors(), other.tensors()
        assert actual.keys() == expected.keys()
        for name in actual:
            assert same_bits(actual[name], expected[name]), name


def case_id(value: object) -> str:
    """pytest's name of a case, of weights in FRACTAL_NZ, or of a dtype."""
    if isinstance(value, tuple):
        return "+".join(value) or "nd"
    return getattr(value, "name", None) or str(value).removeprefix("torch.")


def same_bits(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two tensors are equal bit for bit, NaN payloads and signs of zero included."""
    first, second = first.contiguous().flatten(), second.contiguous().flatten()
    return first.dtype == second.dtype and torch.equal(
        first.view(torch.uint8), second.view(torch.uint8)
    )


def call_of(inputs: MlaInputs, **options) -> tuple[tuple, dict]:
    """Positional and keyword arguments of a call, with poisoned caches of its own."""
    arguments = {**inputs.arguments, **cache_arguments(inputs), **options}
    names = [a.name for a in inputs.op.default._schema.arguments if not a.kwarg_only]
    return tuple(arguments.pop(name, None) for name in names), arguments


def finite_call_of(inputs: MlaInputs, **options) -> tuple[tuple, dict]:
    """The same without NaN in the caches, for comparisons by value."""
    caches = {name: cache.fill_(0.5) for name, cache in cache_arguments(inputs).items()}
    return call_of(inputs, **caches, **options)


def cache_arguments(inputs: MlaInputs) -> dict[str, torch.Tensor]:
    """Poisoned caches by argument name."""
    caches = [cache.tensor for cache in inputs.poisoned_caches()]
    return dict(zip(inputs.case.cache_rows(), caches, strict=True))


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
    case = inputs.case
    before = {k: v.clone() for k, v in inputs.arguments.items() if isinstance(v, torch.Tensor)}
    poison, caches = inputs.poisoned_caches(), inputs.poisoned_caches()
    tensors = dict(zip(case.cache_rows(), (cache.tensor for cache in caches), strict=True))
    with poisoned_memory():
        outputs = inputs.op(**inputs.arguments, **tensors, **prefetch)
    for name, tensor in before.items():
        assert same_bits(inputs.arguments[name], tensor), f"{name} changed"
    for cache, unwritten in zip(caches, poison, strict=True):
        cache.assert_only_slots_changed(unwritten)
    for output, (shape, dtype) in zip(outputs, case.outputs().values(), strict=True):
        assert output.shape == shape
        assert output.dtype == dtype
        assert output.is_contiguous()
    return MlaResult(case, tuple(outputs), caches)


def check_bits_depend_on_inputs_alone(run: Callable[..., dict[str, torch.Tensor]]) -> None:
    """`run` gives the same bits every time, whatever it prefetches, and changes no region.

    Args:
        run: calls the op on fixed inputs, with options of prefetching, and names its results.
    """
    regions = [torch.ones(1 << 20, dtype=torch.uint8), torch.ones(100_001, dtype=torch.int8)]
    expected = run()
    calls = [{"prefetch": []}] + [
        {"prefetch_bytes": nbytes, **given}
        for nbytes in (None, 0, 1 << 14, 1 << 40)
        for given in ({}, {"prefetch": regions})
    ]
    for options in calls:
        actual = run(**options)
        assert actual.keys() == expected.keys()
        for name, wanted in expected.items():
            assert same_bits(actual[name], wanted), (name, options)
    for region in regions:
        assert (region == 1).all()


@one_thread()
def check_values(
    case: MlaCase, seed: int = SEED, inputs_type: type[MlaInputs] = MlaInputs, **prefetch
) -> None:
    """Runs the case on random inputs and holds every output against the float64 reference.

    q_nope has to stay in the activation dtype.
    """
    actual: dict[str, list[torch.Tensor]] = {}
    expected: dict[str, list[torch.Tensor]] = {}
    for repeat in range(-(-FEWEST_PAIRS // (case.tokens * case.heads))):
        inputs = inputs_type(case, seed + repeat)
        for name, tensor in run(inputs, **prefetch).tensors().items():
            actual.setdefault(name, []).append(tensor)
        for name, tensor in inputs.expected().items():
            expected.setdefault(name, []).append(tensor)
    assert actual.keys() == expected.keys()
    for name in actual:
        values, wanted = torch.cat(actual[name]), torch.cat(expected[name])
        if values.dtype == torch.int8:
            check_latent(values, wanted, case.kv_cache_scale)
        else:
            check_output(name, values, wanted)


def check_latent(actual: torch.Tensor, expected: torch.Tensor, scale: float) -> None:
    """Rows of an int8 latent cache against the latent in float64.

    Exact, but for ties that fp32 may round the other way.
    """
    steps = expected.double() / torch.tensor(scale).double()  # the op's scale is float32
    wanted = steps.round().clamp(-128, 127)
    difference = (actual.double() - wanted).abs()
    # The distance from k + 1/2, which beyond the limits is no tie. fp32 sums are off by a share of
    # what they are made of, not of what is left of it: a small latent of a large row is less exact.
    size = steps.square().mean(dim=-1, keepdim=True).sqrt()
    reach = torch.maximum(FP32_SUMS * size, torch.tensor(TIE))
    tie = (((steps - steps.floor()) - 0.5).abs() <= reach) & (steps > -128.5) & (steps < 127.5)
    assert (difference[~tie] == 0).all(), f"{int((difference[~tie] != 0).sum())} wrong latents"
    assert (difference[tie] <= 1).all()


def check_output(name: str, actual: torch.Tensor, expected: torch.Tensor) -> None:
    """Norm-wise error of the whole output and of each of its rows."""
    assert actual.shape == expected.shape, name
    if not actual.numel():
        return
    bound = BOUNDS[actual.dtype]
    error = reference.relative_error(actual, expected)
    assert error <= bound, f"{name}: relative error {error:.2e}, allowed {bound:.0e}"
    norms = torch.linalg.vector_norm(expected, dim=-1)
    errors = torch.linalg.vector_norm(actual.double() - expected, dim=-1) / norms
    worst = errors.max().item()
    assert worst <= ROW_FACTOR * bound, f"{name}: a row has relative error {worst:.2e}"
