// Kernels for the sanitizer of the twin, beyond those of csrc/twin/checks: one that is wrong, and
// the same kernel put right.
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
using twin::checks::All;
using twin::checks::Cube;
using twin::checks::Fractals;
using twin::checks::kCount;
using twin::checks::kUb;
using twin::checks::Ones;
using twin::checks::StoreRows;
using twin::checks::Sync;
using twin::checks::Ub;

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

/// GM of a vector kernel.
struct Aiv {
    std::vector<float> in = std::vector<float>(4 * kCount, 1.0F);
    std::vector<float> out = std::vector<float>(4 * kCount, 0.0F);

    twin::LaunchConfig Config(KernelKind kind = KernelKind::kAivOnly) {
        return Full(kind, {Input("in", in), Output("out", out)});
    }
};

/// A product of 16 x 16 in L0C, everything before it complete.
inline void FillL0c(Cube& cube, std::vector<half>& in) { twin::checks::FillL0c(cube, Gm(in)); }

struct Aic {
    std::vector<half> in = std::vector<half>(16 * 256, Half(1.0F));
    std::vector<float> out = std::vector<float>(4 * 256, 0.0F);

    twin::LaunchConfig Config(KernelKind kind = KernelKind::kAicOnly, uint32_t blocks = 1) {
        return Full(kind, {Input("in", in), Output("out", out)}, blocks);
    }
};

}  // namespace fixture
