// The replay of traces and the account of prefetched bytes, on traces written by hand.
#include <string>
#include <vector>

#include "check.h"
#include "kernel_operator.h"
#include "model/l2_state.h"
#include "model/prefetch_account.h"
#include "model/trace_reader.h"
#include "twin/launch.h"

namespace {

using twin::TraceOp;
using twin::TracePipe;
using twin::TraceRecord;

constexpr uint64_t kWeightBytes = 4096;

TraceRecord Load(uint16_t tensor, uint64_t offset, uint32_t bytes) {
    TraceRecord record{};
    record.op = TraceOp::kLoad;
    record.pipe = TracePipe::kMte2;
    record.tensor = tensor;
    record.gm_offset = offset;
    record.block_bytes = bytes;
    record.block_count = 1;
    record.block_stride = bytes;
    return record;
}

TraceRecord CrossSet(TracePipe pipe, uint32_t mode, uint32_t id) {
    TraceRecord record{};
    record.op = TraceOp::kCrossSet;
    record.pipe = pipe;
    record.tensor = twin::kNoTensor;
    record.args[0] = mode;
    record.args[1] = id;
    return record;
}

TraceRecord CrossWait(uint32_t id) {
    TraceRecord record{};
    record.op = TraceOp::kCrossWait;
    record.pipe = TracePipe::kAll;
    record.tensor = twin::kNoTensor;
    record.args[0] = id;
    return record;
}

TraceRecord Mmad() {
    TraceRecord record{};
    record.op = TraceOp::kMmad;
    record.pipe = TracePipe::kM;
    record.tensor = twin::kNoTensor;
    for (uint32_t& size : record.args) size = 16;
    return record;
}

using Cores = std::vector<std::vector<TraceRecord>>;

void* At(uint64_t address) { return reinterpret_cast<void*>(address); }

/// AICs, then two AIVs for each; tensor 0 is `weight`, tensor 1 "other" of `other_bytes`. The first
/// AIC ends with a product, without which its loads would be a prefetch.
model::TraceFile Launch(uint32_t aic_count, const Cores& cores, uint64_t other_bytes = 4096,
                        const char* weight = "weight", bool multiplies = true) {
    twin::Trace trace;
    trace.kernel = "by hand";
    trace.chip = "Ascend910B4";
    trace.aic_count = aic_count;
    trace.cores = cores;
    if (multiplies && aic_count > 0) trace.cores[0].push_back(Mmad());
    trace.tensors = {{weight, At(1 << 20), kWeightBytes, false},
                     {"other", At(1 << 30), other_bytes, false}};
    trace.sites = {"here:1"};
    return model::ReadTrace(trace.Serialise());
}

model::PrefetchAccount AccountCores(uint32_t aic_count, const Cores& cores, uint64_t other_bytes) {
    return model::AccountPrefetch({Launch(aic_count, cores, other_bytes)}, {"weight"});
}

model::PrefetchAccount Account(const std::vector<TraceRecord>& aic,
                               const std::vector<TraceRecord>& aiv0,
                               const std::vector<TraceRecord>& aiv1, uint64_t other_bytes = 4096) {
    return AccountCores(1, {aic, aiv0, aiv1}, other_bytes);
}

void CheckAccount(const model::PrefetchAccount& account, uint64_t landed, uint64_t pending,
                  uint64_t unused, uint64_t duplicated) {
    CHECK_EQ(account.planned, landed + pending + unused);
    CHECK_EQ(account.landed, landed);
    CHECK_EQ(account.pending, pending);
    CHECK_EQ(account.unused, unused);
    CHECK_EQ(account.duplicated, duplicated);
}

const TraceRecord kSet = CrossSet(TracePipe::kMte2, 2, 3);

}  // namespace

TEST(a_load_that_a_flag_orders_before_the_read_has_landed) {
    CheckAccount(Account({CrossWait(3), Load(0, 0, 4096)}, {Load(0, 0, 1024), kSet}, {kSet}), 1024,
                 0, 0, 0);
}

