"""The policy over the real ops: which calls reach torch, eagerly and from a compiled graph."""

import re
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import ascend_prefetch
from ascend_prefetch.policy import PrefetchConfig, Sdma, WeightPrefetchMethod, engines
from policy_model import LAUNCH_BYTES, Model, dense_layer, linear, moe_layer

X = torch.ones(4, 8)


class Calls(TorchDispatchMode):
    """Collects the calls of this package's ops."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        if op.namespace == "ascend_prefetch":
            self.calls.append((op.__name__.split(".")[0], args, kwargs or {}))
        return op(*args, **(kwargs or {}))


def calls(run):
    with Calls() as mode:
        run()
    return mode.calls


def test_eagerly():
    policy = WeightPrefetchMethod(PrefetchConfig(enabled=True))
    weight = linear(4 << 20).weight

    def run():
        policy.maybe_prefetch_attn_weight_preprocess("AscendQKVParallelLinear", weight, X)
        policy.maybe_prefetch_attn_weight_postprocess("AscendQKVParallelLinear", X)
        policy.maybe_prefetch_attn_weight_postprocess("AscendQKVParallelLinear", X)

    (name, (weights,), options), join = calls(run)
    assert name == "prefetch"
    assert [tensor is weight for tensor in weights] == [True]
    nbytes = 45 * 16384
    assert options.pop("after") is X
    assert options == {
        "max_bytes": [nbytes],
        "offsets": [(4 << 20) - nbytes],
        "engine": "sdma",
    }
    assert join == ("prefetch_join", (), {})


def test_more_pieces_than_a_call_takes():
    weight = linear(4096).weight
    pieces = [(64 * i, 32) for i in range(19)]
    made = calls(lambda: Sdma().start(weight, pieces, None))
    assert [len(weights) for _, (weights,), _ in made] == [8, 8, 3]
    offsets = [offset for _, _, options in made for offset in options["offsets"]]
    assert offsets == [64 * i for i in range(19)]


def test_dependency_arrows():
    """The policy knows no framework beside torch."""
    folder = Path(engines.__file__).parent
    for path in folder.glob("*.py"):
        imports = re.findall(r"^\s*(?:from|import)\s+([\w.]+)", path.read_text(), re.MULTILINE)
        assert not [name for name in imports if name.split(".")[0] in ("vllm", "vllm_ascend")]
        assert not [name for name in imports if name.startswith("ascend_prefetch.vllm")]
        assert "torch_npu" not in imports
    assert Path(ascend_prefetch.__file__).parent in folder.parents


# --- compiled ---


def dense_forward(policy, x):
    for number in range(2):
        prefix = f"model.layers.{number}.self_attn.o_proj"
        policy.maybe_prefetch_mlp_weight_preprocess(policy.MLP_GATE_UP, x, prefix)
        x = x.relu()
        policy.maybe_prefetch_mlp_weight_preprocess(policy.MLP_DOWN, x)
        x = x.sigmoid()
        policy.maybe_prefetch_mlp_weight_postprocess(x)
    return x


def static_forward(policy, x, weight):
    for name in ("AscendQKVParallelLinear", "AscendRowParallelLinear"):
        policy.maybe_prefetch_attn_weight_preprocess(name, weight, x)
        x = x.round()
        policy.maybe_prefetch_attn_weight_postprocess(name, x)
    return x


def experts_forward(policy, x):
    for number in range(2):
        policy.enter_layer(number)
        policy.maybe_prefetch_moe_weight_preprocess(x, "gate_up")
        x = x.relu()
        policy.maybe_prefetch_moe_weight_postprocess(x)
    return x


def attention_forward(policy, x, qkv_a, o_proj):
    policy.maybe_prefetch_mla_or_sla_weight_in_current_stream(qkv_a, x)
    x = x.relu()
    policy.maybe_prefetch_mla_or_sla_weight_in_current_stream(
        o_proj.weight, x, max_size=16 << 20, linear_layer=o_proj
    )
    x = x.sigmoid()
    policy.join()
    return x


pytestmark = pytest.mark.usefixtures("fresh_compiler")


def in_a_graph(run, *args):
    """The ops in a function's graph once it has settled, and how many bytes each asks for."""
    graphs = []

    def backend(graph, example_inputs):
        graphs.append(graph.graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, example_inputs)

    compiled = torch.compile(run, fullgraph=True, backend=backend)
    with torch.no_grad():
        expected = run(*args)
        for _ in range(4):
            assert torch.equal(compiled(*args), expected)
            settled = len(graphs)
    assert settled <= 2
    nodes = [node for node in graphs[-1].nodes if "ascend_prefetch" in str(node.target)]
    return [sum(node.kwargs["max_bytes"]) if node.kwargs else "join" for node in nodes]


def test_compiled_dense_layers():
    model = Model([dense_layer(i) for i in range(2)], engine=Sdma())
    nbytes = 45 * 16384
    made = in_a_graph(lambda x: dense_forward(model.policy, x), X)
    assert made == [nbytes, nbytes, "join"] * 2


def test_compiled_static_layers():
    model = Model([dense_layer(0)], engine=Sdma())
    weight = model.weight(0, "self_attn.qkv_proj")
    made = in_a_graph(lambda x: static_forward(model.policy, x, weight), X)
    assert made == [45 * 16384, "join"]


def test_compiled_experts():
    model = Model([moe_layer(i) for i in range(2)], is_moe=True, engine=Sdma())
    made = in_a_graph(lambda x: experts_forward(model.policy, x), torch.ones(96, 8))
    assert made == [67 * 16384, "join"] * 2


def test_compiled_attention():
    model = Model([dense_layer(0)], caller_joins=True, engine=Sdma())
    attention = model.layers[0].self_attn
    made = in_a_graph(
        lambda x: attention_forward(model.policy, x, attention.qkv_proj.weight, attention.o_proj),
        X,
    )
    assert made == [LAUNCH_BYTES, LAUNCH_BYTES, "join"]


def test_compiled_and_disabled():
    model = Model([dense_layer(0)], PrefetchConfig(enabled=False), engine=Sdma())
    assert in_a_graph(lambda x: dense_forward(model.policy, x), X) == []
