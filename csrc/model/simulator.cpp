#include "model/simulator.h"

#include <algorithm>

namespace model {

namespace {

/// Bytes of one SDMA transfer (assumed): small against the megabytes that it prefetches.
constexpr uint64_t kSdmaPiece = 256 * 1024;
constexpr uint64_t kStreamPiece = 32 * 1024;

std::array<double, kPipes> Mean(const std::vector<std::array<double, kPipes>>& busy, size_t first,
                                size_t last) {
    std::array<double, kPipes> mean{};
    for (size_t core = first; core < last; ++core) {
        for (size_t pipe = 0; pipe < kPipes; ++pipe)
            mean[pipe] += busy[core][pipe] / static_cast<double>(last - first);
    }
    return mean;
}

MemoryCounts Since(const MemoryCounts& after, const MemoryCounts& before) {
    return {after.hbm_read - before.hbm_read, after.hbm_written - before.hbm_written,
            after.l2_hit - before.l2_hit, after.written - before.written};
}

}  // namespace

Simulator::Simulator(const arch::TimingConstants& constants)
    : constants_(constants), memory_(constants_) {}

ReplayTimes Simulator::Run(const TraceFile& trace, bool keep_intervals, bool launched) {
    ReplayTimes times{};
    times.kernel = trace.kernel;
    times.launched = now();
    times.start = now() + (launched ? 0 : constants_.launch_us);
    memory_.KeepRates(keep_intervals);
    PassTime(times.start);
    memory_.l2().BeginKernel();
    const MemoryCounts before = memory_.counts();
    KernelReplay replay(trace, constants_, memory_, times.start,
                        [this](const FinishedTransfer& transfer) { Finished(transfer); });
    if (keep_intervals) replay.intervals = &times.intervals;
    times.end = replay.Run();
    PassTime(times.end);
    times.rate_changes = memory_.rate_changes();
    memory_.KeepRates(false);
    times.bytes = Since(memory_.counts(), before);
    times.cube_busy = Mean(replay.busy(), 0, trace.aic_count);
    times.vector_busy = Mean(replay.busy(), trace.aic_count, trace.cores.size());
    return times;
}

void Simulator::Prefetch(uint64_t address, uint64_t bytes, double delay, uint32_t stream) {
    sdma_[stream].push_back({address, bytes, now() + delay});
    FeedSdma();
}

void Simulator::JoinPrefetch() {
    std::vector<FinishedTransfer> finished;
    while (sdma_busy_) {
        finished.clear();
        memory_.Step(finished);
        for (const FinishedTransfer& transfer : finished) Finished(transfer);
    }
}

// There is one engine: streams with work take turns, one piece each.
void Simulator::FeedSdma() {
    if (sdma_busy_ || sdma_.empty()) return;
    auto stream = sdma_.upper_bound(last_stream_);
    if (stream == sdma_.end()) stream = sdma_.begin();
    last_stream_ = stream->first;
    Region& region = stream->second.front();
    const uint64_t bytes = std::min(region.bytes, kSdmaPiece);
    Transfer transfer{};
    transfer.range = {region.address, bytes, 1, bytes};
    transfer.max_rate = sdma_.size() > 1 ? constants_.sdma_shared_rate : constants_.sdma_rate;
    transfer.hbm_factor = 1;
    transfer.l2_factor = 1;
    transfer.tag = kNoTransfer;
    memory_.Submit(std::max(region.from, now()), transfer);
    sdma_busy_ = true;
    region.address += bytes;
    region.bytes -= bytes;
    if (region.bytes == 0) stream->second.pop_front();
    if (stream->second.empty()) sdma_.erase(stream);
}

void Simulator::Finished(const FinishedTransfer& transfer) {
    prefetched_ += transfer.bytes;
    sdma_transfers_.push_back(transfer);
    sdma_busy_ = false;
    FeedSdma();
}

void Simulator::PassTime(double until) {
    std::vector<FinishedTransfer> finished;
    while (memory_.Next() <= until) {
        finished.clear();
        memory_.Step(finished);
        for (const FinishedTransfer& transfer : finished) Finished(transfer);
    }
    memory_.Idle(until);
}

TraceFile StreamTrace(const arch::Chip& chip, const std::string& name, uint64_t address,
                      uint64_t bytes, bool cube) {
    TraceFile trace;
    trace.kernel = name;
    trace.chip = chip.name;
    trace.aic_count = cube ? chip.aic_count : 0;
    trace.cores.resize(cube ? chip.aic_count : chip.aiv_count);
    trace.tensors.push_back({name, address, bytes, false});
    trace.sites.emplace_back(name);
    const uint64_t pieces = (bytes + kStreamPiece - 1) / kStreamPiece;
    for (uint64_t piece = 0; piece < pieces; ++piece) {
        twin::TraceRecord record{};
        record.op = twin::TraceOp::kLoad;
        record.pipe = twin::TracePipe::kMte2;
        record.gm_offset = piece * kStreamPiece;
        record.block_bytes =
            static_cast<uint32_t>(std::min(kStreamPiece, bytes - record.gm_offset));
        record.block_count = 1;
        record.block_stride = record.block_bytes;
        trace.cores[piece % trace.cores.size()].push_back(record);
    }
    return trace;
}

}  // namespace model