TEST(a_load_after_the_flag_has_not_landed_whatever_the_replay_saw_first) {
    CheckAccount(Account({CrossWait(3), Load(0, 0, 4096)}, {kSet, Load(0, 0, 1024)}, {kSet}), 0, 0,
                 1024, 0);
    CheckAccount(Account({Load(0, 0, 4096)}, {Load(0, 0, 1024)}, {}), 0, 0, 1024, 0);
}

// A flag set on another pipe says nothing about loads in flight.
TEST(a_flag_of_another_pipe_does_not_carry_the_load) {
    const TraceRecord other = CrossSet(TracePipe::kMte3, 2, 3);
    CheckAccount(Account({CrossWait(3), Load(0, 0, 4096)}, {Load(0, 0, 1024), other}, {kSet}), 0, 0,
                 1024, 0);
}

TEST(an_event_carries_the_load_to_another_pipe) {
    TraceRecord set{};
    set.op = TraceOp::kSetFlag;
    set.pipe = TracePipe::kMte2;
    set.tensor = twin::kNoTensor;
    set.args[0] = static_cast<uint32_t>(TracePipe::kMte2);
    set.args[1] = static_cast<uint32_t>(TracePipe::kMte3);
    TraceRecord wait = set;
    wait.op = TraceOp::kWaitFlag;
    wait.pipe = TracePipe::kMte3;
    const TraceRecord cross = CrossSet(TracePipe::kMte3, 2, 3);
    CheckAccount(
        Account({CrossWait(3), Load(0, 0, 4096)}, {Load(0, 0, 1024), set, wait, cross}, {kSet}),
        1024, 0, 0, 0);
}

TEST(bytes_without_a_consumer_are_pending_and_unread_bytes_unused) {
    CheckAccount(Account({}, {Load(0, 0, 1024)}, {}), 0, 1024, 0, 0);
    CheckAccount(Account({CrossWait(3), Load(0, 0, 512)}, {Load(0, 0, 1024), kSet}, {kSet}), 512, 0,
                 512, 0);
}

TEST(a_second_load_of_the_same_bytes_is_a_duplicate) {
    CheckAccount(Account({CrossWait(3), Load(0, 0, 4096)}, {Load(0, 0, 1024), kSet},
                         {Load(0, 512, 1024), kSet}),
                 1536, 0, 512, 512);
}

// Ascend910B4 has 96 MiB of L2: 100 MiB in between push the weight out, 90 MiB do not.
TEST(bytes_that_were_evicted_before_the_read_are_unused) {
    const auto between = [](uint32_t mib) {
        return Account({CrossWait(3), Load(1, 0, mib << 20), Load(0, 0, 4096)},
                       {Load(0, 0, 1024), kSet}, {kSet}, uint64_t{mib} << 20);
    };
    CheckAccount(between(90), 1024, 0, 0, 0);
    CheckAccount(between(100), 0, 0, 1024, 0);
}

// The other core's stream is longer than L2, but runs beside the read, not before it.
TEST(cores_share_l2_while_they_run_side_by_side) {
    const TraceRecord half = Load(1, 0, 60u << 20);
    const TraceRecord other_half = Load(1, 60u << 20, 60u << 20);
    const Cores cores = {{CrossWait(3), half, half, other_half},
                         {CrossWait(3), Load(0, 0, 4096)},
                         {kSet},
                         {kSet},
                         {Load(0, 0, 1024), kSet},
                         {kSet}};
    CheckAccount(AccountCores(2, cores, 120u << 20), 1024, 0, 0, 0);
}

TEST(flags_that_do_not_pair_are_refused) {
    CHECK_THROWS_WITH(Account({CrossWait(3)}, {kSet}, {}), std::invalid_argument, "is never set");
}

TEST(names_that_are_no_text_are_refused) {
    twin::Trace trace;
    trace.kernel = "by hand";
    trace.chip = "Ascend910B4";
    trace.tensors = {{"weig\xC1t", nullptr, kWeightBytes, false}};
    CHECK_THROWS_WITH(model::ReadTrace(trace.Serialise()), std::invalid_argument,
                      "is not printable ASCII");
}

