"""How long the host takes for a call of each op: checks, cached plan, launch into ACL's double.

    python tests/python/host_speed.py [--json FILE]

Everything but the runtime and the device, on one thread, from Python: medians of single calls, us.
torch.add of two tensors of four elements is measured in turn with them, on the same machine, as the
price of any op.
"""

import argparse
import itertools
import json
import statistics
import time

import torch

from acl_double import acl_double

ROUNDS = 20
CALLS = 200
TOKENS = 16


def empty(*shape, dtype=torch.bfloat16):
    return torch.empty(*shape, dtype=dtype)


def calls():
    """A call of each op with the shapes of deepseek-v3, one of 16 tensor-parallel ranks."""
    ops = torch.ops.ascend_prefetch
    numbers = torch.ones(4)
    passing = itertools.count(1_000_000, 4096)  # as a cache that grows with every step
    o_proj_weight, w_uv = empty(7168, 1024), empty(8, 512, 128)
    qkv_a_weight, attn_output = empty(2112, 7168), empty(TOKENS, 8, 512)
    rope_table = empty(TOKENS, 64, dtype=torch.float32)
    prolog = (
        empty(TOKENS, 7168),
        qkv_a_weight,
        empty(1536),
        empty(1536, 1536),
        empty(8, 128, 512),
        empty(512),
        rope_table,
        rope_table,
        empty(TOKENS, dtype=torch.int32),
        empty(64, 128, 1, 512),
        empty(64, 128, 1, 64),
    )
    return {
        "torch.add": lambda: torch.add(numbers, numbers),
        "mla_prolog": lambda: ops.mla_prolog.default(*prolog),
        "mla_prolog + prefetch": lambda: ops.mla_prolog.default(*prolog, prefetch=[o_proj_weight]),
        "mla_prolog + fixed hint": lambda: ops.mla_prolog.default(
            *prolog, prefetch=[o_proj_weight], prefetch_passing_bytes=[1_000_000]
        ),
        "mla_prolog + growing hint": lambda: ops.mla_prolog.default(
            *prolog, prefetch=[o_proj_weight], prefetch_passing_bytes=[next(passing)]
        ),
        "o_proj": lambda: ops.o_proj.default(attn_output, o_proj_weight, w_uv=w_uv),
        "o_proj + prefetch": lambda: ops.o_proj.default(
            attn_output, o_proj_weight, w_uv=w_uv, prefetch=[qkv_a_weight]
        ),
        "o_proj + fixed hint": lambda: ops.o_proj.default(
            attn_output,
            o_proj_weight,
            w_uv=w_uv,
            prefetch=[qkv_a_weight],
            prefetch_passing_bytes=[1_000_000],
        ),
        "o_proj + growing hint": lambda: ops.o_proj.default(
            attn_output,
            o_proj_weight,
            w_uv=w_uv,
            prefetch=[qkv_a_weight],
            prefetch_passing_bytes=[next(passing)],
        ),
        "prefetch": lambda: ops.prefetch.default([o_proj_weight]),
        "prefetch (sdma)": lambda: ops.prefetch.default([o_proj_weight], engine="sdma"),
    }


def measure():
    """Median us of each call; rounds go over all of them, so that a slow moment hits all alike."""
    times = {}
    with torch.inference_mode(), acl_double() as double:
        double.set_recording(False)
        measured = calls()
        for name, call in measured.items():
            times[name] = []
            call()
        for _ in range(ROUNDS):
            for name, call in measured.items():
                for _ in range(CALLS):
                    start = time.perf_counter_ns()
                    call()
                    times[name].append(time.perf_counter_ns() - start)
    return {name: statistics.median(list_of) / 1000 for name, list_of in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    medians = measure()
    for name, median in medians.items():
        print(f"{name:28}{median:8.2f} us{median / medians['torch.add']:8.2f} x torch.add")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(medians, file, indent=1)


if __name__ == "__main__":
    main()
