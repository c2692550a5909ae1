"""Mutants that change nothing which anybody could see, each with the reason.

The key is that of sites.Site. A survivor that is not here lacks a test.
"""

EQUIVALENT: dict[str, str] = {
    "csrc/kernels/gemm.h:Store: + for -: 1 - l0c_slot_ -> (1) + (l0c_slot_)": "From slot 1 it reads free_[2], beyond the array: full_[0] lies there and is 0, as free_[0] is.",
    "csrc/kernels/gemm_tiles.h:Open: > for >=: depth_begin_ >= depth_end_ -> (depth_begin_) > (depth_end_)": "BestDepthShares deals out no more shares than there are tiles of depth.",
    "csrc/kernels/gemm_tiles.h:Open: the next slot: core % column_shares -> ((core) + 1) % (column_shares)": "The shares go to other cores, for the weight and the left matrix alike; no result and no time depends on which core has one.",
    "csrc/kernels/gemm_tiles.h:Open: the next slot: core / column_shares % plan.row_shares -> ((core / column_shares) + 1) % (plan.row_shares)": "The groups of rows go to other cores, for the weight and the left matrix alike.",
    "csrc/kernels/gemm_tiles.h:Open: the other truth value: false -> true": "Next sets it before anybody asks.",
    "csrc/kernels/prolog_vector.h:LoadQueryNorm: off by one: core_ + 1 -> (core_) + (1) + 1": "Rows go to the first cores in blocks: a core without rows has none behind it either.",
    "csrc/kernels/quantiser.h:LoadSpread: sign: 1.0f -> -1.0f": "Brcb reads one of the eight values; the others only must not be stale.",
    "csrc/kernels/weight_warmer.h:WarmWindowChunks: > for >=: core_ >= window.first_core + window.core_count -> (core_) > (window.first_core + window.core_count)": "A window has all vector cores of its launch.",
    "csrc/plan/idle_time.cpp:Advance: < for <=: streamed <= streamed_ -> (streamed) < (streamed_)": "Nothing is added where nothing is left to stream.",
    "csrc/plan/idle_time.cpp:Multiply: + for -: ready - now_ -> (ready) + (now_)": "How far the stream is taken during the wait makes no difference: its clock moves along with it, and the ring's room bounds it in any case.",
    "csrc/plan/idle_time.cpp:Multiply: off by one: ready - now_ -> (ready) - (now_) + 1": "Likewise: the clock of the stream moves along with it.",
    "csrc/plan/vector_work.h:QuantiseInUb: sign: 1.0 -> -1.0": "It is added to the norm of the same row, and the sum takes the larger number of elements.",
    "csrc/plan/idle_time.cpp:Tiles: <= for <: first < (gemm.batches > 1 ? batch : 1) -> (first) <= ((gemm.batches > 1 ? batch : 1))": "A share that begins where a head ends has the tiles of one that begins with the next; a single batch never is one core's alone.",
    "csrc/plan/plan_linear.cpp:LeastPiece: rounded down: CeilDiv(width, kMaxQuantisedPieces) -> (width) / (kMaxQuantisedPieces)": "Int8 rows are a multiple of 32 elements.",
    "csrc/plan/plan_gemm.cpp:PlanGemm: < for <=: (nz ? b_stride : b_stride * bytes / kHalfBytes) <= kMaxWeightStride -> ((nz ? b_stride : b_stride * bytes / kHalfBytes)) < (kMaxWeightStride)": "Strides are a multiple of 16, which the limit is not.",
    "csrc/plan/plan_gemm.cpp:PlanGemm: < for <=: a_stride <= kMaxLeftStrideBytes -> (a_stride) < (kMaxLeftStrideBytes)": "Rows are a multiple of 32 bytes, which the limit is not.",
    "csrc/plan/plan_gemm.cpp:PlanGemm: rounded down: CeilDiv(problem.k, problem.depth_shares) -> (problem.k) / (problem.depth_shares)": "With fewer than 17 shares no depth, a multiple of 16, is 1024 to a share rounded up and less rounded down; BestDepthShares deals out 12 at most.",
    "csrc/plan/plan_prolog.cpp:PlanProlog: >= for >: ub_bytes > arch::kUsableUbBytes -> (ub_bytes) >= (arch::kUsableUbBytes)": "The widest rows take 183,488 bytes of 188,160, test_prolog_limits.py.",
    "csrc/plan/plan_warm.cpp:TakeRegions: one more: 0 -> 1 #3": "What is left of L2 is rounded down to blocks of 32 bytes, and no chip's usable share is a multiple of that: a byte less changes nothing.",
    "csrc/plan/ub_bytes.h:PrologUb: >= for >: plan.heads.step > plan.indexer.heads.step -> (plan.heads.step) >= (plan.indexer.heads.step)": "Of two equal steps either is the larger.",
}
