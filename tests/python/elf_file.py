"""Writes small ELF files: device binaries as far as kernel_sizes reads them."""

import struct
from dataclasses import dataclass

AI_CORE = 0x1029
X86_64 = 62

K_TYPE_AIC, K_TYPE_AIV, K_TYPE_MIX_AIC_MAIN = 2, 3, 4


@dataclass
class Function:
    """A function symbol; `kernel_type` None: no kernel, a function that kernels call."""

    name: str
    size: int
    kernel_type: int | None = None


class StringTable:
    def __init__(self):
        self.data = b"\0"

    def add(self, text):
        at = len(self.data)
        self.data += text.encode() + b"\0"
        return at


def device_binary(functions, machine=AI_CORE):
    """The bytes of a 64-bit little-endian ELF file; see the ELF-64 object file format."""
    names, strings = StringTable(), StringTable()
    symbols = bytes(24)
    sections = [(0, 0, b"", 0)]  # name, sh_type, content, sh_link
    sections.append((names.add(".text"), 1, bytes(16), 0))
    address = 0
    for function in functions:
        # st_name, st_info (global function), st_other, st_shndx (.text), st_value, st_size
        name = strings.add(function.name)
        symbols += struct.pack("<IBBHQQ", name, 0x12, 0, 1, address, function.size)
        address += function.size
        if function.kernel_type is not None:
            # FunLevelKType: F_TYPE_KTYPE, four bytes, type
            meta = struct.pack("<HHI", 1, 4, function.kernel_type)
            sections.append((names.add(f".ascend.meta.{function.name}"), 1, meta, 0))
    sections.append((names.add(".symtab"), 2, symbols, len(sections) + 1))
    sections.append((names.add(".strtab"), 3, strings.data, 0))
    section_names = names.add(".shstrtab")
    sections.append((section_names, 3, names.data, 0))

    content = b""
    headers = b""
    for name, kind, data, link in sections:
        # sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size, sh_link, sh_info, ...
        headers += struct.pack(
            "<IIQQQQIIQQ", name, kind, 0, 0, 64 + len(content), len(data), link, 0, 1, 0
        )
        content += data
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    # e_type .. e_version, e_entry, e_phoff, e_shoff, e_flags, six 16-bit sizes and counts
    header = identity + struct.pack(
        "<HHIQQQIHHHHHH",
        *(2, machine, 1, 0, 0, 64 + len(content), 0),
        *(64, 0, 0, 64, len(sections), len(sections) - 1),
    )
    return header + content + headers