TEST(the_l2_cache_drops_the_least_recently_used_line) {
    model::L2State cache(3 * 512);
    const auto touch = [&](uint64_t line) {
        model::L2Access access;
        cache.Read(line * 512, 512, 0, access);
    };
    for (const uint64_t line : {1u, 2u, 3u}) touch(line);
    touch(1);
    touch(4);
    CHECK(cache.Contains(1 * 512));
    CHECK(!cache.Contains(2 * 512));
    CHECK(cache.Contains(3 * 512));
    CHECK(cache.Contains(4 * 512));
}

// A kernel of vector cores alone, on fewer of them than the chip has: every core loads its kilobyte
// of the weight and adds 1 to it. The cores are those of the launch, and nothing consumes the
// loads.
TEST(traces_of_vector_only_launches) {
    constexpr uint32_t kBlocks = 3;
    std::vector<float> weight(kBlocks * 256, 5);
    std::vector<float> out(kBlocks * 256, -1);
    twin::Trace trace;
    twin::LaunchConfig config;
    config.name = "vector only";
    config.chip = &arch::FindChip("Ascend910B4");
    config.kind = twin::KernelKind::kAivOnly;
    config.block_count = kBlocks;
    config.tensors = {{"weight", weight.data(), weight.size() * 4, false},
                      {"out", out.data(), out.size() * 4, true}};
    config.trace = &trace;
    std::vector<int64_t> blocks;
    twin::Launch(config, [&] {
        KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY);
        CHECK(!twin::IsAic());
        CHECK_EQ(AscendC::GetBlockNum(), int64_t{kBlocks});
        CHECK_EQ(AscendC::GetSubBlockIdx(), 0);
        blocks.push_back(AscendC::GetBlockIdx());
        AscendC::TPipe pipe;
        AscendC::TBuf<> buffer;
        pipe.InitBuffer(buffer, 1024);
        const auto ub = buffer.Get<float>();
        AscendC::GlobalTensor<float> from;
        AscendC::GlobalTensor<float> to;
        from.SetGlobalBuffer(weight.data());
        to.SetGlobalBuffer(out.data());
        const auto at = static_cast<uint64_t>(AscendC::GetBlockIdx()) * 256;
        AscendC::DataCopy(ub, from[at], 256);
        AscendC::SetFlag<AscendC::HardEvent::MTE2_V>(0);
        AscendC::WaitFlag<AscendC::HardEvent::MTE2_V>(0);
        AscendC::Adds(ub, ub, 1.0F, 256);
        AscendC::SetFlag<AscendC::HardEvent::V_MTE3>(0);
        AscendC::WaitFlag<AscendC::HardEvent::V_MTE3>(0);
        AscendC::DataCopy(to[at], ub, 256);
    });
    CHECK_EQ(blocks, (std::vector<int64_t>{0, 1, 2}));
    CHECK_EQ(out, std::vector<float>(kBlocks * 256, 6));
    CHECK_EQ(trace.aic_count, 0u);
    CHECK_EQ(trace.cores.size(), kBlocks);
    const std::string bytes = trace.Serialise();
    const model::TraceFile file = model::ReadTrace(bytes);
    CHECK_EQ(file.aic_count, 0u);
    CHECK_EQ(file.cores.size(), kBlocks);
    for (uint32_t i = 0; i < kBlocks; ++i) {
        CHECK_EQ(file.cores[i].front().op, TraceOp::kLoad);
        CHECK_EQ(file.cores[i].front().gm_offset, 1024u * i);
        const TraceRecord& store = file.cores[i].end()[-2];  // the pipe ends with a barrier
        CHECK_EQ(store.op, TraceOp::kStore);
        CHECK_EQ(store.gm_offset, 1024u * i);
    }
    CheckAccount(model::AccountPrefetch({file}, {"weight"}), 0, kBlocks * 1024, 0, 0);
}

