"""Writes python/ascend_prefetch/ops.pyi: the ops' signatures, for type checkers and editors.

python tests/python/op_stubs.py
"""

import inspect
from pathlib import Path

from ascend_prefetch import ops

STUB = Path(__file__).resolve().parents[2] / "python" / "ascend_prefetch" / "ops.pyi"
OPS = ("mla_prolog", "sfa_prolog", "o_proj", "prefetch", "prefetch_join")


def stub():
    """The text of the file."""
    constants = [f"{name}: int" for name, value in vars(ops).items() if isinstance(value, int)]
    parts = ["import collections.abc", "import torch", "", *constants]
    for name in OPS:
        signature = inspect.signature(getattr(ops, name))
        lines = []
        for parameter in signature.parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY and "    *," not in lines:
                lines.append("    *,")
            lines.append(f"    {parameter},")
        result = str(inspect.Signature(return_annotation=signature.return_annotation))
        arguments = "".join(f"\n{line}" for line in lines) + "\n" * bool(lines)
        parts.append(f"def {name}({arguments}){result.removeprefix('()')}: ...")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    STUB.write_text(stub())
