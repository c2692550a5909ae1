"""Prefetches beside a window, on the double of ACL: forks, joins, captures and their mistakes."""

import pytest
import torch

from acl_double import AclError, acl_double
from ascend_prefetch import ops
from ascend_prefetch.beside import prefetch_beside
from ascend_prefetch.lab import twin
from traces import Trace, launches

# Codes of the runtime, see tests/cpp/npu/captures.h.
DEPENDENCY, UNJOINED = 107024, 107025

ENGINES = pytest.mark.parametrize("engine", ["vector", "cube", "sdma"])


@pytest.fixture
def double():
    with acl_double() as device:
        yield device


@pytest.fixture(scope="module")
def weights():
    return [torch.ones(1 << 12), torch.ones(100, dtype=torch.int8)]


def named(calls):
    """Calls in which events have the numbers of their first appearance."""
    events = {}
    for call in calls:
        words = call.split()
        if "event" in words:
            number = words[words.index("event") + 1]
            call = call.replace(f"event {number}", events.setdefault(number, f"e{len(events)}"))
        yield call


def collective():
    """Stands for one: a kernel on the current stream."""
    ops.prefetch([torch.ones(8)])


def issued(engine, weights):
    if engine != "sdma":
        return [f"launch {'prefetch_cube' if engine == 'cube' else 'prefetch'} on side"]
    return [f"prefetch {weight.data_ptr()}+{weight.nbytes} on side" for weight in weights]


def window(engine, weights):
    """What reaches the streams in one window."""
    return [
        "record e0 on main",
        "wait for e0 on side",
        *issued(engine, weights),
        "launch prefetch on main",
        "record e1 on side",
        "wait for e1 on main",
    ]


# --- eager ---


@ENGINES
def test_a_window(double, weights, engine):
    with prefetch_beside(weights, engine=engine):
        collective()
    assert list(named(double.calls())) == window(engine, weights)
    assert double.kept() == [(2, "side")]
    ops.prefetch_join()  # nothing is open
    assert len(double.calls()) == len(window(engine, weights))


def test_arguments_reach_the_kernel(double, weights):
    options = {"engine": "cube", "cores": 7, "max_bytes": [512, 40], "offsets": [1024, 0]}
    ops.prefetch(weights, **options)
    expected = double.arguments()
    with prefetch_beside(weights, **options):
        assert double.block_count == 7
        assert double.arguments() == expected


def test_without_beside_a_kernel_is_on_the_current_stream(double, weights):
    ops.prefetch(weights, engine="cube")
    assert double.calls() == ["launch prefetch_cube on main"]
    assert double.kept() == []


def test_a_window_without_weights(double):
    with prefetch_beside([]):
        collective()
    assert double.calls() == ["launch prefetch on main"]


def test_every_stream_has_one_side_stream_and_two_events(double, weights):
    """However many windows it has."""
    with prefetch_beside(weights):
        collective()
    events = double.event_count
    for _ in range(50):
        for engine in ("vector", "cube", "sdma"):
            with prefetch_beside(weights, engine=engine):
                collective()
    assert double.event_count == events
    double.set_stream("other")
    with prefetch_beside(weights):
        collective()
    assert double.event_count == events + 2
    assert double.calls()[-6:][2] == "launch prefetch_cube on side of other"


def test_windows_in_windows(double, weights):
    """The inner one joins both."""
    with prefetch_beside(weights[:1]), prefetch_beside(weights[1:], engine="sdma"):
        collective()
    assert [call for call in named(double.calls()) if call.endswith("on main")] == [
        "record e0 on main",
        "record e0 on main",
        "launch prefetch on main",
        "wait for e1 on main",
    ]


# --- errors ---


class Stop(Exception):
    pass


@ENGINES
def test_an_error_in_a_window_leaves_no_open_fork(double, weights, engine):
    with pytest.raises(Stop), double.capture(), prefetch_beside(weights, engine=engine):
        raise Stop
    with double.capture() as graph:
        with pytest.raises(Stop), prefetch_beside(weights, engine=engine):
            raise Stop
        collective()
    graph.replay()
    assert list(named(double.calls()))[-3:] == [
        "record e1 on side",
        "wait for e1 on main",
        "launch prefetch on main",
    ]


def test_the_first_error_goes_on(double, weights):
    """Also where the join fails behind it."""
    with pytest.raises(Stop), prefetch_beside(weights):
        double.fail_next("aclrtRecordEvent", 507015, "the device is gone")
        raise Stop
    with pytest.raises(RuntimeError, match="aclrtRecordEvent failed with 507015"):
        with prefetch_beside(weights):
            double.fail_next("aclrtRecordEvent", 507015, "the device is gone")


@pytest.mark.parametrize(
    ("engine", "function"), [("cube", "aclrtLaunchKernelWithConfig"), ("sdma", "aclrtCmoAsync")]
)
def test_an_error_at_the_beginning_leaves_no_open_fork(double, weights, engine, function):
    with double.capture() as graph:
        double.fail_next(function, 507015, "")
        with pytest.raises(RuntimeError, match=f"{function} failed with 507015"):
            with prefetch_beside(weights, engine=engine):
                pytest.fail("the block does not begin")
    graph.replay()
    assert list(named(double.calls()))[-1] == "wait for e1 on main"


def test_bad_arguments_are_those_of_the_op(double, weights):
    with pytest.raises(ValueError, match="'engine': expected 'vector', 'cube' or 'sdma', got 'x'"):
        with prefetch_beside(weights, engine="x"):
            pass
    assert double.calls() == []


