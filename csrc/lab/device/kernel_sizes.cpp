// kernel_sizes BINARY: lists the code bytes of every kernel against the instruction cache of its
// core.
#include <cinttypes>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "lab/device/kernel_code.h"

namespace {

std::string ReadFile(const char* path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::invalid_argument("cannot be read");
    return std::string(std::istreambuf_iterator<char>(file), {});
}

void Print(const device::BinaryCode& code) {
    std::printf("%-28s %-4s %10s  %s\n", "kernel", "core", "code bytes", "instruction cache");
    for (const device::KernelCode& kernel : code.kernels) {
        const uint32_t cache = device::InstructionCacheBytes(kernel.core);
        std::printf("%-28s %-4s %10" PRIu64 "  %.0f %% of %u KiB%s\n", kernel.name.c_str(),
                    kernel.core == device::Core::kAic ? "aic" : "aiv", kernel.bytes,
                    100.0 * static_cast<double>(kernel.bytes) / cache, cache / 1024,
                    kernel.bytes > cache ? ": does not fit" : "");
    }
    if (code.called_bytes > 0) {
        std::printf("%" PRIu64 " bytes more in functions that kernels call\n", code.called_bytes);
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: kernel_sizes BINARY\n");
        return 2;
    }
    try {
        Print(device::ReadKernelCode(ReadFile(argv[1])));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", argv[1], error.what());
        return 2;
    }
    return 0;
}
