"""The ops of torch.ops.ascend_prefetch with their documentation.

The names here are the registered ops themselves, so call either; help() of one of them tells what
its arguments are.

T counts tokens (1 to 8192), N the heads of this tensor-parallel rank, and hidden the elements per
token between layers; rope is 64. All tensors of a call are on one device, and contiguous unless
said otherwise. "The activation dtype" is that of hidden_states or attn_output, bfloat16 or float16;
tensors have this dtype unless another one is named.

Linear weights
    The weights of qkv_a, q_b, indexer_wq_b and o_proj come in four forms, told apart by dtype and
    rank. The layers of a call may have different forms.

    - 16-bit: [out, in] as torch Linear has it, or FRACTAL_NZ [in / 16, out, 16].
    - int8 (W8A8): [in, out], or FRACTAL_NZ [out / 32, in, 32]; `in` and `out` are multiples of 64.

    ascend_prefetch.packing packs both. w_uk [N, nope, kv_lora], w_uv [N, kv_lora, v], indexer_wk
    and indexer_weights_proj are always 16-bit, row-major or in FRACTAL_NZ of their last two
    dimensions. No weight has more than 65,535 rows or columns.

    An int8 layer takes the following arguments, prefixed with the layer's name (those of o_proj
    have no prefix). They are refused for 16-bit weights:

    - dequant_scale: [out] float32, or int64 with the bits of the float32 in its low half
      (ascend_prefetch.packing.pack_dequant_scale). Required.
    - input_scale: [1] float32. If it is given, the layer is static: activations are quantised with
      it, and dequant_scale is input_scale times the scales of the weight's columns. If it is
      absent, the layer is dynamic: the kernel finds a scale for every token, and dequant_scale
      holds the scales of the weight's columns alone.
    - input_offset: [1] float32, the zero point of a static layer; 0 by default.
    - quant_bias: [out] int32, added to the int32 sums.

    Values are quantised from the activation dtype: hidden_states, q_c as it is returned,
    attn_output, or its up-projection rounded to that dtype. int8 products are summed exactly, in
    int32. ascend_prefetch.lab.reference.quant has the arithmetic, bit by bit.

Caches
    kv_cache, rope_cache and indexer_cache are paged and written in place, one row of D elements per
    token: D is kv_lora, rope and the indexer's head size.

    - Row-major: [blocks, block_size, 1, D].
    - FRACTAL_NZ: [blocks, D / 16, block_size, 16], or [blocks, D / 32, block_size, 32] for an int8
      cache. The width of the last dimension tells this layout from the row-major one.
    - Joint: rope_cache is None and kv_cache has rows of kv_lora + rope elements, in either layout.
    - int8: kv_cache is int8, and its rows are divided by kv_cache_scale, [1] float32, before they
      are rounded and saturated. rope_cache keeps the activation dtype; there is no joint form.

    All caches of a call have the same number of blocks of the same size, of 1 to 1024 rows.
    Dimension 0 may be strided. slot_mapping is [T] int32 or int64: slot s is row s % block_size of
    block s // block_size. Slot -1 skips the token's rows in every cache; all other slots must be
    distinct. A dense row-major cache of larger blocks can be viewed as one of smaller blocks, with
    the same slots.

Prefetch
    A kernel loads its own weights into L1 ahead of its matrix products, without a pause where cube
    and vector cores hand data over. Once the last of these weights has arrived, vector cores that
    would otherwise wait load the weights of `prefetch` into L2. This changes no result and no
    tensor. `prefetch` holds up to 8 contiguous tensors of any dtype, in the order of need.

    By default the planner decides how much to prefetch, from the time in which HBM idles between
    the kernel's own loads; ascend_prefetch.planning.explain shows its decisions and their reasons.
    prefetch_bytes overrides the planner: it is the total number of bytes to prefetch, 0 for none.
    prefetch_passing_bytes are hints, one for each weight of `prefetch`, which never decrease: the
    bytes that pass through L2 between this op and the use of the weight (the cache that attention
    reads, expert weights). Bytes that L2 would evict before their use are not prefetched.

Memory
    A tensor must lie within its storage; one whose storage was freed or shrunk is refused. The
    caches, which are written, may share no byte with any other argument. Views of one memory that
    lie side by side or interleaved, such as the caches of all layers in one pool of blocks, share
    no byte. A prefetched tensor may share no byte with any other that the op reads, writes or
    prefetches: where layers share their weights, do not pass a weight in `prefetch` that the op
    itself reads. Tensors that are only read may be views of one memory, or the same tensor twice.
    Negative and conjugate views (Tensor.is_neg, is_conj) are accepted where they are only read.

Autograd
    The ops have no derivative. The forward call takes tensors that require gradients, but no caches
    that do. A backward pass that reaches an op raises NotImplementedError, which names the op, in
    compiled graphs too. The transforms of torch.func, torch.vmap and forward-mode derivatives are
    refused where the op is called. Prefetched tensors take no part in gradients.

Errors
    RuntimeError: wrong rank, shape, dtype, device, layout, strides or storage of an argument, None
    for a required one, or an argument that does not go with the others. ValueError: a value out of
    range (tokens, slots, eps, bytes, sizes that the hardware's fields cannot hold), or memory that
    is shared and may not be. Both name the op and the argument, and nothing is written.

    The values of slots, scales (positive and finite) and zero points (finite) are checked for CPU
    tensors only, since on a device the host would have to wait for them.
"""

