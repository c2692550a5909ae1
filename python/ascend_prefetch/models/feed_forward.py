"""Feed-forward dimensions of the models: the MLP of dense layers and the experts of MoE layers."""

from __future__ import annotations

from dataclasses import dataclass

from ascend_prefetch.shown import shown


@dataclass(frozen=True)
class ExpertDimensions:
    """The experts of a model's MoE layers.

    Attributes:
        count: routed experts of a layer.
        top_k: routed experts that a token chooses.
        intermediate_size: width of one expert.
        shared: shared experts, which every token uses; 0 for none.
    """

    count: int
    top_k: int
    intermediate_size: int
    shared: int


@dataclass(frozen=True)
class FeedForwardDimensions:
    """What follows the attention in a model's layers.

    Attributes:
        layers: decoder layers of the model.
        dense_layers: how many of them, the first ones, have an MLP in place of experts.
        intermediate_size: width of that MLP.
        experts: the experts of the others; None where they are not known well enough to model.
        source: where the numbers come from.
    """

    layers: int
    dense_layers: int
    intermediate_size: int
    experts: ExpertDimensions | None
    source: str


_HUGGING_FACE = "https://huggingface.co/{}/blob/main/config.json".format
_DEEPSEEK_EXPERTS = ExpertDimensions(count=256, top_k=8, intermediate_size=2048, shared=1)

FEED_FORWARDS: dict[str, FeedForwardDimensions] = {
    "deepseek-v3": FeedForwardDimensions(
        61, 3, 18432, _DEEPSEEK_EXPERTS, _HUGGING_FACE("deepseek-ai/DeepSeek-V3")
    ),
    "deepseek-v3.2": FeedForwardDimensions(
        61, 3, 18432, _DEEPSEEK_EXPERTS, _HUGGING_FACE("deepseek-ai/DeepSeek-V3.2")
    ),
    "glm-5": FeedForwardDimensions(78, 3, 12288, _DEEPSEEK_EXPERTS, _HUGGING_FACE("zai-org/GLM-5")),
    "kimi-k2": FeedForwardDimensions(
        61,
        1,
        18432,
        ExpertDimensions(count=384, top_k=8, intermediate_size=2048, shared=1),
        _HUGGING_FACE("moonshotai/Kimi-K2-Instruct"),
    ),
    # Experts run beside a second attention and a second MLP of the same layer, and some of those
    # that a token chooses compute nothing: an order of kernels of its own.
    "longcat-flash": FeedForwardDimensions(
        28, 28, 12288, None, _HUGGING_FACE("meituan-longcat/LongCat-Flash-Chat")
    ),
    "glm-4-moe-lite": FeedForwardDimensions(
        47,
        1,
        10240,
        ExpertDimensions(count=64, top_k=4, intermediate_size=1536, shared=1),
        _HUGGING_FACE("zai-org/GLM-4.7-Flash"),
    ),
    "deepseek-v2-lite": FeedForwardDimensions(
        27,
        1,
        10944,
        ExpertDimensions(count=64, top_k=6, intermediate_size=1408, shared=2),
        _HUGGING_FACE("deepseek-ai/DeepSeek-V2-Lite"),
    ),
}
"""By the names of MODELS."""


def get_feed_forward(model: str) -> FeedForwardDimensions:
    """The feed-forward dimensions of a preset.

    Raises:
        ValueError: there is no preset of that name.
    """
    if model not in FEED_FORWARDS:
        raise ValueError(f"model: expected one of {', '.join(FEED_FORWARDS)}, got {shown(model)}")
    return FEED_FORWARDS[model]


def get_experts(model: str) -> ExpertDimensions:
    """The experts of a preset's MoE layers.

    Raises:
        ValueError: there is no preset of that name, or its MoE layers are not modelled.
    """
    experts = get_feed_forward(model).experts
    if experts is None:
        raise ValueError(
            f"kind: expected dense for {model}, whose experts run beside a second attention of the "
            "same layer, got moe"
        )
    return experts
