"""A decoder without arithmetic and an engine that keeps a diary, for tests of the policy."""

import contextlib
from typing import NamedTuple

import torch

from ascend_prefetch.policy import PrefetchConfig, StepContext, WeightPrefetchMethod

LAUNCH_BYTES = 22 * 16384
"""What SDMA brings in a launch: 1.3 us at 0.285 TB/s, in whole pieces of 16 KiB."""


class Holder(torch.nn.Module):
    """A module of the given parts."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def linear(nbytes, prefix="", dtype=torch.int8):
    weight = torch.empty(nbytes // dtype.itemsize, dtype=dtype)
    return Holder(weight=torch.nn.Parameter(weight, requires_grad=False), prefix=prefix)


def dense_layer(number, nbytes=4 << 20):
    names = ["self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"]
    layers = {name: linear(nbytes, f"model.layers.{number}.{name}") for name in names}
    attention = Holder(qkv_proj=layers[names[0]], o_proj=layers[names[1]])
    mlp = Holder(gate_up_proj=layers[names[2]], down_proj=layers[names[3]])
    return Holder(self_attn=attention, mlp=mlp)


def moe_layer(number, name="mlp", nbytes=4 << 20):
    layer = dense_layer(number, nbytes)
    del layer.mlp
    experts = Holder(w13_weight=torch.nn.Parameter(torch.empty(4, nbytes // 8).bfloat16()))
    setattr(layer, name, Holder(experts=experts))
    return layer


class Start(NamedTuple):
    weight: torch.Tensor
    pieces: list
    after: torch.Tensor | None

    @property
    def bytes(self):
        return sum(size for _, size in self.pieces)


class Diary:
    """An engine that notes what it is asked for: a Start, or "join"."""

    name = "SDMA"

    def __init__(self):
        self.events = []
        self._begun = False

    def start(self, weight, pieces, after):
        self.events.append(Start(weight, [tuple(piece) for piece in pieces], after))
        self._begun = True

    def join(self):
        self.events.append("join")
        self._begun = False

    @property
    def starts(self):
        return [event for event in self.events if event != "join"]

    @contextlib.contextmanager
    def capture(self):
        """A graph capture: as on a device it fails with work on another stream at its end."""
        assert not self._begun
        yield
        assert not self._begun, "unjoined stream"


class ForwardContext:
    """As vLLM's forward context."""


class Model:
    """Layers, their forward pass and the policy over both."""

    def __init__(self, layers, settings=None, *, is_moe=False, num_tokens=16, **options):
        self.layers = torch.nn.ModuleList(layers)
        self.engine = Diary()
        self.num_tokens = num_tokens
        self.context = None
        self.next_step()
        self.policy = WeightPrefetchMethod(
            settings or PrefetchConfig(enabled=True),
            is_moe=is_moe,
            context=lambda: self.context,
            **{"engine": self.engine, **options},
        )

    def next_step(self, **changes):
        self.context = StepContext(ForwardContext(), self.num_tokens, self.layers)._replace(
            **changes
        )
        self.engine.events.clear()

    def weight(self, number, path):
        return self.layers[number].get_parameter(f"{path}.weight")

    @property
    def starts(self):
        return self.engine.starts

    def fetched(self):
        """(weight, bytes) of every start, by the weights' paths."""
        names = {p.data_ptr(): name for name, p in self.layers.named_parameters()}
        return [(names[start.weight.data_ptr()], start.bytes) for start in self.starts]
