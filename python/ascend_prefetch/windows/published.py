"""Published lengths of the windows of a decode step, each with its source and class.

A window is the time of another project's kernel between two of ours, in which HBM has less to do
than it could: a collective, MoE dispatch and combine, attention. These are the defaults where a
user has no profile; `lengths.py` interpolates them. All times are us, sizes bytes.

Classes as in csrc/arch: published numbers stand as they are in the source, derived ones are
computed from such, assumed ones are nobody's.

Sources:
    AIC: hudingyi688/aiconfigurator-npu, systems/data/ascend_910b/vllm-ascend/0.18.0 (collectives
        one by one, 910_93, in a graph).
    AICG: the same repository, docs/profiler_alignment/groundtruth/summary.csv at 11bc0ae850bb (the
        kernels of decode steps of GLM-5 W8A8 on an A3 node; TP4 DP8 EP32, some 20,000 cached
        tokens; min, median and max of all calls of a shape).
    CM384: arXiv 2506.12708 (CloudMatrix384).
    SGL: README of sgl-kernel-npu (A3).
"""

from __future__ import annotations

from typing import NamedTuple

PUBLISHED, DERIVED, ASSUMED = "published", "derived", "assumed"
PROFILED = "profiled"
"""The class of what a user's own profile says."""


class Lengths(NamedTuple):
    """Lengths of a window in us: a short, a usual and a long one."""

    short: float
    nominal: float
    long: float

    def plus(self, us: float) -> Lengths:
        """These lengths and `us` more."""
        return Lengths(self.short + us, self.nominal + us, self.long + us)

    def times(self, factor: float, launch_us: float = 0.0) -> Lengths:
        """These lengths, of which all but a launch is times a factor."""
        return Lengths(*(launch_us + max(0.0, us - launch_us) * factor for us in self))


COLLECTIVE_BYTES = 262_144
"""Message of a rank up to which the lengths of collectives are published: 262 KB, AIC."""

ALL_REDUCE = {
    2: Lengths(4.3, 9.0, 15.0),
    8: Lengths(4.3, 9.0, 15.0),
    16: Lengths(14.6, 19.4, 30.0),
    # The long one keeps the proportion that it has at 16 ranks (derived).
    32: Lengths(28.5, 32.4, 32.4 * 30.0 / 19.4),
}
"""By ranks, for messages of at most COLLECTIVE_BYTES.

2 to 8 ranks: the shortest in a step is 4.3 (AICG), 262 KB take 8.1 to 8.7 (AIC), the mean in a
step is 14.6 (AICG), all rounded (derived). 16 and 32 ranks: 256 bytes take 14.6 and 28.5, 262 KB
take 19.4 and 32.4 (AIC); long is assumed for 16."""

ALL_REDUCE_DERIVED_RANKS = 8
"""Ranks up to which all lengths of ALL_REDUCE come from published ones; with more, long is
assumed."""

ALL_REDUCE_2_MIB = {8: 23.0 - 8.7, 16: 29.7 - 19.4}
"""By ranks: us that 2 MiB take beyond 262 KB (AIC: 23.0 against 8.7, 29.7 against 19.4)."""

ALL_REDUCE_MAX_BYTES = 2 << 20
"""The largest message with a published time, AIC."""

ALL_GATHER = {
    8: ALL_REDUCE[8].times(13.5 / 9.0),
    16: ALL_REDUCE[16].times(31.8 / 19.4),
}
"""By ranks: 13.5 and 31.8 are published for 262 KB (AIC); short and long are scaled as those of
the all-reduce (derived)."""

FEW_TOKENS = 7
"""Most tokens of a rank in the steps of AICG, from 1 on."""

MANY_TOKENS = 128
"""Tokens of a rank in CM384 and SGL."""

DISPATCH_FEW = Lengths(45.0, 63.0, 150.0)
"""MC2 dispatch of at most FEW_TOKENS tokens: min 45, medians 57 to 69 (AICG), skew of the ranks
included; long is that of many tokens (derived)."""

COMBINE_FEW = Lengths(27.0, 80.0, 140.0)
"""MC2 combine of at most FEW_TOKENS tokens: min 27, medians 73 to 87 (AICG)."""

DISPATCH_MANY = {8: 132.0, 16: 139.0, 32: 153.0, 256: 152.0}
"""By ranks of expert parallelism, MANY_TOKENS tokens: SGL; 256 ranks CM384."""

