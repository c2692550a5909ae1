"""The sizes of a prolog that rivals compute too."""

from __future__ import annotations

from dataclasses import dataclass, field

from ascend_prefetch.models import ModelDimensions

from .trace_builder import Tensor

# Addresses of a rival's tensors: outside every tensor of torch, a range for each layer.
_ADDRESS = 1 << 52
_LAYER_STRIDE = 1 << 44
_TENSOR_STRIDE = 1 << 36


@dataclass
class PrologShape:
    """A prolog of one rank.

    Attributes:
        tokens: rows.
        hidden, q_lora, kv_lora, rope, nope: widths in elements.
        heads: query heads of the rank.
        int8: whether qkv_a and q_b are int8; W_UK has 16 bits in any case.
        layer: number of the layer, which has weights of its own.
    """

    tokens: int
    hidden: int
    q_lora: int
    kv_lora: int
    rope: int
    nope: int
    heads: int
    int8: bool
    layer: int = 0
    _made: int = field(default=0, repr=False)

    @classmethod
    def of(
        cls, dims: ModelDimensions, tp: int, tokens: int, int8: bool, layer: int = 0
    ) -> PrologShape:
        """The prolog of a model with a query latent.

        Raises:
            ValueError: the model has none.
        """
        if dims.q_lora_rank is None:
            raise ValueError(f"{dims.name} has no query latent, which fused prologs of others need")
        return cls(
            tokens=tokens,
            hidden=dims.hidden_size,
            q_lora=dims.q_lora_rank,
            kv_lora=dims.kv_lora_rank,
            rope=dims.qk_rope_head_dim,
            nope=dims.qk_nope_head_dim,
            heads=dims.heads_per_rank(tp),
            int8=int8,
            layer=layer,
        )

    @property
    def weight_element_bytes(self) -> int:
        """Bytes of an element of qkv_a and q_b."""
        return 1 if self.int8 else 2

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        qkv_a = self.hidden * (self.q_lora + self.kv_lora + self.rope)
        q_b = self.q_lora * self.heads * (self.nope + self.rope)
        w_uk = self.heads * self.nope * self.kv_lora
        return self.weight_element_bytes * (qkv_a + q_b) + 2 * w_uk

    def weight(self, name: str, elements: int, element_bytes: int) -> Tensor:
        """A weight of this layer."""
        self._made += 1
        address = _ADDRESS + self.layer * _LAYER_STRIDE + self._made * _TENSOR_STRIDE
        return Tensor(name, address, elements * element_bytes)

    def written(self, name: str, elements: int, element_bytes: int) -> Tensor:
        """A result, or a workspace."""
        return Tensor(name, 0, elements * element_bytes, written=True)