from __future__ import annotations

from .documented import document

MAX_TOKENS = 8192
"""Maximum number of tokens T of a call (csrc/plan/units.h)."""

ROPE_DIM = 64
"""Elements of the rope part of queries and keys (csrc/plan/prolog_plan.h)."""

_ARGUMENTS = """
    hidden_states: [T, hidden]; hidden is a multiple of 16.
    qkv_a_weight: linear weight, out = q_lora + kv_lora + 64, in = hidden.
    q_a_norm_weight: [q_lora], or None; q_lora is a multiple of 64, at most 4096.
    q_b_weight: linear weight, out = N * (nope + 64), in = q_lora; nope is a multiple of 16,
        of 64 and at most 4096 with an int8 weight.
    w_uk: [N, nope, kv_lora].
    kv_a_norm_weight: [kv_lora]; kv_lora is a multiple of 64, at most 4096.
    cos: [T, 64], float32 or the activation dtype: cat([freqs, freqs], -1).cos() of each token's
        32 angles freqs, whether or not rope_interleaved.
    sin: [T, 64], the dtype of cos: cat([freqs, freqs], -1).sin().
    slot_mapping: [T] int32 or int64.
    kv_cache: rows of kv_lora elements, or of kv_lora + 64 without rope_cache.
    rope_cache: rows of 64 elements, or None.
    q_a_norm_bias: [q_lora], added after the query norm.
    kv_a_norm_bias: [kv_lora], added after the norm of the key-value latent, before it is
        rounded or, for an int8 kv_cache, quantised.
    eps: epsilon of both RMS norms.
    rope_interleaved: True where the projections yield rope pairs as neighbours (DeepSeek),
        False where they yield two halves. Results are in two halves either way.
    qkv_a_dequant_scale, qkv_a_input_scale, qkv_a_input_offset, qkv_a_quant_bias: quantisation
        of an int8 qkv_a_weight.
    q_b_dequant_scale, q_b_input_scale, q_b_input_offset, q_b_quant_bias: quantisation of an
        int8 q_b_weight.
    kv_cache_scale: [1] float32, the scale of an int8 kv_cache.
    quantize_q_nope: whether q_nope is quantised to int8, with a scale per token and head.
    prefetch: weights that are needed next.
    prefetch_bytes: how much to prefetch in all, in bytes; by default the planner decides.
    prefetch_passing_bytes: for each weight of `prefetch`, bytes that pass through L2 before it
        is needed.
    indexer_cache: rows of Di elements; Di is a multiple of 64 from 128 to 512, 128 in all
        known models.
    indexer_wq_b: linear weight, out = Hi * Di, in = q_lora, for Hi indexer heads, which are
        replicated, not split, under tensor parallelism; Hi is a multiple of 16.
    indexer_wk: [Di, hidden]; or, without indexer_weights_proj, [Di + Hi, hidden], the rows of
        wk above those of weights_proj.
    indexer_k_norm_weight: [Di], float32 or the activation dtype.
    indexer_k_norm_bias: [Di], the dtype of indexer_k_norm_weight.
    indexer_weights_proj: [Hi, hidden], or None where indexer_wk holds it.
    indexer_rope_interleaved: True where rope pairs neighbours (GLM-5), False where it pairs
        two halves (DeepSeek-V3.2). Unlike the attention's queries and keys, the results keep
        the order of the pairs, as vLLM Ascend caches them.
    indexer_eps: epsilon of the LayerNorm.
    indexer_wq_b_dequant_scale, indexer_wq_b_input_scale: quantisation of an int8 indexer_wq_b.
    indexer_wq_b_input_offset, indexer_wq_b_quant_bias: quantisation of an int8 indexer_wq_b.
    attn_output: [T, N, kv_lora] with w_uv, contiguous or the transpose of a contiguous
        [N, T, kv_lora]; otherwise [T, N * v]. Rows are a multiple of 16 elements, at most
        131,070.
    o_proj_weight: linear weight, out = hidden, in = N * v; hidden is a multiple of 16.
    w_uv: [N, kv_lora, v], kv_lora and v multiples of 16; None where attn_output is
        up-projected already.
    bias: [hidden], float32 or the activation dtype, added to the result; hidden must then be a
        multiple of 64.
    dequant_scale, input_scale, input_offset, quant_bias: quantisation of an int8 o_proj_weight.
    weights: 1 to 8 contiguous tensors of any dtype, in the order of need. The requested bytes
        of two weights may not overlap.
    max_bytes: per weight, the maximum number of bytes to load, > 0; by default, and where it
        exceeds the rest of the weight, everything from the offset on.
    offsets: per weight, the byte to start at, >= 0 and before the weight's end; 0 by default.
    cores: number of cores to use, vector or cube cores by `engine`, from 1 to all that the chip
        has of them; by default all. Must be None for "sdma".
    after: a tensor that must be computed before the prefetch starts, which tells a compiled
        graph where to place the call. It is neither read nor changed.
    engine: "vector", "cube" or "sdma".
    beside: whether the kernel runs on the side stream of the current stream, until prefetch_join.
        "sdma" always does.
"""
"""What each argument is, one text for all ops that have it; ascend_prefetch.documented reads it."""

