"""One process with one release of vLLM Ascend, set up as its worker sets itself up, on a CPU.

    PYTHONPATH=.venv-vllm/releases/0.23.0 .venv-vllm/bin/python
    >>> import environment; environment.start()

start() installs the double of torch_npu (tests/vllm/double), applies upstream's patches, registers
its custom ops and initialises a world of one process, or of a group, over gloo. After it upstream
is imported as usual. configuration() makes the VllmConfig of a model, in whose context layers are
built:

    >>> config = environment.configuration(model)
    >>> with environment.context(config): ...
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import os
import sys
import tempfile
import types
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import torch

import double
from double import graph

BLOCK = 128  # rows of a cache block, the one size that upstream's MLA takes
MAX_TOKENS = 512
FLASH_COMM = "VLLM_ASCEND_ENABLE_FLASHCOMM1"
DEVICE = "ASCEND_PREFETCH_DEVICE"  # for the suite: the kind of device, A2 or A3


@functools.cache
def start() -> str:
    """Sets the process up, once.

    Returns:
        The version of vllm-ascend.
    """
    install_double()
    if DEVICE in os.environ:
        _built_for(os.environ[DEVICE])
    os.environ["VLLM_ASCEND_ENABLE_MLAPO"] = "0"  # for 0.18; see layers.py
    _pass_dispatch_keys_to_cpu()

    from vllm_ascend.utils import adapt_patch, register_ascend_customop

    adapt_patch(is_global_patch=True)
    _worker_patches("patch_deepseek_v2", "patch_kv_cache_dtype")
    register_ascend_customop()
    for name in ("attention.mla_v1", "attention.sfa_v1"):
        importlib.import_module(f"vllm_ascend.{name}")
    double.finish()
    from ascend_prefetch.vllm import register

    register()  # the entry point; vLLM calls it while it loads its general plugins
    _start_distributed()
    return version("vllm-ascend")


def _built_for(device: str) -> None:
    """Says what upstream was built for; before its package is imported, which may ask at once."""
    info = types.ModuleType("vllm_ascend._build_info")
    info.__dict__["__device_type__"] = device
    sys.modules[info.__name__] = info


@functools.cache
def install_double() -> None:
    """The first part of start(), which configurations alone need. Nothing is looked up outside."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ["HF_HUB_OFFLINE"] = "1"
    double.install()


def _pass_dispatch_keys_to_cpu() -> None:
    """Ops that upstream registers for its device run on CPU tensors, captures look into them."""
    from vllm.utils import torch_utils

    register = torch_utils.direct_register_custom_op

    @functools.wraps(register)
    def register_for_cpu(*args, **kwargs):
        kwargs["dispatch_key"] = "CPU"
        named = inspect.signature(register).bind(*args, **kwargs).arguments
        graph.PYTHON_OPS[named["op_name"]] = named["op_func"]
        return register(*args, **kwargs)

    torch_utils.direct_register_custom_op = register_for_cpu


def _worker_patches(*names: str) -> None:
    """Of a worker's patches those of the layers here; all of them import every model."""
    import vllm_ascend.patch

    package = types.ModuleType("vllm_ascend.patch.worker")
    package.__path__ = [os.path.join(path, "worker") for path in vllm_ascend.patch.__path__]
    sys.modules[package.__name__] = package
    for name in names:
        if os.path.exists(os.path.join(package.__path__[0], f"{name}.py")):
            importlib.import_module(f"{package.__name__}.{name}")


@dataclass
class _Group:
    """This process and its group.

    Attributes:
        rank, size: in the group.
        store: a file in which its processes meet.
        o_proj: whether the group shares o_proj alone, and not all tensors.
    """

    rank: int = 0
    size: int = 1
    store: Path | None = None
    o_proj: bool = False

    @property
    def tensor_parallel(self) -> int:
        return 1 if self.o_proj else self.size


_group = _Group()


def join_group(rank: int, size: int, store: Path, *, o_proj: bool = False) -> None:
    """Before start(): one of `size` processes that meet in the file `store`.

    They are a tensor-parallel group, or share o_proj alone (oproj_tensor_parallel_size).
    """
    global _group
    _group = _Group(rank, size, store, o_proj)


