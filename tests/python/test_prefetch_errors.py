"""Bad arguments of prefetch: one error that says what is wrong, and nothing is launched."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ascend_prefetch.lab import twin
from traces import launches

MEBIBYTE = 1 << 20
USABLE = 140_928_614  # 0.7 of 192 MiB
WEIGHT = torch.zeros(100, 5, dtype=torch.bfloat16)  # 1000 bytes
CHIP = "Ascend910_9391"


def call(weights, options):
    torch.ops.ascend_prefetch.prefetch(weights, **options)


def on_meta(weights, options):
    call([weight.to("meta") for weight in weights], options)


def faked(weights, options):
    with FakeTensorMode() as mode:
        call([mode.from_tensor(weight) for weight in weights], options)


def compiled(weights, options):
    torch.compiler.reset()
    torch.compile(call, fullgraph=True, backend="aot_eager")(weights, options)


def refuses(run, error, message, weights, **options):
    with twin.tracing() as traces, pytest.raises(error) as raised:
        run(weights, options)
    assert type(raised.value) is error
    assert str(raised.value).splitlines()[0] == f"ascend_prefetch::prefetch: argument {message}"
    assert not traces


@pytest.fixture(params=[call, on_meta, faked], ids=["cpu", "meta", "fake"])
def run(request):
    """A way to call the op; the checks that need no data are the same in all of them."""
    return request.param


@pytest.mark.parametrize("count", [0, 9])
def test_number_of_weights(run, count):
    message = f"'weights': expected 1 to 8 tensors, got {count}"
    refuses(run, ValueError, message, [WEIGHT.clone() for _ in range(count)])


def test_none_but_after():
    message = "'weights': expected 1 to 8 tensors, got 0"
    refuses(call, ValueError, message, [], after=WEIGHT)


@pytest.mark.parametrize("name", ["max_bytes", "offsets"])
@pytest.mark.parametrize("values", [[], [1], [1, 1, 1]])
def test_one_number_per_weight(run, name, values):
    message = f"'{name}': expected one number per weight: 2, got {len(values)}"
    refuses(run, RuntimeError, message, [WEIGHT, WEIGHT.clone()], **{name: values})


@pytest.mark.parametrize("value", [0, -1, -(1 << 62)])
def test_max_bytes(run, value):
    message = f"'max_bytes[1]': expected more than 0 bytes, got {value}"
    refuses(run, ValueError, message, [WEIGHT, WEIGHT.clone()], max_bytes=[5, value])


@pytest.mark.parametrize("value", [-1, 1000, 1001, 1 << 62])
def test_offset(run, value):
    message = f"'offsets[1]': expected 0 or more bytes, below the 1000 of the weight, got {value}"
    refuses(run, ValueError, message, [WEIGHT, WEIGHT.clone()], offsets=[5, value])


@pytest.mark.parametrize(("engine", "all_cores"), [("vector", 48), ("cube", 24)])
@pytest.mark.parametrize("value", [0, -1, 49, 1 << 40])
def test_cores(run, engine, all_cores, value):
    message = f"'cores': expected 1 to the {all_cores} {engine} cores of {CHIP}, got {value}"
    refuses(run, ValueError, message, [WEIGHT], cores=value, engine=engine)


def test_cores_of_another_chip():
    with twin.chip("Ascend910B3"):
        call([WEIGHT], {"cores": 40})
        message = "'cores': expected 1 to the 40 vector cores of Ascend910B3, got 41"
        refuses(call, ValueError, message, [WEIGHT], cores=41)
        call([WEIGHT], {"cores": 20, "engine": "cube"})
        message = "'cores': expected 1 to the 20 cube cores of Ascend910B3, got 21"
        refuses(call, ValueError, message, [WEIGHT], cores=21, engine="cube")


@pytest.mark.parametrize("engine", ["", "SDMA", "mte2", "vector_cores"])
def test_engine(run, engine):
    message = f"'engine': expected 'vector', 'cube' or 'sdma', got '{engine}'"
    refuses(run, ValueError, message, [WEIGHT], engine=engine)


@pytest.mark.parametrize("cores", [1, 99])
def test_cores_of_the_copy_engine(run, cores):
    message = f"'cores': expected None with engine 'sdma', which has no cores, got {cores}"
    refuses(run, RuntimeError, message, [WEIGHT], engine="sdma", cores=cores)


def test_strides(run):
    message = "'weights[1]': expected a contiguous tensor, got strides [1, 5]"
    refuses(run, RuntimeError, message, [WEIGHT, WEIGHT.t()])


@pytest.mark.parametrize("shape", [[0], [3, 0]])
def test_empty(run, shape):
    message = f"'weights[0]': expected at least one byte, got shape {shape}"
    refuses(run, ValueError, message, [torch.empty(shape)])


def test_devices():
    meta = WEIGHT.to("meta")
    message = "expected device cpu, got meta"
    refuses(call, RuntimeError, f"'after': {message}", [WEIGHT], after=meta)
    # With a meta tensor among them the call is one about shapes.
    message = "'weights[1]': expected device meta, got cpu"
    refuses(call, RuntimeError, message, [meta, WEIGHT])


def test_a_device_without_vector_cores():
    message = "'weights[0]': expected a dense tensor on cpu, npu or meta, got Sparse on cpu"
    refuses(call, RuntimeError, message, [WEIGHT.to_sparse()])


def over_l2(usable, chip, got):
    return (
        f"'weights': expected at most {usable} bytes in all, the usable share of the L2 of {chip} "
        f"(more evicts itself; see 'max_bytes'), got {got}"
    )


@pytest.mark.parametrize("max_bytes", [None, [USABLE - 999, 1 << 40]])
def test_more_than_l2_holds(run, max_bytes):
    """What counts is what would be loaded."""
    weights = [torch.empty(USABLE + 24, dtype=torch.int8), WEIGHT]
    got = USABLE + 1024 if max_bytes is None else USABLE + 1
    refuses(run, ValueError, over_l2(USABLE, CHIP, got), weights, max_bytes=max_bytes)
    refuses(
        run,
        ValueError,
        over_l2(USABLE, CHIP, got),
        weights,
        max_bytes=max_bytes,
        engine="sdma",
    )
    assert run([weights[0]], {"max_bytes": [MEBIBYTE]}) is None


def test_more_than_the_l2_of_another_chip_holds():
    weight = torch.empty(70_464_308, dtype=torch.int8)
    call([weight], {"max_bytes": [MEBIBYTE]})
    with twin.chip("Ascend910B4"):
        message = over_l2(70_464_307, "Ascend910B4", 70_464_308)
        refuses(call, ValueError, message, [weight])


@pytest.mark.parametrize(
    ("second", "options"),
    [
        (WEIGHT, {}),
        (WEIGHT[99:], {}),
        (WEIGHT.view(torch.int8), {"offsets": [0, 99], "max_bytes": [100, 100]}),
        (WEIGHT, {"offsets": [500, 0], "max_bytes": [10, 501]}),
    ],
)
@pytest.mark.parametrize("engine", ["vector", "cube", "sdma"])
def test_shared_bytes(second, options, engine):
    message = (
        "'weights[1]': expected bytes that nothing else fetches, got memory shared with "
        "'weights[0]'"
    )
    refuses(call, ValueError, message, [WEIGHT, second], engine=engine, **options)


def test_good_calls_that_come_close():
    assert launches(call, [WEIGHT[:50], WEIGHT[50:]], {}) == ["prefetch"]
    options = {"offsets": [999], "max_bytes": [1], "cores": 48, "after": WEIGHT}
    assert launches(call, [WEIGHT], options) == ["prefetch"]
    options |= {"cores": 24, "engine": "cube"}
    assert launches(call, [WEIGHT], options) == ["prefetch_cube"]


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("'cores': expected 1 to the 48 vector cores of Ascend910_9391, got 99", {"cores": 99}),
        ("'max_bytes[0]': expected more than 0 bytes, got 0", {"max_bytes": [0]}),
    ],
)
def test_errors_while_compiling(message, options):
    """The compiler wraps the error of the op."""
    with twin.tracing() as traces, pytest.raises(Exception, match="ascend_prefetch::") as raised:
        compiled([WEIGHT], options)
    assert message in str(raised.value)
    assert not traces


def test_shared_bytes_in_compiled_code():
    """Addresses are known when it runs."""
    message = r"^ascend_prefetch::prefetch: .* memory shared with 'weights\[0\]'"
    with pytest.raises(ValueError, match=message):
        compiled([WEIGHT[:60], WEIGHT[50:]], {})
