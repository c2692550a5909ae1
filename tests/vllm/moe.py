"""Real decoder layers of vLLM with routed and shared experts, and what they must compute."""

from __future__ import annotations

import torch

import compare
import environment
import layers
import models
import steps
from double import calls

_MLP = "model.layers.{}.mlp"


class MoELayers(layers.Layers):
    """Decoder layers of which every one has experts.

    Attributes:
        decoders: DeepseekV2DecoderLayer, one per layer; `modules` are their attentions.
    """

    def __init__(
        self, model: models.Model, quantisation: str, *, expert_parallel: bool = False, **settings
    ):
        self.decoders: list[torch.nn.Module] = []
        self.quantisation = quantisation

        def prepare(config) -> None:
            config.parallel_config.enable_expert_parallel = expert_parallel

        super().__init__(model, quantisation, prepare=prepare, **settings)

    def _new(self, layer: int, quant, buffer):
        from vllm.model_executor.models.deepseek_v2 import DeepseekV2DecoderLayer
        from vllm_ascend.distributed.parallel_state import init_ascend_model_parallel

        init_ascend_model_parallel(self.config.parallel_config)  # returns if it was
        _set_mc2(self.config)
        if quant is not None:
            quant.quant_description.update(quant_description(self.model, self.quantisation, layer))
        decoder = DeepseekV2DecoderLayer(
            self.config, f"model.layers.{layer}", config=self.hf_config, topk_indices_buffer=buffer
        )
        self.decoders.append(decoder)
        return decoder.self_attn

    def _loaded(self, layer: int) -> None:
        decoder = self.decoders[layer]
        tensors = checkpoint(self.model, self.quantisation, layer)
        load(decoder.mlp, tensors)
        draw = torch.Generator().manual_seed(700 + layer)
        for norm in (decoder.input_layernorm, decoder.post_attention_layernorm):
            norm.weight.data.copy_(1 + 0.1 * torch.randn(norm.weight.shape, generator=draw))
        super()._loaded(layer)
        layers.process_parts(decoder.mlp)


def _set_mc2(config) -> None:
    """What a model runner sets, once, for dispatch and combine as ops."""
    from vllm_ascend import ascend_forward_context as context

    if context.get_mc2_tokens_capacity() is None:
        context.set_mc2_tokens_capacity(config, config.scheduler_config.max_num_seqs, 1)
        context.set_mc2_mask(config, torch.device("cpu"))


def beyond_tolerance(quantisation: str, errors: dict[str, float]) -> dict[str, float]:
    """Of compare.errors() of decoder layers those that are too large.

    Outputs are behind attention and experts, each of which may be as far off as attention alone.
    """
    allowed = {k: compare.tolerance(quantisation, k) for k in errors}
    allowed["outputs"] *= 2
    return {k: error for k, error in errors.items() if not error <= allowed[k]}


def feed_forward(layers_: MoELayers, layer: int, x: torch.Tensor) -> torch.Tensor:
    """The output of a layer's gate and experts, for x [T, hidden] on every rank."""
    scenario = steps.Scenario("feed-forward", (5,) * len(x), (1,) * len(x))
    with (
        environment.context(layers_.config),
        torch.inference_mode(),
        steps.forward_context(layers_, scenario, None),
    ):
        return layers_.decoders[layer].mlp(x.clone())


def run(layers_: MoELayers, scenario: steps.Scenario, seed: int = 0) -> steps.Result:
    """One step through all decoder layers, each with an input of its own, as steps.run does."""
    draw = steps.input_generator(seed)
    memory = steps.caches_for(layers_, scenario, seed)
    outputs = []
    with environment.context(layers_.config), torch.inference_mode():
        metadata = steps.metadata(layers_, steps.common_metadata(scenario))
        for module, caches in zip(layers_.modules, memory, strict=True):
            steps.bind(module, tuple(caches))
        with steps.forward_context(layers_, scenario, metadata), calls.record() as recorded:
            positions = torch.zeros(scenario.rows, dtype=torch.long)
            for decoder in layers_.decoders:
                hidden, residual = (steps.new_input(layers_, scenario, draw) for _ in range(2))
                outputs.extend(decoder(positions, hidden, residual))
    return steps.Result(outputs, memory, recorded)


def shapes(model: models.Model) -> dict[str, tuple[int, int]]:
    """[out, in] of every projection of a layer's experts, by its name in a checkpoint."""
    c = model.configuration()
    hidden, inner = c.hidden_size, c.moe_intermediate_size
    names = [f"experts.{e}" for e in range(c.n_routed_experts)] + ["shared_experts"]
    of_one = {
        "gate_proj": (inner, hidden),
        "up_proj": (inner, hidden),
        "down_proj": (hidden, inner),
    }
    return {f"{name}.{part}": shape for name in names for part, shape in of_one.items()}


def quant_description(model: models.Model, quantisation: str, layer: int) -> dict[str, str]:
    """The lines of quant_model_description.json about a layer's experts."""
    # msmodelslim's experts are quantised dynamically, whatever the attention is.
    names = {f"{_MLP.format(layer)}.{name}.weight": "W8A8_DYNAMIC" for name in shapes(model)}
    return {f"{_MLP.format(layer)}.gate.weight": "FLOAT", **names}


