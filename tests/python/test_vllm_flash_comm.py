"""Flash communication beside stand-ins: shares of rows, gathered and scattered."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

import vllm_stand_ins as up
from ascend_prefetch.policy import PrefetchConfig
from ascend_prefetch.vllm import fallback, patch
from vllm_stand_ins import NAME

pytestmark = pytest.mark.usefixtures("fresh_plugin")


class SequenceRowParallelOp:
    """Upstream's communication of o_proj, by name."""


class FlashComm:
    """Two ranks that hold the same rows: a gather doubles them, a sum doubles their values."""

    def __init__(self, rows: int) -> None:
        self.rows, self.in_product = rows, False

    def gather(self, hidden_states):
        return torch.cat([hidden_states, hidden_states])

    def scattered_rows(self):
        return self.rows

    def scatters_in_product(self):
        return self.in_product

    def reduce_scatter(self, partial):
        assert len(partial) == self.rows
        return 2 * partial[: len(partial) // 2]


# Each side rounds in its own places: at most 4e-3 from the exact result, norm-wise.
BF16 = 8e-3


def distance(found, wanted):
    """|found - wanted| / |wanted|, both norms over the whole tensor."""
    return ((found.double() - wanted.double()).norm() / wanted.double().norm()).item()


def hidden_states(rows):
    draw = torch.Generator().manual_seed(rows)
    return torch.randn(rows, up.HIDDEN, generator=draw).bfloat16()


def fused(seam):
    config = PrefetchConfig(enabled=True)
    impl = patch.fused_class(up.AscendMLAImpl, "mla", config, seam)(layer_name=NAME)
    impl.o_proj.custom_op, impl.o_proj.tp_size = SequenceRowParallelOp(), 2
    impl.process_weights_after_loading(torch.bfloat16)
    return impl


def run(impl, hidden, metadata, gather=True, rows=None):
    output = torch.full((rows or len(hidden), up.HIDDEN), float("nan"), dtype=torch.bfloat16)
    return impl.forward(NAME, hidden, up.new_caches(), metadata, gather, output)


@pytest.mark.parametrize("tokens", [6, 5])
def test_shares_are_gathered_and_scattered(seam, tokens):
    seam.flash_comm = FlashComm(6)
    hidden = hidden_states(3)
    impl = fused(seam)
    found = run(impl, hidden, up.decode_metadata(tokens))
    assert impl.upstream_calls == 0
    plain = up.AscendMLAImpl()
    plain.process_weights_after_loading(torch.bfloat16)
    whole = run(plain, torch.cat([hidden, hidden]), up.decode_metadata(tokens), False)
    assert distance(found, 2 * whole[:3]) < BF16, distance(found, 2 * whole[:3])


def test_whole_rows_are_scattered(seam):
    """The first layer of a model with images, whose hidden states every rank has."""
    seam.flash_comm = FlashComm(6)
    hidden, metadata = hidden_states(6), up.decode_metadata(6)
    impl, plain = fused(seam), up.AscendMLAImpl()
    found = run(impl, hidden, metadata, False, rows=3)
    assert impl.upstream_calls == 0
    plain.process_weights_after_loading(torch.bfloat16)
    whole = run(plain, hidden, metadata, False)
    assert distance(found, 2 * whole[:3]) < BF16, distance(found, 2 * whole[:3])


def test_steps_with_whole_rows_are_reduced_as_before(seam):
    seam.flash_comm = FlashComm(0)
    run(fused(seam), hidden_states(6), up.decode_metadata(6), False)
    assert "all_reduce 6" in seam.told


def test_a_product_that_scatters_is_upstreams(seam, monkeypatch):
    """The prolog is fused; o_proj's module multiplies and communicates."""
    seam.flash_comm, seam.rows = FlashComm(6), 6
    seam.flash_comm.in_product = True
    impl, asked = fused(seam), []
    share = lambda x, **_: (asked.append(len(x)) or x.new_zeros(3, up.HIDDEN), None)  # noqa: E731
    monkeypatch.setattr(impl.o_proj, "forward", share)
    run(impl, hidden_states(3), up.decode_metadata(6))
    assert asked == [6] and impl.upstream_calls == 0


def test_releases_without_it_leave_such_steps_and_layers_to_upstream(seam):
    impl = fused(seam)
    assert impl.fused_weights.arguments.output is None
    hidden = hidden_states(6)
    run(impl, hidden, up.decode_metadata(6))
    assert impl.upstream_calls == 1
    assert fallback.reasons() == (
        "hidden states that are split over ranks (flash communication)",
        "o_proj: o_proj goes through SequenceRowParallelOp",
    )


def test_sparse_steps_are_counted_by_their_gathered_rows(seam):
    seam.flash_comm, seam.rows = FlashComm(6), 6
    config = PrefetchConfig(enabled=True)
    impl = patch.fused_class(up.AscendSFAImpl, "sfa", config, seam)(layer_name=NAME)
    impl.process_weights_after_loading(torch.bfloat16)
    refusal = impl.family.step_refusal
    share = SimpleNamespace(shape=(3,))
    assert refusal(up.sparse_metadata(6), True, share) is None
    assert refusal(up.sparse_metadata(6), False, share) is not None
