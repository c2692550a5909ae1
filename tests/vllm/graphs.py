"""Decode graphs: attention layers under upstream's own wrapper, captured once and replayed."""

from __future__ import annotations

import dataclasses

import torch

import environment
import formats
import steps
from double import calls
from layers import Layers


class Captured:
    """A graph of attention layers, which replays steps of as many rows.

    Inputs, metadata and caches are where they were when the graph was captured, as a model runner
    has them.

    Attributes:
        calls: what a step consists of on the device, by name.
    """

    def __init__(self, layers: Layers, scenario: steps.Scenario, *, both: bool = False):
        """Captures `scenario`, which has as many requests as the steps that follow.

        Args:
            layers: whose graph it is.
            scenario: the step.
            both: whether the plugin captures two graphs, and chooses between their parameters.
        """
        from vllm.compilation.monitor import set_cudagraph_capturing_enabled
        from vllm.config import CUDAGraphMode
        from vllm_ascend.compilation import acl_graph

        self._layers = layers
        self._chosen_by_plugin = both
        self._rows = scenario.rows
        self._memory = steps.caches_for(layers, scenario, seed=0)
        self._hidden = [steps.new_input(layers, scenario) for _ in layers.modules]
        self._common = steps.common_metadata(scenario, table_width=4)
        for module, caches in zip(layers.modules, self._memory, strict=True):
            steps.bind(module, tuple(caches))
        set_cudagraph_capturing_enabled(True)
        acl_graph._graph_params = None
        acl_graph.set_graph_params([self._rows])
        self._graph_params = acl_graph._graph_params
        with environment.context(layers.config), torch.inference_mode():
            self._wrapper = acl_graph.ACLGraphWrapper(
                self._forward, layers.config, CUDAGraphMode.FULL
            )
            with self._step(scenario):
                self._wrapper()
        self.calls = self.calls_of(self._wrapper.concrete_aclgraph_entries)

    @staticmethod
    def calls_of(entries: dict) -> list[str]:
        """What the one graph of a wrapper's entries calls."""
        (entry,) = entries.values()
        return [step.name for step in entry.aclgraph.steps]

    def both_calls(self) -> dict[bool, list[str]]:
        """By the state of the switch, what the graph calls that is replayed then."""
        sets = self._wrapper._ascend_prefetch_sets
        return {on: self.calls_of(entries) for on, entries in sets.items()}

    def replay(self, scenario: steps.Scenario, seed: int = 0) -> steps.Result:
        """The step that steps.run() takes, by the graph."""
        from vllm.forward_context import get_forward_context
        from vllm_ascend.compilation import acl_graph

        assert scenario.rows == self._rows
        draw = steps.input_generator(seed)
        if not self._chosen_by_plugin:
            acl_graph._graph_params = self._graph_params
        with environment.context(self._layers.config), torch.inference_mode():
            for hidden in self._hidden:
                hidden.copy_(steps.new_input(self._layers, scenario, draw))
            new = steps.caches_for(self._layers, scenario, seed)
            for caches, contents in zip(self._memory, new, strict=True):
                for cache, content in zip(caches, contents, strict=True):
                    cache.copy_(content)
            self._place(steps.common_metadata(scenario, table_width=4))
            with self._step(scenario), calls.record() as recorded:
                if not self._layers.model.sparse:  # as the model runner does
                    acl_graph.update_full_graph_params(
                        self._layers.modules[0].mla_attn.mla_attn.attn_backend,
                        None,
                        get_forward_context(),
                        self._rows,
                        self._layers.config,
                        self._layers.config.speculative_config,
                    )
                outputs = self._wrapper()
        caches = [[cache.clone() for cache in caches] for caches in self._memory]
        caches = formats.readable(self._layers.impls, caches)
        return steps.Result([output.clone() for output in outputs], caches, recorded)

    def _forward(self) -> list[torch.Tensor]:
        positions = torch.zeros(self._rows, dtype=torch.long)
        pairs = zip(self._layers.modules, self._hidden, strict=True)
        return [module.mla_attn(positions, hidden) for module, hidden in pairs]

    def _place(self, common) -> None:
        """Puts a step's metadata where that of the captured step is, as far as it is tensors."""
        for field in dataclasses.fields(common):
            value, buffer = getattr(common, field.name), getattr(self._common, field.name)
            if isinstance(value, torch.Tensor):
                buffer.copy_(value)
            else:
                setattr(self._common, field.name, value)

    def _step(self, scenario: steps.Scenario):
        from vllm.config import CUDAGraphMode
        from vllm.forward_context import BatchDescriptor

        return steps.forward_context(
            self._layers,
            scenario,
            steps.metadata(self._layers, self._common),
            aclgraph_runtime_mode=CUDAGraphMode.FULL,
            batch_descriptor=BatchDescriptor(num_tokens=self._rows),
        )
