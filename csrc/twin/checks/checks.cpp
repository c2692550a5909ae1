#include "twin/checks.h"

#include <algorithm>
#include <optional>

#include "pair.h"
#include "twin/codes.h"
#include "twin/error.h"

namespace twin {

namespace checks {

namespace {

std::vector<Pair> AllPairs() {
    std::vector<Pair> all;
    for (const auto& group : {MemoryPairs, PipePairs, CorePairs, SyncPairs, ReusePairs, LifePairs,
                              QueuePairs, ArgumentPairs}) {
        const std::vector<Pair> pairs = group();
        all.insert(all.end(), pairs.begin(), pairs.end());
    }
    return all;
}

/// Runs one form of the kernel, and returns its error if it had one. `run` then holds the line that
/// the kernel has marked.
std::optional<Error> Attempt(const Pair& pair, Run& run, std::vector<GmTensor> tensors) {
    LaunchConfig config;
    config.name = pair.code;
    config.chip = &arch::FindChip("Ascend910_9391");
    config.kind = pair.setup.kind;
    config.block_count = pair.setup.blocks;
    config.tensors = std::move(tensors);
    config.sanitize = pair.setup.mode;
    try {
        Launch(config, [&] { pair.kernel(run); });
    } catch (const Error& error) {
        return error;
    }
    return std::nullopt;
}

CheckResult Judge(const Pair& pair) {
    std::vector<uint8_t> in(kGmBytes);
    std::vector<uint8_t> out(kGmBytes);
    const auto attempt = [&](bool fixed) {
        uint8_t* input = (pair.setup.in_place ? out : in).data();
        Run run(fixed, input, out.data());
        const auto error = Attempt(pair, run,
                                   {{"in", input, kGmBytes, false},
                                    {"out", out.data(), kGmBytes, true, !pair.setup.fresh_output}});
        return std::make_pair(run, error);
    };
    CheckResult result;
    result.code = pair.code;
    result.name = pair.name;
    const auto [run, error] = attempt(false);
    result.site = std::string(run.file()) + ":" + std::to_string(run.line());
    if (error) {
        result.report = error->what();
        const bool says = std::all_of(pair.says.begin(), pair.says.end(), [&](const char* part) {
            return result.report.find(part) != std::string::npos;
        });
        result.broken_detected = error->code == pair.code && error->file == run.file() &&
                                 error->line == run.line() && says && TwinWorks();
    }
    const auto fixed_error = attempt(true).second;
    result.fixed_clean = !fixed_error;
    if (fixed_error) result.fixed_report = fixed_error->what();
    return result;
}

}  // namespace

bool TwinWorks() {
    std::vector<int32_t> from = {1, 2, 3, 4, 5, 6, 7, 8};
    std::vector<int32_t> to(16, -1);
    LaunchConfig config;
    config.name = "works";
    config.chip = &arch::FindChip("Ascend910_9391");
    config.block_count = 1;
    config.tensors = {{"from", from.data(), 32, false}, {"to", to.data(), 64, true}};
    Launch(config, [&] {
        if ASCEND_IS_AIC {
            AscendC::CrossCoreWaitFlag(0);
            return;
        }
        AscendC::GlobalTensor<int32_t> source;
        AscendC::GlobalTensor<int32_t> destination;
        source.SetGlobalBuffer(from.data());
        destination.SetGlobalBuffer(to.data());
        AscendC::TPipe pipe;
        AscendC::TBuf<> buffer;
        pipe.InitBuffer(buffer, 32);
        const auto ub = buffer.Get<int32_t>();
        AscendC::DataCopy(ub, source, 8);
        AscendC::PipeBarrier<PIPE_ALL>();
        AscendC::DataCopy(destination[AscendC::GetBlockIdx() * 8], ub, 8);
        AscendC::CrossCoreSetFlag<2, PIPE_MTE3>(0);
    });
    return to == std::vector<int32_t>{1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8};
}

}  // namespace checks

std::vector<CheckResult> RunChecks() {
    std::vector<CheckResult> results;
    for (const checks::Pair& pair : checks::AllPairs()) results.push_back(checks::Judge(pair));
    std::stable_sort(results.begin(), results.end(), [](const auto& a, const auto& b) {
        return FindErrorCode(a.code) < FindErrorCode(b.code);
    });
    return results;
}

}  // namespace twin
