#include "lab/device/kernel_code.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>
#include <tuple>

#include "arch/dav_c220.h"

namespace device {
namespace {

constexpr uint16_t kAiCoreMachine = 0x1029;
constexpr char kMetaPrefix[] = ".ascend.meta.";
// FunLevelKType has a tag and a length of 16 bits each, then the type. Tag and types are those of
// kernel_utils_macros.h of CANN 8.1.RC1: F_TYPE_KTYPE, K_TYPE_AIC, ...
constexpr uint16_t kTypeTag = 1;
constexpr uint32_t kTypeAic = 2;
constexpr uint32_t kTypeAiv = 3;
constexpr uint32_t kTypeMixAicMain = 4;
constexpr uint32_t kTypeMixAivMain = 5;
// A kernel that both types of cores run has one function for each type.
constexpr char kMixAic[] = "_mix_aic";
constexpr char kMixAiv[] = "_mix_aiv";

bool EndsWith(const std::string& text, const std::string& end) {
    return text.size() >= end.size() &&
           text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// An ELF file. Every read is checked, since files may be damaged.
class ElfFile {
public:
    explicit ElfFile(const std::string& bytes) : bytes_(bytes) {
        header_ = At<Elf64_Ehdr>(0);
        if (std::memcmp(header_.e_ident, ELFMAG, SELFMAG) != 0) {
            throw std::invalid_argument("not an ELF file");
        }
        if (header_.e_ident[EI_CLASS] != ELFCLASS64 || header_.e_ident[EI_DATA] != ELFDATA2LSB) {
            throw std::invalid_argument("not a 64-bit little-endian ELF file");
        }
        if (header_.e_machine != kAiCoreMachine) {
            throw std::invalid_argument("compiled for ELF machine " +
                                        std::to_string(header_.e_machine) +
                                        ", not for an AI core (4137)");
        }
        for (uint32_t i = 0; i < header_.e_shnum; ++i) {
            sections_.push_back(At<Elf64_Shdr>(header_.e_shoff + uint64_t{i} * sizeof(Elf64_Shdr)));
        }
    }

    const std::vector<Elf64_Shdr>& sections() const { return sections_; }
    const Elf64_Shdr& section(uint32_t index) const {
        if (index >= sections_.size()) throw std::invalid_argument("truncated ELF file");
        return sections_[index];
    }
    std::string SectionName(const Elf64_Shdr& section) const {
        return Text(this->section(header_.e_shstrndx), section.sh_name);
    }
    /// The string at `offset` in a string table.
    std::string Text(const Elf64_Shdr& table, uint64_t offset) const {
        if (offset >= table.sh_size || table.sh_offset > bytes_.size() ||
            table.sh_size > bytes_.size() - table.sh_offset) {
            throw std::invalid_argument("truncated ELF file");
        }
        const char* begin = bytes_.data() + table.sh_offset + offset;
        return std::string(begin, strnlen(begin, table.sh_size - offset));
    }
    template <typename T>
    T At(uint64_t offset) const {
        if (offset > bytes_.size() || sizeof(T) > bytes_.size() - offset) {
            throw std::invalid_argument("truncated ELF file");
        }
        T value;
        std::memcpy(&value, bytes_.data() + offset, sizeof(T));
        return value;
    }

private:
    const std::string& bytes_;
    Elf64_Ehdr header_;
    std::vector<Elf64_Shdr> sections_;
};

// The type of each kernel, by its entry function.
std::map<std::string, uint32_t> KernelTypes(const ElfFile& elf) {
    std::map<std::string, uint32_t> types;
    for (const Elf64_Shdr& section : elf.sections()) {
        const std::string name = elf.SectionName(section);
        if (name.compare(0, sizeof(kMetaPrefix) - 1, kMetaPrefix) != 0) continue;
        if (elf.At<uint16_t>(section.sh_offset) != kTypeTag) continue;
        types[name.substr(sizeof(kMetaPrefix) - 1)] = elf.At<uint32_t>(section.sh_offset + 4);
    }
    return types;
}

KernelCode Kernel(const std::string& symbol, uint32_t type, uint64_t bytes) {
    if (type == kTypeAic) return {symbol, Core::kAic, bytes};
    if (type == kTypeAiv) return {symbol, Core::kAiv, bytes};
    if (type == kTypeMixAicMain || type == kTypeMixAivMain) {
        const std::string name = symbol.substr(0, symbol.size() - sizeof(kMixAic) + 1);
        if (EndsWith(symbol, kMixAic)) return {name, Core::kAic, bytes};
        if (EndsWith(symbol, kMixAiv)) return {name, Core::kAiv, bytes};
    }
    throw std::invalid_argument("kernel " + symbol + ": unknown kernel type " +
                                std::to_string(type));
}

}  // namespace

BinaryCode ReadKernelCode(const std::string& bytes) {
    const ElfFile elf(bytes);
    const std::map<std::string, uint32_t> types = KernelTypes(elf);
    BinaryCode code;
    for (const Elf64_Shdr& table : elf.sections()) {
        if (table.sh_type != SHT_SYMTAB) continue;
        // Entry 0 is reserved and is no symbol.
        for (uint64_t i = 1; i < table.sh_size / sizeof(Elf64_Sym); ++i) {
            const auto symbol = elf.At<Elf64_Sym>(table.sh_offset + i * sizeof(Elf64_Sym));
            if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC) continue;
            const std::string name = elf.Text(elf.section(table.sh_link), symbol.st_name);
            const auto type = types.find(name);
            if (type == types.end()) {
                code.called_bytes += symbol.st_size;
            } else {
                code.kernels.push_back(Kernel(name, type->second, symbol.st_size));
            }
        }
    }
    if (code.kernels.empty()) throw std::invalid_argument("no kernel in it");
    std::sort(code.kernels.begin(), code.kernels.end(),
              [](const KernelCode& a, const KernelCode& b) {
                  return std::tie(a.name, a.core) < std::tie(b.name, b.core);
              });
    return code;
}

uint32_t InstructionCacheBytes(Core core) {
    return core == Core::kAic ? arch::DavC220::kAicInstructionCacheBytes
                              : arch::DavC220::kAivInstructionCacheBytes;
}

}  // namespace device
