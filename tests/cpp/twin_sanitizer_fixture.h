// Kernels for the sanitizer of the twin: every check has one that is wrong and the same kernel put
// right.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "twin_cube_fixture.h"

namespace fixture {

using AscendC::CrossCoreSetFlag;
using AscendC::CrossCoreWaitFlag;
using AscendC::DataCopy;
using AscendC::DataCopyPad;
using AscendC::Duplicate;
using AscendC::Fixpipe;
using AscendC::GetBlockIdx;
using AscendC::GetSubBlockIdx;
using AscendC::HardEvent;
using AscendC::LoadData;
using AscendC::Mmad;
using AscendC::Muls;
using AscendC::PipeBarrier;
using AscendC::SetFlag;
using AscendC::WaitFlag;
using twin::SanitizeMode;

constexpr auto kUb = TPosition::VECCALC;
constexpr uint32_t kCount = 64;  ///< floats of a UB buffer in most kernels here: 256 bytes

/// The line that the report has to name: kernels call Next() right above it. What one core marks
/// another one may mark over, but a report stops all of them at its own line.
struct Mark {
    int line = 0;
    void Next(int here = __builtin_LINE()) { line = here + 1; }
};

inline twin::LaunchConfig Full(KernelKind kind, std::vector<GmTensor> tensors,
                               uint32_t blocks = 1) {
    twin::LaunchConfig config = Config(kind, std::move(tensors), blocks);
    config.sanitize = SanitizeMode::kFull;
    return config;
}

/// `kernel(false, mark)` is reported as `code` at the mark, with every one of `parts`;
/// `kernel(true, mark)` is clean. The twin can be used after either.
template <typename Kernel>
void Pair(const std::string& code, std::initializer_list<std::string> parts,
          const twin::LaunchConfig& config, const Kernel& kernel,
          const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    Mark mark;
    const auto report = [&](bool holds, const std::string& what) {
        check::Report(holds, file, line, what);
    };
    try {
        twin::Launch(config, [&] { kernel(false, mark); });
        report(false, "no error; expected " + code);
    } catch (const twin::Error& error) {
        const std::string what = error.what();
        report(error.code == code, "expected " + code + ": " + what);
        report(error.file == file, "reported in " + error.file + ": " + what);
        report(error.line == mark.line, "expected line " + std::to_string(mark.line) + ": " + what);
        for (const std::string& part : parts) {
            report(what.find(part) != std::string::npos, "\"" + part + "\" is not in: " + what);
        }
    }
    report(TwinWorks(), "the twin does not work after the error");
    try {
        twin::Launch(config, [&] { kernel(true, mark); });
        report(true, "");
    } catch (const twin::Error& error) {
        report(false, std::string("the corrected kernel is not clean: ") + error.what());
    }
}

/// The code that `kernel` ends in, "" when it is clean.
template <typename Kernel>
std::string CodeOf(const twin::LaunchConfig& config, const Kernel& kernel) {
    try {
        twin::Launch(config, kernel);
    } catch (const twin::Error& error) {
        return error.code;
    }
    return "";
}

template <HardEvent event>
void Sync(bool on = true, int id = 0) {
    if (!on) return;
    SetFlag<event>(id);
    WaitFlag<event>(id);
}

inline void All() { PipeBarrier<PIPE_ALL>(); }

inline LocalTensor<float> Ub(TPipe& pipe) { return Allocate<kUb, float>(pipe, kCount); }

/// GM of a vector kernel.
struct Aiv {
    std::vector<float> in = std::vector<float>(4 * kCount, 1.0F);
    std::vector<float> out = std::vector<float>(4 * kCount, 0.0F);

    twin::LaunchConfig Config(KernelKind kind = KernelKind::kAivOnly) {
        return Full(kind, {Input("in", in), Output("out", out)});
    }
};

/// The buffers of a cube core for one product; A and B come from the same L1.
struct Cube {
    TPipe pipe;
    LocalTensor<half> l1, l0a, l0b;
    LocalTensor<float> l0c;

    explicit Cube(uint32_t rows = 16)
        : l1(Allocate<kL1, half>(pipe, rows * 16)),
          l0a(Allocate<kL0a, half>(pipe, rows * 16)),
          l0b(Allocate<kL0b, half>(pipe, 256)),
          l0c(Allocate<kL0c, float>(pipe, rows * 16)) {}
};

inline AscendC::LoadData2DParams Fractals(uint32_t count = 1) {
    AscendC::LoadData2DParams params;
    params.repeatTimes = static_cast<uint8_t>(count);
    params.srcStride = 1;
    return params;
}

inline AscendC::FixpipeParamsV220 StoreRows(uint16_t rows) {
    AscendC::FixpipeParamsV220 params;
    params.nSize = 16;
    params.mSize = rows;
    params.srcStride = static_cast<uint16_t>(Blocks(rows, 16) * 16);
    params.dstStride = 16;
    return params;
}

/// A product of 16 x 16 in L0C, everything before it complete.
inline void FillL0c(Cube& cube, std::vector<half>& in) {
    DataCopy(cube.l1, Gm(in), 256);
    All();
    LoadData(cube.l0a, cube.l1, Fractals());
    LoadData(cube.l0b, cube.l1, Fractals());
    All();
    Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(16, 16, 16));
    All();
}

struct Aic {
    std::vector<half> in = std::vector<half>(16 * 256, Half(1.0F));
    std::vector<float> out = std::vector<float>(4 * 256, 0.0F);

    twin::LaunchConfig Config(KernelKind kind = KernelKind::kAicOnly, uint32_t blocks = 1) {
        return Full(kind, {Input("in", in), Output("out", out)}, blocks);
    }
};

/// An AIV of a group: UB full of ones, complete.
inline LocalTensor<float> Ones(TPipe& pipe) {
    const auto ub = Ub(pipe);
    Duplicate(ub, 1.0F, kCount);
    All();
    return ub;
}

}  // namespace fixture