def _start_distributed() -> None:
    from vllm.config import set_current_vllm_config
    from vllm.distributed import init_distributed_environment, initialize_model_parallel

    with set_current_vllm_config(_bare_configuration({})):
        store = _group.store
        if store is None:
            store = tempfile.NamedTemporaryFile(prefix="ascend-prefetch-", delete=False).name
        init_distributed_environment(
            world_size=_group.size,
            rank=_group.rank,
            local_rank=_group.rank,
            distributed_init_method=f"file://{store}",
            backend="gloo",
        )
        initialize_model_parallel(_group.tensor_parallel)
        if _group.o_proj:
            from vllm.distributed.parallel_state import init_model_parallel_group
            from vllm_ascend.distributed import parallel_state

            parallel_state._OTP = init_model_parallel_group(
                [list(range(_group.size))], _group.rank, "gloo", group_name="otp"
            )


def _bare_configuration(additional: dict):
    from vllm.config import CacheConfig, DeviceConfig, SchedulerConfig, VllmConfig

    with mock.patch.dict(os.environ):
        if os.environ.pop(FLASH_COMM, None):  # upstream refuses it for one rank
            from vllm_ascend import utils

            utils._ENABLE_SP = None  # asks again
        config = VllmConfig(
            cache_config=CacheConfig(block_size=BLOCK),
            scheduler_config=SchedulerConfig(
                max_num_batched_tokens=MAX_TOKENS,
                max_num_seqs=64,
                max_model_len=4096,
                is_encoder_decoder=False,
            ),
            device_config=DeviceConfig("cpu"),
            additional_config=additional,
        )
    if FLASH_COMM in os.environ:
        utils._ENABLE_SP = None
    # Not before: for more than one rank the platform asks for the model.
    config.parallel_config.tensor_parallel_size = _group.tensor_parallel
    return config


class _ModelInfo:
    """What vLLM knows of a model's class: nothing out of the ordinary."""

    architecture = "DeepseekV3ForCausalLM"

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return False


def configuration(
    hf_config,
    *,
    quant=None,
    additional: dict | None = None,
    speculative: int = 0,
    kv_role: str | None = None,
):
    """The VllmConfig of a model.

    Args:
        hf_config: transformers' configuration of the model.
        quant: upstream's quantisation config, or None.
        additional: --additional-config.
        speculative: tokens that a draft model proposes per step; 0 for no speculation.
        kv_role: of a worker that gets caches from others or hands them on, "kv_consumer" for
            workers that only decode; None without a KV transfer.
    """
    from vllm.config import KVTransferConfig, ModelConfig

    config = _bare_configuration(dict(additional or {}))
    if kv_role is not None:
        connector = "MooncakeConnectorV1"
        config.kv_transfer_config = KVTransferConfig(kv_connector=connector, kv_role=kv_role)
    # ModelConfig's own start looks for weights and a tokenizer; its methods are all that is needed.
    model = object.__new__(ModelConfig)
    fields = dict(
        model="test",
        tokenizer="test",
        hf_config=hf_config,
        hf_text_config=hf_config,
        dtype=torch.bfloat16,
        max_model_len=4096,
        enforce_eager=True,
        quantization=None if quant is None else "ascend",
        runner_type="generate",
        runner="generate",
        multimodal_config=None,
        is_encoder_decoder_cached=False,
        disable_cascade_attn=True,
        seed=0,
        model_class_overrides={},
        _model_info=_ModelInfo(),
        _architecture="DeepseekV3ForCausalLM",
    )
    model.__dict__.update(fields)
    model.model_arch_config = model.get_model_arch_config()
    config.model_config = model
    config.quant_config = quant
    if speculative:
        config.speculative_config = types.SimpleNamespace(
            num_speculative_tokens=speculative,
            disable_padded_drafter_batch=False,
            method="mtp",
            draft_model_config=None,
            enable_adaptive_verification=False,
            use_eagle=lambda: True,
        )
    return config


@contextlib.contextmanager
def mlapo(on: bool) -> Iterator[None]:
    """Layers that are built here have upstream's fused op MLAPO, which the double cannot run."""
    with mock.patch.dict(os.environ, VLLM_ASCEND_ENABLE_MLAPO=str(int(on))):
        yield


@contextlib.contextmanager
def context(config):
    """The context in which layers are built and metadata is made."""
    from vllm.config import set_current_vllm_config
    from vllm_ascend import utils
    from vllm_ascend.ascend_config import clear_ascend_config, init_ascend_config

    clear_ascend_config()  # 0.18 keeps the first one of a process
    with set_current_vllm_config(config):
        ascend = init_ascend_config(config)
        if _group.o_proj:  # upstream wants data parallelism and graphs for it
            ascend.finegrained_tp_config.oproj_tensor_parallel_size = _group.size
        if hasattr(utils, "set_weight_prefetch_method"):  # as the model runner does
            utils.set_weight_prefetch_method(ascend.weight_prefetch_config)
        yield
