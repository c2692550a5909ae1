"""The ops that a chip is measured with: values, traces, refusals, and launches on a device."""

import pytest
import torch

from acl_double import acl_double
from ascend_prefetch import _lab
from ascend_prefetch.lab import microbenchmarks, reference, twin
from ascend_prefetch.packing import nd_to_nz


def operands(m, n, k, dtype):
    generator = torch.Generator().manual_seed(torch.initial_seed())
    draw = lambda *size: torch.randn(*size, generator=generator).to(dtype)  # noqa: E731
    return draw(m, k), draw(n, k)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("nz", [False, True])
@pytest.mark.parametrize(("m", "n", "k", "cores"), [(1, 16, 64, None), (19, 400, 272, 5)])
def test_matmul(m, n, k, cores, nz, dtype):
    a, weight = operands(m, n, k, dtype)
    packed = nd_to_nz(weight) if nz else weight
    found = microbenchmarks.matmul(a, packed, cores=cores)
    expected = a.double() @ weight.double().T
    assert found.dtype == dtype
    assert reference.relative_error(found, expected) < torch.finfo(dtype).eps


@pytest.mark.parametrize("to_l1", [False, True])
def test_copy_reads_every_byte_once(to_l1):
    matrix = torch.randint(0, 256, (70, 1024), dtype=torch.uint8)
    with twin.tracing() as traces:
        microbenchmarks.copy(matrix, tile_rows=16, tile_bytes=256, slices=2, to_l1=to_l1)
    times = _lab.Timeline("Ascend910_9391", "nominal").run(traces[0])
    assert times["kernel"] == ("copy_gm_l1" if to_l1 else "copy_gm_ub")
    assert times["bytes"]["hbm_read"] == matrix.numel()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda a, b: microbenchmarks.matmul(a.float(), b),
            RuntimeError,
            "matmul: 'a': expected bfloat16 or float16, got Float",
        ),
        (
            lambda a, b: microbenchmarks.matmul(a, b[:, :32].contiguous()),
            RuntimeError,
            r"matmul: 'weight': expected \[n, 64\] or \[4, n, 16\], got shape \[32, 32\]",
        ),
        (
            lambda a, b: microbenchmarks.matmul(a.T, b),
            RuntimeError,
            "matmul: 'a': expected 2 dimensions, contiguous",
        ),
        (
            lambda a, b: microbenchmarks.matmul(a, b, cores=25),
            ValueError,
            "matmul: 'cores': expected 1 to 24, got 25",
        ),
        (
            lambda a, b: microbenchmarks.copy(b, tile_rows=0, tile_bytes=32),
            ValueError,
            "copy: 'tile_rows': expected 1 to 4294967295, got 0",
        ),
        (
            lambda a, b: microbenchmarks.copy(b, tile_rows=1, tile_bytes=48),
            ValueError,
            "copy: expected tiles of whole 32-byte blocks",
        ),
    ],
)
def test_refusals(call, error, text):
    with pytest.raises(error, match=f"ascend_prefetch_lab::{text}"):
        call(*operands(3, 32, 64, torch.bfloat16))


def test_on_a_device_they_have_their_own_binary(tmp_path):
    """The ops' kernels come from one file, the laboratory's from another."""
    for family in ("ascend910_93", "ascend910b"):
        (tmp_path / f"{family}.o").write_text("the double loads no device code")
    a, weight = operands(3, 32, 64, torch.bfloat16)
    with acl_double() as double:
        microbenchmarks.connect(tmp_path)
        microbenchmarks.matmul(a, weight)
        torch.ops.ascend_prefetch.o_proj(a, weight)
        assert double.calls() == ["launch matmul_bf16 on main", "launch o_proj_bf16 on main"]
        assert double.block_count == 24
        with pytest.raises(
            RuntimeError, match=r"no kernels for Ascend\w+: /nowhere/\w+\.o is missing"
        ):
            microbenchmarks.connect("/nowhere")
            microbenchmarks.matmul(a, weight)
    microbenchmarks.connect()
    assert microbenchmarks.matmul(a, weight).shape == (3, 32)
