"""Fails unless all that a library leaves unresolved, beside the libraries given, is CANN's.

python unresolved.py _C_npu.so libtorch_npu.so libtorch_cpu.so ...
"""

import subprocess
import sys

CANN_PREFIXES = ("acl", "rt", "Hccl", "mstx")


def symbols(path, *options):
    """Names of dynamic symbols, without versions: (type, name)."""
    listed = subprocess.run(
        ["nm", "--dynamic", *options, path], check=True, capture_output=True, text=True
    )
    for line in listed.stdout.splitlines():
        *_, kind, name = line.split()
        yield kind, name


def unresolved(library, others):
    # A version names the library of the compiler or of the C library that has the symbol; weak
    # symbols may be absent.
    wanted = {
        name
        for kind, name in symbols(library, "--undefined-only")
        if kind == "U" and not any(tag in name for tag in ("@GLIBC", "@CXXABI", "@GCC"))
    }
    for other in others:
        wanted -= {name.split("@")[0] for _, name in symbols(other, "--defined-only")}
    return sorted(wanted)


def main(library, *others):
    names = unresolved(library, others)
    foreign = [name for name in names if not name.startswith(CANN_PREFIXES)]
    print(f"{library}: {len(names)} symbols are left to CANN: {', '.join(names)}")
    if foreign:
        print("these are not CANN's:", *foreign, sep="\n  ")
    if not names:
        print("expected some: is this the NPU backend?")
    return 1 if foreign or not names else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