mla_prolog = document(
    "mla_prolog",
    """MLA projections of decode tokens in one kernel, with the paged cache write.

    Matrix products are summed in fp32 (int32 for int8 layers); between them q_c and the queries are
    rounded to the activation dtype. Linear weights, caches, prefetch and errors: see the module.

    Models without a query latent pass None as q_a_norm_weight; q_lora is then 0, and q_b_weight
    (the model's q_proj) takes hidden_states, so that in = hidden.

    Args:
        {arguments}

    Returns:
        q_nope: [T, N, kv_lora], the absorbed queries; int8 with quantize_q_nope.
        q_rope: [T, N, 64].
        q_c: [T, q_lora], the normed query latent; [T, 0] for models without one.
        q_nope_scale: [T, N] float32 with quantize_q_nope, the factors by which q_nope is to be
            multiplied; otherwise empty, [0].
    """,
    _ARGUMENTS,
)

sfa_prolog = document(
    "sfa_prolog",
    """mla_prolog with the projections of a sparse attention's indexer, in one kernel.

    The documentation of mla_prolog holds here too. The indexer adds its queries wq_b(q_c), its key
    LayerNorm(wk(hidden_states)), which is written to indexer_cache at slot_mapping, and the weights
    of its heads. Rope rotates the first 64 elements of each query head and of the key. Layers
    without an indexer pass none of its arguments; with an indexer, q_a_norm_weight is required.

    Args:
        {arguments}

    Returns:
        q_nope, q_rope, q_c, q_nope_scale: as in mla_prolog.
        indexer_q: [T, Hi, Di]; empty, [0], without an indexer.
        indexer_weights: [T, Hi] float32, the plain projection without any scale; empty, [0],
            without an indexer.
    """,
    _ARGUMENTS,
)

o_proj = document(
    "o_proj",
    """Value up-projection and output projection in one kernel.

    Under tensor parallelism the result is this rank's partial sum; bias and quant_bias belong on
    one rank only. The up-projected values are rounded to the activation dtype; both products are
    summed in fp32 (int32 for an int8 weight). Linear weights, prefetch and errors: see the module.

    Args:
        {arguments}

    Returns:
        [T, hidden].
    """,
    _ARGUMENTS,
)

prefetch = document(
    "prefetch",
    """Loads weights into L2, for windows outside the other ops.

    Such a window is a collective, which leaves HBM idle. The op changes no tensor. A compiled graph
    calls it as often as the program does, and keeps the order of these calls and of prefetch_join.

    Of each weight the op loads the 32-byte blocks of memory that hold the requested bytes, each
    once, and nothing outside the weight. Offsets that are multiples of 512 load fastest.

    A call may ask for at most the usable share of L2, 0.7 of its capacity; more is refused, as such
    a prefetch would evict bytes that it has just loaded.

    Engines
        "vector": a kernel of vector cores loads the bytes into their buffers and discards them.

        "cube": the same by cube cores, for windows in which vector cores are busy.

        "sdma": the copy engine beside the cores loads them, by cache operations of the runtime
        (CMO). For CPU tensors there is no such engine: the call checks its arguments and loads
        nothing.

    Streams
        Without `beside` a kernel runs on the current stream, and later work on it waits for the
        kernel. With `beside`, and with "sdma", the prefetch runs on the side stream of the current
        stream, which this call forks: it begins after everything issued to the current stream so
        far, and nothing waits for it before prefetch_join. That must be called before a graph
        capture ends; prefetches issued before a capture must be joined before it begins.
        ascend_prefetch.beside.prefetch_beside does both around a block. For CPU tensors `beside`
        changes nothing.

    Args:
        {arguments}

    Raises:
        RuntimeError: a weight is not contiguous, not dense, on another device or larger than its
            storage, the lists differ in length, or cores are given for "sdma".
        ValueError: a number is out of range, the engine is unknown, there are no weights, a weight
            is empty, requested bytes overlap, or they are more than L2 can use.
    """,
    _ARGUMENTS,
)

prefetch_join = document(
    "prefetch_join",
    """Makes the current stream wait for every prefetch beside it, by cores or SDMA, issued from it.

    The current stream is that of the current device; prefetches from other streams or devices stay
    pending. Prefetches issued before a graph capture must be joined before it begins.

    The call does not block the host. It does nothing where no prefetch is pending, and nothing on
    CPU. A compiled graph keeps it after the prefetches that precede it; no other order is kept.
    """,
    _ARGUMENTS,
)
