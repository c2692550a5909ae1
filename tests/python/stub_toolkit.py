"""Generates a tree that looks like a CANN toolkit to our CMake files, and compiles nothing.

Its ascendc.cmake declares the commands of the toolkit's (asc-devkit, docs/zh/guide,
附录/基于样例工程完成Kernel直调); its compiler and linker write their command lines to
`commands.jsonl` of the tree. An "object" is a list of the kernels in a source, and the linker makes
of those a device binary without code.
"""

import json
import platform
import re
import sys
from pathlib import Path

from elf_file import K_TYPE_AIC, K_TYPE_AIV, K_TYPE_MIX_AIC_MAIN, Function, device_binary
from kernel_entries import kernel_types

CODE_BYTES = {"aic": 20 * 1024, "aiv": 12 * 1024}

ASCENDC_CMAKE = """\
if(NOT ASCEND_CANN_PACKAGE_PATH OR NOT SOC_VERSION)
    message(FATAL_ERROR "ASCEND_CANN_PACKAGE_PATH or SOC_VERSION is not set")
endif()

function(ascendc_fatbin_library NAME)
    add_library(${NAME}_interface INTERFACE)
    set(INCLUDES $<TARGET_PROPERTY:${NAME}_interface,INTERFACE_INCLUDE_DIRECTORIES>)
    set(DEFINITIONS $<TARGET_PROPERTY:${NAME}_interface,INTERFACE_COMPILE_DEFINITIONS>)
    foreach(SOURCE ${ARGN})
        get_filename_component(STEM ${SOURCE} NAME_WE)
        foreach(CORE cube vec)
            set(OBJECT ${CMAKE_CURRENT_BINARY_DIR}/${STEM}_${CORE}.o)
            add_custom_command(OUTPUT ${OBJECT}
                COMMAND @BIN@/bisheng --cce-aicore-arch=dav-c220-${CORE}
                    "-I$<JOIN:${INCLUDES},;-I>" "-D$<JOIN:${DEFINITIONS},;-D>" -o ${OBJECT}
                    -c ${SOURCE}
                DEPENDS ${SOURCE} COMMAND_EXPAND_LISTS)
            list(APPEND OBJECTS ${OBJECT})
        endforeach()
    endforeach()
    set(FILE ${CMAKE_INSTALL_PREFIX}/fatbin/${NAME}/${NAME}.o)
    add_custom_command(OUTPUT ${FILE}
        COMMAND @BIN@/ld.lld -m aicorelinux ${OBJECTS} -o ${FILE} DEPENDS ${OBJECTS})
    add_custom_target(${NAME} ALL DEPENDS ${FILE})
endfunction()

function(ascendc_include_directories NAME SCOPE)
    target_include_directories(${NAME}_interface INTERFACE ${ARGN})
endfunction()

function(ascendc_compile_definitions NAME SCOPE)
    target_compile_definitions(${NAME}_interface INTERFACE ${ARGN})
endfunction()
"""


def write(path, text, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def make_toolkit(root, version):
    """A tree of the layout of 8.1.RC1 (before 9) or 9.x; returns its root."""
    machine = platform.machine()
    if int(version.split(".")[0]) < 9:
        home = root / "tools"
        text = f"Version=7.7.0.1.238\nversion_dir={version}\ntimestamp=20250428_203017761\n"
        write(root / "compiler" / "version.info", text)
    else:
        home = root / f"{machine}-linux"
        write(root / "share" / "info" / "asc-devkit" / "version.info", f"Version={version}\n")
        (root / "compiler").mkdir()
        link = "../share/info/asc-devkit/version.info"
        (root / "compiler" / "version.info").symlink_to(link)
        (root / "compiler" / "tikcpp").symlink_to(f"../{machine}-linux/tikcpp")
    bin_dir = home / "ccec_compiler" / "bin"
    module = Path(__file__).resolve()
    for tool in ("bisheng", "ld.lld"):
        write(
            bin_dir / tool, f'#!/bin/sh\nexec {sys.executable} {module} {root} {tool} "$@"\n', 0o755
        )
    # One target for each chip; see targets-tikicpulib.cmake of a toolkit.
    config = "add_library(tikicpulib::Ascend910B1 INTERFACE IMPORTED)\n"
    write(root / "tools" / "tikicpulib" / "lib" / "cmake" / "tikicpulib-config.cmake", config)
    cmake = ASCENDC_CMAKE.replace("@BIN@", str(bin_dir))
    write(home / "tikcpp" / "ascendc_kernel_cmake" / "ascendc.cmake", cmake)
    return root


def commands(root, tool):
    """The command lines that the stub of `tool` was run with, sorted."""
    lines = (root / "commands.jsonl").read_text().splitlines()
    return sorted(line[1:] for line in map(json.loads, lines) if line[0] == tool)


def compile_source(source, core):
    """The functions that a source has for a core: (symbol, bytes, kernel type)."""
    wanted = {"aic": ("AIC_ONLY", K_TYPE_AIC), "aiv": ("AIV_ONLY", K_TYPE_AIV)}[core]
    for name, kernel_type in kernel_types(source).items():
        if kernel_type == f"KERNEL_TYPE_{wanted[0]}":
            yield name, CODE_BYTES[core], wanted[1]
        if kernel_type == "KERNEL_TYPE_MIX_AIC_1_2":
            yield f"{name}_mix_{core}", CODE_BYTES[core], K_TYPE_MIX_AIC_MAIN


def main(root, tool, *arguments):
    with open(Path(root) / "commands.jsonl", "a") as log:
        log.write(json.dumps([tool, *arguments]) + "\n")
    output = Path(arguments[arguments.index("-o") + 1])
    output.parent.mkdir(parents=True, exist_ok=True)
    if tool == "bisheng":
        core = {"cube": "aic", "vec": "aiv"}[re.search(r"dav-c220-(\w+)", str(arguments))[1]]
        source = Path(arguments[arguments.index("-c") + 1])
        output.write_text(json.dumps(list(compile_source(source, core))))
    else:
        objects = arguments[arguments.index("aicorelinux") + 1 : arguments.index("-o")]
        functions = [Function(*f) for file in objects for f in json.loads(Path(file).read_text())]
        output.write_bytes(device_binary(functions))


if __name__ == "__main__":
    main(*sys.argv[1:])