def bytes_of(model: models.Model, quantisation: str) -> tuple[int, int]:
    """Bytes of one routed expert's weights, and of what every token reads: shared expert, gate."""
    c = model.configuration()
    numbers = sum(rows * columns for rows, columns in shapes(model).values())
    numbers //= c.n_routed_experts + c.n_shared_experts
    itemsize = 2 if quantisation == "bf16" else 1
    gate = c.n_routed_experts * c.hidden_size
    return numbers * itemsize, numbers * itemsize + gate * 2


def checkpoint(model: models.Model, quantisation: str, layer: int) -> dict[str, torch.Tensor]:
    """Tensors of one layer's experts and gate, by their names below mlp."""
    draw = torch.Generator().manual_seed(500 + layer)
    c = model.configuration()
    gate = torch.randn(c.n_routed_experts, c.hidden_size, generator=draw) / c.hidden_size**0.5
    tensors = {
        "gate.weight": gate.bfloat16(),
        "gate.e_score_correction_bias": 0.1 * torch.randn(c.n_routed_experts, generator=draw),
    }
    for name, (rows, columns) in shapes(model).items():
        weight = torch.randn(rows, columns, generator=draw) / columns**0.5
        if quantisation == "bf16":
            tensors[f"{name}.weight"] = weight.bfloat16()
        else:
            tensors.update(models.quantised(name, weight, "W8A8_DYNAMIC"))
    return tensors


_PARTS = {"gate_proj": ("gate_up_proj", 0, "w1"), "up_proj": ("gate_up_proj", 1, "w3")}


def _loaded_as(experts, expert: int) -> list[int]:
    """The numbers by which a loader knows an expert: since 0.26 that of each of its copies."""
    routed = getattr(experts, "routed_experts", None)
    owners = (owner for owner in (experts, routed) if hasattr(owner, "global_expert_map"))
    placed = getattr(next(owners, None), "global_expert_map", None)
    if placed is None or routed is None:
        return [expert]
    local = int((placed[0] >= 0).sum())
    copies = enumerate(placed[:, expert].tolist())
    return [rank * local + slot for rank, slot in copies if slot >= 0]


def load(mlp: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """As the model's load_weights does: experts by their own loader, which drops other ranks'."""
    parameters = dict(mlp.named_parameters())
    for name, tensor in tensors.items():
        owner, part, kind = (["", *name.split(".")])[-3:]
        if name.startswith("experts."):
            shard = _PARTS.get(part, ("", 0, "w2"))[2]
            stem = "w2" if shard == "w2" else "w13"
            places = (f"experts.{stem}_{kind}", f"experts.routed_experts.{stem}_{kind}")
            parameter = next(parameters[place] for place in places if place in parameters)
            for expert in _loaded_as(mlp.experts, int(owner)):
                parameter.weight_loader(parameter, tensor, name, shard_id=shard, expert_id=expert)
            continue
        if owner == "shared_experts":
            fused, index, _ = _PARTS.get(part, (part, None, ""))
            parameter = parameters[f"{owner}.{fused}.{kind}"]
            more = () if index is None else (index,)
            parameter.weight_loader(parameter, tensor, *more)
            continue
        parameter = parameters[name]
        parameter.data.copy_(tensor)


def reference(model: models.Model, quantisation: str, layer: int, x: torch.Tensor) -> torch.Tensor:
    """The feed-forward of a layer, in float32 from the checkpoint's tensors."""
    c = model.configuration()
    tensors = checkpoint(model, quantisation, layer)

    def weight(name: str) -> torch.Tensor:
        scale = tensors.get(f"{name}.weight_scale")
        return tensors[f"{name}.weight"].float() * (1 if scale is None else scale.float())

    def project(x: torch.Tensor, name: str) -> torch.Tensor:
        return _rounded(x, quantisation) @ weight(name).T

    def expert(x: torch.Tensor, name: str) -> torch.Tensor:
        gate, up = (project(x, f"{name}.{part}") for part in ("gate_proj", "up_proj"))
        return project(torch.nn.functional.silu(gate) * up, f"{name}.down_proj")

    x = x.float()
    scores = (x @ tensors["gate.weight"].float().T).sigmoid()
    biased = scores + tensors["gate.e_score_correction_bias"]
    groups = biased.unflatten(-1, (c.n_group, -1))
    kept = groups.topk(2, dim=-1).values.sum(-1).topk(c.topk_group, dim=-1).indices
    mask = torch.zeros(groups.shape[:2], dtype=torch.bool).scatter_(-1, kept, True)
    biased = groups.masked_fill(~mask[..., None], float("-inf")).flatten(-2)
    chosen = biased.topk(c.num_experts_per_tok, dim=-1).indices
    weights = scores.gather(-1, chosen)
    weights = weights / weights.sum(-1, keepdim=True) * c.routed_scaling_factor
    out = expert(x, "shared_experts")
    for token in range(x.shape[0]):
        for index, share in zip(chosen[token].tolist(), weights[token], strict=True):
            out[token] += share * expert(x[token : token + 1], f"experts.{index}")[0]
    return out


def _rounded(x: torch.Tensor, quantisation: str) -> torch.Tensor:
    if quantisation == "bf16":
        return x
    step = x.abs().amax(-1, keepdim=True) / 127
    return (x / step).round() * step