# --- captures ---


def layer(weights, engine):
    """Two windows: behind o_proj, and at the end of the layer."""
    for _ in range(2):
        collective()
        with prefetch_beside(weights, engine=engine):
            collective()


def expected_of_layer(weights, engine):
    return ["launch prefetch on main", *window(engine, weights)] * 2


@ENGINES
def test_one_capture_of_all_layers(double, weights, engine):
    """FULL graphs: three layers, replayed."""
    layer(weights, engine)  # a warm-up
    events = double.event_count
    double.reset()
    with double.capture() as graph:
        for _ in range(3):
            layer(weights, engine)
    assert double.calls() == []
    for replay in range(1, 5):
        graph.replay()
        assert list(named(double.calls())) == 3 * replay * expected_of_layer(weights, engine)
    assert double.event_count == events


@ENGINES
def test_one_capture_for_each_piece(double, weights, engine):
    """PIECEWISE graphs: attention runs between two pieces, the collectives in a piece each."""
    layer(weights, engine)
    double.reset()
    pieces = []
    for _ in range(6):
        with double.capture() as graph:
            collective()
            with prefetch_beside(weights, engine=engine):
                collective()
        pieces.append(graph)
        collective()  # attention: not captured
    double.reset()
    for _ in range(3):
        for piece in pieces:
            piece.replay()
    assert list(named(double.calls())) == 9 * expected_of_layer(weights, engine)


def test_eager_windows_between_captures(double, weights):
    for _ in range(3):
        with double.capture() as graph:
            layer(weights, "cube")
        layer(weights, "cube")
        graph.replay()
    assert list(named(double.calls())) == 6 * expected_of_layer(weights, "cube")


def failing(code):
    return pytest.raises(AclError, match=f"^aclmdlRICaptureEnd failed with {code}$")


def failing_join():
    message = f"^ascend_prefetch: aclrtStreamWaitEvent failed with {DEPENDENCY}"
    return pytest.raises(RuntimeError, match=message)


@ENGINES
def test_a_missing_join(double, weights, engine):
    with failing(UNJOINED), double.capture():
        layer(weights, engine)
        ops.prefetch(weights, engine=engine, beside=True)
        collective()


@ENGINES
def test_a_join_of_another_stream(double, weights, engine):
    """It joins what was issued from there, which is nothing."""
    with failing(UNJOINED), double.capture():
        ops.prefetch(weights, engine=engine, beside=True)
        double.set_stream("other")
        ops.prefetch_join()
        double.set_stream("main")


@ENGINES
def test_a_join_in_the_next_piece(double, weights, engine):
    with failing(UNJOINED), double.capture():
        ops.prefetch(weights, engine=engine, beside=True)
    with double.capture(), failing_join():
        ops.prefetch_join()
    double.reset()
    with double.capture() as graph:
        layer(weights, engine)
    graph.replay()
    assert list(named(double.calls())) == expected_of_layer(weights, engine)


@ENGINES
def test_a_fork_before_the_capture(double, weights, engine):
    ops.prefetch(weights, engine=engine, beside=True)
    with double.capture(), failing_join():
        ops.prefetch_join()


@ENGINES
def test_a_join_behind_the_capture(double, weights, engine):
    with failing(UNJOINED), double.capture():
        ops.prefetch(weights, engine=engine, beside=True)
    ops.prefetch_join()  # runs at once: of the graph nothing is left
    assert list(named(double.calls()))[-1] == "wait for e0 on main"


def test_work_behind_the_join(double, weights):
    """The side stream is the graph's until its end; what it gets has to be joined again."""
    with failing(UNJOINED), double.capture():
        with prefetch_beside(weights):
            collective()
        ops.prefetch(weights, engine="sdma")


# --- on the twin ---


@pytest.mark.parametrize("engine", ["vector", "cube"])
def test_the_twin_runs_it_where_it_stands(weights, engine):
    kernels = {"vector": "prefetch", "cube": "prefetch_cube"}

    def run():
        with prefetch_beside(weights, engine=engine):
            ops.prefetch([weights[1]], cores=3)

    assert launches(run) == [kernels[engine], "prefetch"]


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_a_window_in_compiled_code(weights, backend):
    """In one graph, and in its place."""

    def program(x):
        x = x @ x
        with prefetch_beside(weights, cores=5):
            ops.prefetch([weights[1]], cores=3, after=x)
            x = x + 1
        return x

    run = torch.compile(program, fullgraph=True, backend=backend)
    x = torch.eye(4)
    for _ in range(2):
        with torch.no_grad(), twin.tracing() as traces:
            torch.testing.assert_close(run(x), program_of(x))
        found = [(Trace(trace).kernel, Trace(trace).core_count) for trace in traces]
        assert found == [("prefetch_cube", 5), ("prefetch", 3)]


def program_of(x):
    return x @ x + 1


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("engine", ["vector", "cube", "sdma"])
def test_the_op_in_compiled_code_on_the_double(double, weights, engine):
    def program(x):
        ops.prefetch(weights, engine=engine, beside=True, after=x)
        x = x + 1
        ops.prefetch_join()
        return x

    run = torch.compile(program, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        run(torch.ones(3))
    calls = [
        "record e0 on main",
        "wait for e0 on side",
        *issued(engine, weights),
        "record e1 on side",
        "wait for e1 on main",
    ]
    assert list(named(double.calls())) == calls