namespace {

/// A vector core prefetches the first `bytes` of the weight; no flag tells anybody.
model::TraceFile Prefetching(uint32_t bytes) { return Launch(1, {{}, {Load(0, 0, bytes)}, {}}); }

/// A cube core reads all of the weight, under a name of its own.
model::TraceFile Reading() {
    return Launch(1, {{Load(0, 0, 4096)}, {}, {}}, 4096, "o_proj_weight");
}

/// A cube core reads `bytes` of something else.
model::TraceFile Passing(uint64_t bytes) {
    std::vector<TraceRecord> loads;
    constexpr uint32_t kPiece = 1 << 20;
    for (uint64_t offset = 0; offset < bytes; offset += kPiece) {
        loads.push_back(Load(1, offset, kPiece));
    }
    return Launch(1, {loads, {}, {}}, bytes);
}

model::PrefetchAccount AccountSequence(const std::vector<model::TraceFile>& launches) {
    return model::AccountPrefetch(launches, {"weight"});
}

}  // namespace

TEST(what_a_launch_has_loaded_lands_at_a_later_ones_read) {
    CheckAccount(AccountSequence({Prefetching(1024), Reading()}), 1024, 0, 0, 0);
    CheckAccount(AccountSequence({Prefetching(1024), Passing(1 << 20), Reading()}), 1024, 0, 0, 0);
}

// Cube cores that load a weight and multiply nothing prefetch it.
TEST(what_cube_cores_load_in_a_launch_without_products_is_prefetched) {
    const auto cube = [](uint32_t bytes) {
        return Launch(2, {{Load(0, 0, bytes)}, {Load(0, bytes, 512)}}, 4096, "weight", false);
    };
    CheckAccount(AccountSequence({cube(1024)}), 0, 1536, 0, 0);
    CheckAccount(AccountSequence({cube(1024), Reading()}), 1536, 0, 0, 0);
    CheckAccount(AccountSequence({cube(1024), Passing(97 << 20), Reading()}), 0, 0, 1536, 0);
    CheckAccount(AccountSequence({cube(1024), Prefetching(512), Reading()}), 1536, 0, 512, 512);
    CheckAccount(AccountSequence({Reading(), cube(1024)}), 0, 1536, 0, 0);
}

TEST(what_passes_between_two_launches_evicts) {
    // The 910B4 has 96 MiB of L2.
    CheckAccount(AccountSequence({Prefetching(1024), Passing(95 << 20), Reading()}), 1024, 0, 0, 0);
    CheckAccount(AccountSequence({Prefetching(1024), Passing(97 << 20), Reading()}), 0, 0, 1024, 0);
}

TEST(without_a_launch_behind_it_that_reads_the_weight_a_prefetch_is_pending) {
    CheckAccount(AccountSequence({Prefetching(1024), Passing(1 << 20)}), 0, 1024, 0, 0);
    CheckAccount(AccountSequence({Reading(), Prefetching(1024)}), 0, 1024, 0, 0);
}

TEST(a_read_in_an_earlier_launch_does_not_miss_a_prefetch) {
    CheckAccount(AccountSequence({Reading(), Prefetching(1024), Reading()}), 1024, 0, 0, 0);
}

TEST(bytes_that_two_launches_prefetch_are_duplicated) {
    CheckAccount(AccountSequence({Prefetching(1024), Prefetching(2048), Reading()}), 2048, 0, 1024,
                 1024);
}

TEST(what_the_reader_itself_prefetches_of_the_weight_counts_under_its_name_too) {
    const auto both = Launch(1, {{Load(0, 0, 4096)}, {Load(0, 0, 512)}, {}}, 4096, "o_proj_weight");
    CheckAccount(AccountSequence({Prefetching(1024), both}), 1024, 0, 512, 512);
}

TEST(sequences_that_cannot_be_accounted_for) {
    CHECK_THROWS_WITH(AccountSequence({}), std::invalid_argument,
                      "expected one or more launches, got none");
    CHECK_THROWS_WITH(AccountSequence({Reading(), Reading()}), std::invalid_argument,
                      "no trace has a tensor 'weight'");
    auto other = Reading();
    other.chip = "Ascend910_9391";
    CHECK_THROWS_WITH(AccountSequence({Prefetching(32), other}), std::invalid_argument,
                      "expected launches of one chip, got 'Ascend910B4' and 'Ascend910_9391'");
}