COMBINE_MANY = {8: 126.0, 16: 135.0, 32: 151.0}
"""By ranks of expert parallelism, MANY_TOKENS tokens: SGL."""

SHORTEST_SHARE_MANY = {"dispatch": 116.0 / 132.0, "combine": 118.0 / 126.0}
"""Shortest over usual for MANY_TOKENS tokens: CM384 has 116 and 118 where SGL has 132 and 126
(derived). The long one exceeds the usual by as much as with few tokens (assumed): it is the skew
between ranks, which does not grow with tokens."""

INDEXER = {
    3: Lengths(25.6, 32.8, 70.2),
    6: Lengths(36.0, 60.3, 70.0),
    9: Lengths(38.02, 67.98, 78.16),
    12: Lengths(40.8, 55.8, 61.0),
    15: Lengths(44.1, 59.6, 64.2),
    18: Lengths(46.6, 53.0, 62.9),
    21: Lengths(46.1, 60.3, 66.1),
    24: Lengths(48.5, 58.9, 70.1),
    27: Lengths(56.1, 65.0, 69.7),
}
"""LightningIndexer by query tokens, with INDEXER_CACHED tokens and 32 heads: AICG."""

INDEXER_CACHED = 20_000
"""Cached tokens of a request in AICG. The indexer reads the key of each, so that its time is
scaled by them (derived)."""

SPARSE_ATTENTION = {
    3: Lengths(83.5, 88.4, 119.8),
    6: Lengths(86.4, 90.0, 109.5),
    9: Lengths(86.0, 91.8, 115.1),
    12: Lengths(88.2, 91.6, 97.4),
    15: Lengths(88.1, 93.7, 99.8),
    18: Lengths(88.9, 93.4, 99.3),
    21: Lengths(88.3, 95.0, 102.0),
    24: Lengths(88.6, 93.6, 103.3),
    27: Lengths(150.4, 155.1, 165.7),
}
"""SparseFlashAttention by query tokens, with 2,048 selected tokens and 16 heads a rank: AICG. Up
to the 24 cores of a chip more queries take no longer; a 25th needs a second round."""

SPARSE_SECOND_ROUND = {25: SPARSE_ATTENTION[27]}
"""SparseFlashAttention by query tokens: the second round takes as long for one query as for three
(derived)."""

SPARSE_SELECTED = 2048
"""Selected tokens of a query in AICG. Attention's time is scaled by them (derived)."""

DENSE_ATTENTION_RATE = 0.841 * 1.6
"""TB/s at which dense MLA attention reads its cache: 84.1 % of a 910C die's 1.6 TB/s at its best
(CM384). The rest of HBM's time is lost to the kernel itself: nobody says that another could use
it."""

NORM = {
    3: Lengths(3.46, 3.84, 13.54),
    6: Lengths(3.94, 4.26, 11.46),
    9: Lengths(4.36, 4.82, 8.76),
    12: Lengths(4.88, 5.16, 7.80),
    15: Lengths(5.36, 5.68, 6.92),
    18: Lengths(6.36, 6.46, 6.76),
    21: Lengths(6.18, 6.62, 17.30),
    24: Lengths(7.10, 7.39, 8.54),
    27: Lengths(7.08, 7.94, 16.18),
    114: Lengths(12.24, 15.38, 20.00),
    256: Lengths(17.36, 22.44, 29.70),
}
"""AddRmsNormBias between attention and feed-forward by tokens, 6,144 elements each: AICG."""

TOP_K = {
    1: Lengths(3.38, 3.86, 7.20),
    2: Lengths(3.76, 4.48, 11.52),
    3: Lengths(4.12, 4.94, 9.80),
    4: Lengths(4.64, 5.81, 7.24),
    5: Lengths(5.88, 6.15, 6.26),
    6: Lengths(5.38, 6.18, 9.62),
    7: Lengths(5.78, 7.22, 10.48),
    114: Lengths(17.28, 20.23, 28.56),
    256: Lengths(19.66, 23.76, 32.04),
}
"""MoeGatingTopK by tokens of a rank, 256 experts: AICG."""

MLAPO = Lengths(59.7, 72.5, 91.8)
"""mla_preprocess of GLM-5 W8A8 with static scales at TP4: AICG. Nominal is the median of the decode
steps that the other kernels here are from; short and long are the minimum and the maximum (and 68.0
is the median) of MLAPO_CALLS calls of 3 to 27 tokens."""

MLAPO_CALLS = 17_784

MLAPO_TOKENS = 9
"""Tokens of the steps in which MLAPO took its nominal length."""
