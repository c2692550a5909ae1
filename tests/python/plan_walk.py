"""Walks plans of the models (tests/cpp/plan_walk), side by side on some cores."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from ascend_prefetch.models import MODELS, ModelDimensions

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("ASCEND_PREFETCH_BUILD_DIR", ROOT / "build"))


def line_of(model: ModelDimensions) -> str:
    """A model as plan_walk reads it: struct Model of tests/cpp/plan_walk/cases.h."""
    indexer = model.indexer
    sizes = [
        model.hidden_size,
        model.num_heads,
        model.q_lora_rank or 0,
        model.kv_lora_rank,
        model.qk_nope_head_dim,
        model.v_head_dim,
        indexer.num_heads if indexer else 0,
        indexer.head_dim if indexer else 0,
    ]
    return " ".join([model.name, *map(str, sizes)])


def start(products: int, seed: int) -> subprocess.Popen[str]:
    """Starts a walk of at least `products` GEMMs; it exits with 0 where no plan has a fault."""
    walk = subprocess.Popen(
        [
            BUILD / "tests" / "cpp" / "plan_walk" / "plan_walk",
            *("--products", str(products)),
            *("--seed", str(seed)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert walk.stdin is not None
    walk.stdin.write("\n".join(map(line_of, MODELS.values())) + "\n")
    walk.stdin.close()
    walk.stdin = None  # communicate() would flush it
    return walk


def main() -> int:
    """Runs as many walks as there are jobs; returns an exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=5_000_000, help="GEMMs, of all jobs")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1, help="of the first job")
    args = parser.parse_args()
    begin = time.monotonic()
    share = -(-args.products // args.jobs)
    walks = [start(share, args.seed + job) for job in range(args.jobs)]
    for walk in walks:
        print(walk.communicate()[0], end="")
    print(f"{(time.monotonic() - begin) / 60:.1f} minutes on {args.jobs} cores")
    return max(walk.returncode for walk in walks)


if __name__ == "__main__":
    sys.exit(main())
