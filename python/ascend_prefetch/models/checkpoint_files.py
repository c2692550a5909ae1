"""Tensors of a safetensors checkpoint directory by name.

Files are memory-mapped and only the requested rows and columns are read; pickle is never involved.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ascend_prefetch.files import open_regular, read_json
from ascend_prefetch.shown import plain, shown

from .dequantise import PUBLISHED_BLOCK, stated_block
from .hf_config import language_model, read_object

if TYPE_CHECKING:
    from safetensors import safe_open

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
ALL = slice(None)


class CheckpointFiles:
    """The tensors of a directory, each read from the file that holds it.

    The directory holds model.safetensors.index.json and its shards, or model.safetensors; failing
    these, the one index or safetensors file of another name, as msmodelslim writes them.

    Raises:
        FileNotFoundError: the directory or its checkpoint is missing.
        ValueError: a file is corrupt or not a regular file, or there are several checkpoints.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)
        if not os.path.isdir(self._directory):
            raise FileNotFoundError(
                f"directory: expected a checkpoint directory, got {plain(directory)}"
            )
        self._source = self._find_source()
        if self._source.name.endswith(".index.json"):
            self._shards = _read_weight_map(self._source)
        else:
            with _open(self._source) as file:
                self._shards = dict.fromkeys(file.keys(), self._source.name)
        self._open_files: dict[Path, safe_open] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._shards

    def names(self, module: str) -> list[str]:
        """Names of the tensors in `module` and its submodules, without the module's own name."""
        prefix = f"{module}."
        return [name.removeprefix(prefix) for name in self._shards if name.startswith(prefix)]

    def dtype(self, name: str) -> str:
        """The dtype of tensor `name` as safetensors names it, such as BF16 or I8.

        Raises:
            FileNotFoundError: the file is missing.
            ValueError: the tensor is missing or the file is corrupt.
        """
        return self._slice(name).get_dtype()

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of tensor `name`; raises as dtype() does."""
        return tuple(self._slice(name).get_shape())

    def block(self) -> tuple[int, int]:
        """Rows and columns of weights that share a scale, as config.json states them.

        Raises:
            ValueError: it is not a JSON object, or states no pair of sizes.
        """
        path = self._directory / "config.json"
        if not os.path.lexists(path):
            return PUBLISHED_BLOCK
        # Of a model with several parts either the whole or its language model states it.
        for config, source in (language_model(path), (read_object(path), str(path))):
            if config.get("quantization_config") is not None:
                return stated_block(config, source)
        return PUBLISHED_BLOCK

    def read(
        self,
        name: str,
        shape: tuple[int, ...],
        dtypes: Sequence[str],
        rows: slice = ALL,
        columns: slice = ALL,
    ) -> torch.Tensor:
        """Rows and columns of tensor `name`, memory-mapped from the file.

        Args:
            name: name of the tensor.
            shape: the shape it must have as a whole.
            dtypes: the dtypes it may have, as safetensors names them.
            rows: part of its first dimension.
            columns: part of its second dimension.

        Raises:
            FileNotFoundError: the file is missing.
            ValueError: the tensor is missing or has another shape or dtype, or the file is corrupt.
        """
        tensor = self._slice(name)
        if tuple(tensor.get_shape()) != shape:
            raise ValueError(
                f"{self._where(name)}: expected shape {list(shape)}, got {tensor.get_shape()}"
            )
        if tensor.get_dtype() not in dtypes:
            raise ValueError(
                f"{self._where(name)}: expected dtype {' or '.join(dtypes)}, "
                f"got {tensor.get_dtype()}"
            )
        if not shape:
            return tensor[...]
        return tensor[rows] if len(shape) == 1 else tensor[rows, columns]

    def descriptions(self) -> dict[str, Any]:
        """The quantisation types by tensor name, from quant_model_description*.json.

        The result is empty if there is no such file.

        Raises:
            ValueError: it is not a regular file with a JSON object.
        """
        merged: dict[str, Any] = {}
        for path in sorted(self._directory.glob("quant_model_description*.json")):
            content = read_json(path)
            if not isinstance(content, dict):
                raise ValueError(f"{path}: expected a JSON object of quantisation types")
            merged |= content
        return merged

    def _find_source(self) -> Path:
        for name in (_INDEX, _SINGLE):
            # Any kind of file counts here; what is not a regular one is refused when it is opened.
            if os.path.lexists(self._directory / name):
                return self._directory / name
        for pattern in ("*.safetensors.index.json", "*.safetensors"):
            found = sorted(self._directory.glob(pattern))
            if len(found) == 1:
                return found[0]
            if found:
                raise ValueError(
                    f"{self._directory}: expected one checkpoint, found "
                    + ", ".join(path.name for path in found[:3])
                )
        raise FileNotFoundError(f"{self._directory}: expected {_INDEX} or {_SINGLE}, found neither")

    def _where(self, name: str) -> str:
        return f"{self._directory / self._shards[name]}: tensor {name}"

    def _slice(self, name: str) -> Any:
        if name not in self._shards:
            raise ValueError(f"{self._source}: tensor {name} is missing{self._near_names(name)}")
        path = self._shard_path(name)
        if path not in self._open_files:
            self._open_files[path] = _open(path)
        file = self._open_files[path]
        if name not in file.keys():
            raise ValueError(f"{path}: tensor {name} is missing, though the index names it")
        return file.get_slice(name)

    def _shard_path(self, name: str) -> Path:
        shard = self._shards[name]
        # Shards lie beside the index: with a path, a checkpoint could read files elsewhere. Links
        # stay allowed, as the Hugging Face cache is made of them.
        if Path(shard).name != shard:
            raise ValueError(
                f"{self._source}: tensor {name}: expected a shard in the directory, "
                f"got {shown(shard)}"
            )
        path = self._directory / shard
        try:
            open_regular(path).close()
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{self._source}: tensor {name}: shard {shard} does not exist"
            ) from None
        except ValueError as error:
            raise ValueError(f"{self._source}: tensor {name}: {error}") from None
        return path

    def _near_names(self, name: str) -> str:
        # Comparing with all names of a large model would take seconds.
        module, parameter, _ = name.rsplit(".", 2)
        layer = module.split(".self_attn")[0]
        candidates = [
            other
            for other in self._shards
            if (parameter in other or layer in other) and other.isprintable() and len(other) < 200
        ]
        near = difflib.get_close_matches(name, candidates, n=3)
        return f"; similar names: {', '.join(near)}" if near else ""


def _open(path: Path) -> safe_open:
    # safetensors is an optional dependency: without it everything but this loader works.
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise ImportError("reading a checkpoint needs the package safetensors") from None
    open_regular(path).close()  # safe_open would wait at a FIFO until some process writes to it
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise ValueError(f"{path}: corrupt safetensors file: {plain(error)}") from None


def _read_weight_map(index: Path) -> dict[str, str]:
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not all(
        isinstance(shard, str) for shard in weight_map.values()
    ):
        raise ValueError(f"{index}: expected a JSON object with a weight_map from names to files")
    return weight_map
