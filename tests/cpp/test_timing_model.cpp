// The timing model against closed forms: what a transfer, a flag or a full L2 costs is computed
// here by hand, and an event must be neither early nor late.
#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.h"
#include "model/fair_share.h"
#include "model/l2_state.h"
#include "model/simulator.h"

namespace {

using model::Simulator;
using model::TraceFile;
using twin::TraceOp;
using twin::TracePipe;
using twin::TraceRecord;

constexpr double kExact = 1e-9;
constexpr uint64_t kMiB = uint64_t{1} << 20;

/// Round numbers: 1000 cycles a us, 100 bytes per cycle for every core, HBM of 1 MB per us.
arch::TimingConstants Constants() {
    arch::TimingConstants c{};
    c.clock_mhz = 1000;
    c.hbm_rate = 1e6;
    c.hbm_latency = 0;
    c.l2_rate = 4e6;
    c.l2_capacity = static_cast<double>(64 * kMiB);
    c.l2_kept = 1;
    c.l2_cube_factor = 1;
    c.l2_first_factor = 1;
    c.nd2nz_factor = 1;
    c.nz_factor = 1;
    c.cube_load_cycles = 200;
    c.cube_load_rate = 100;
    c.vector_load_cycles = 200;
    c.vector_load_rate = 100;
    c.store_rate = 100;
    c.fixpipe_rate = 100;
    c.move_cycles = 30;
    c.move_l0a_rate = 256;
    c.move_l0b_rate = 128;
    c.cube_efficiency = 1;
    c.vector_repeat_cycles = 1;
    c.vector_cycles = 40;
    c.sdma_rate = 0.25e6;
    c.sdma_shared_rate = 0.125e6;
    return c;
}

TraceRecord Record(TraceOp op, TracePipe pipe) {
    TraceRecord record{};
    record.op = op;
    record.pipe = pipe;
    record.tensor = twin::kNoTensor;
    return record;
}

TraceRecord Load(uint64_t offset, uint32_t bytes) {
    TraceRecord record = Record(TraceOp::kLoad, TracePipe::kMte2);
    record.tensor = 0;
    record.gm_offset = offset;
    record.block_bytes = bytes;
    record.block_count = 1;
    record.block_stride = bytes;
    return record;
}

TraceRecord Flag(TraceOp op, TracePipe from, TracePipe to, uint32_t id = 0) {
    TraceRecord record = Record(op, op == TraceOp::kSetFlag ? from : to);
    record.args[0] = static_cast<uint32_t>(from);
    record.args[1] = static_cast<uint32_t>(to);
    record.args[2] = id;
    return record;
}

TraceRecord CrossSet(TracePipe pipe, uint32_t mode, uint32_t id) {
    TraceRecord record = Record(TraceOp::kCrossSet, pipe);
    record.args[0] = mode;
    record.args[1] = id;
    return record;
}

TraceRecord CrossWait(uint32_t id) {
    TraceRecord record = Record(TraceOp::kCrossWait, TracePipe::kAll);
    record.args[0] = id;
    return record;
}

TraceRecord Vector(uint32_t repeats) {
    TraceRecord record = Record(TraceOp::kVector, TracePipe::kV);
    record.args[0] = repeats;
    return record;
}

TraceRecord Product(uint32_t m, uint32_t n, uint32_t k, uint32_t element_bytes) {
    TraceRecord record = Record(TraceOp::kMmad, TracePipe::kM);
    record.args[0] = m;
    record.args[1] = n;
    record.args[2] = k;
    record.args[3] = element_bytes;
    return record;
}

/// One tensor at `address`; AICs first.
TraceFile Kernel(std::vector<std::vector<TraceRecord>> cores, uint32_t aic_count = 0,
                 uint64_t address = 0) {
    TraceFile trace;
    trace.kernel = "by hand";
    trace.chip = "Ascend910B1";
    trace.aic_count = aic_count;
    trace.cores = std::move(cores);
    trace.tensors.push_back({"tensor", address, 4096 * kMiB, true});
    trace.sites.emplace_back("here:1");
    return trace;
}

/// Every core reads its share of [0, bytes) in loads of `piece`.
TraceFile ReadAll(uint32_t cores, uint64_t bytes, uint32_t piece, uint64_t address = 0) {
    std::vector<std::vector<TraceRecord>> records(cores);
    for (uint64_t at = 0; at < bytes; at += piece) {
        const auto length = static_cast<uint32_t>(std::min<uint64_t>(piece, bytes - at));
        records[at / piece % cores].push_back(Load(at, length));
    }
    return Kernel(std::move(records), 0, address);
}

double Run(const std::vector<TraceRecord>& core, const arch::TimingConstants& constants) {
    return Simulator(constants).Run(Kernel({core})).end;
}

template <typename Call>
std::string ErrorOf(const Call& call) {
    try {
        call();
    } catch (const std::invalid_argument& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST(a_load_takes_its_latency_and_its_bytes) {
    auto constants = Constants();
    CHECK_NEAR(Run({Load(0, 10000)}, constants), 0.2 + 0.1, kExact);
    constants.launch_us = 4;
    constants.hbm_latency = 0.5;
    CHECK_NEAR(Run({Load(0, 10000)}, constants), 4 + 0.2 + 0.5 + 0.1, kExact);
    // The start-up of the second load passes while the first one flows; so does its miss.
    CHECK_NEAR(Run({Load(0, 30000), Load(30000, 10000)}, constants), 4 + 0.2 + 0.5 + 0.4, kExact);
}

TEST(short_loads_are_bound_by_their_issue) {
    auto constants = Constants();
    constants.mte2_issue_cycles = 20;
    std::vector<TraceRecord> loads;
    for (int i = 0; i < 100; ++i) loads.push_back(Load(i * 128, 128));
    CHECK_NEAR(Run(loads, constants), (99 * 20 + 200 + 1.28) * 1e-3, kExact);
}

TEST(a_pipe_is_busy_while_it_can_take_no_other_load) {
    auto constants = Constants();
    constants.mte2_issue_cycles = 20.6;
    constants.hbm_latency = 0.5;
    const auto busy = [&](const std::vector<TraceRecord>& core) {
        const auto times = Simulator(constants).Run(Kernel({core}));
        return times.vector_busy[static_cast<size_t>(TracePipe::kMte2)];
    };
    constexpr uint32_t kLoads = 49152;
    std::vector<TraceRecord> loads;
    for (uint32_t i = 0; i < kLoads; ++i) loads.push_back(Load(uint64_t{i} * 128, 128));
    CHECK_NEAR(busy(loads), kLoads * 20.6e-3, 1e-6);
    // While its bytes flow where that takes longer: 100 cycles, and neither start-up nor latency.
    CHECK_NEAR(busy({Load(0, 10000)}), 0.1, kExact);
    CHECK_NEAR(busy({Load(0, 10000), Load(10240, 10000)}), 0.2, kExact);
    // A short load is issued while the long one before it flows.
    CHECK_NEAR(busy({Load(0, 10000), Load(10240, 100), Load(20480, 10000)}), 0.201, kExact);
    // Alone it is not, nor after a barrier.
    const auto barrier = Record(TraceOp::kBarrier, TracePipe::kMte2);
    CHECK_NEAR(busy({Load(0, 10000), barrier, Load(10240, 100)}), 0.1 + 0.0206, kExact);
}

TEST(short_rows_cost_hbm_time) {
    auto constants = Constants();
    constants.cube_load_rate = 1e6;
    constants.nd2nz_row_bytes = 64;
    TraceRecord rows = Load(0, 128);
    rows.block_count = 1000;
    rows.block_stride = 4096;
    const double as_block = Simulator(constants).Run(Kernel({{rows}}, 1)).end;
    rows.args[0] = 1;  // ND2NZ
    const double as_rows = Simulator(constants).Run(Kernel({{rows}}, 1)).end;
    CHECK_NEAR(as_block, 0.2 + 0.128, kExact);
    CHECK_NEAR(as_rows, 0.2 + 0.128 * (1 + 64.0 / 128) / (1 + 64.0 / 512), kExact);
}

TEST(all_cores_together_reach_the_rate_of_hbm_and_never_more) {
    const uint64_t bytes = 48 * kMiB;
    const auto times = Simulator(Constants()).Run(ReadAll(48, bytes, 32768));
    const double bound = static_cast<double>(bytes) / 1e6;
    CHECK(times.end >= bound);
    CHECK(times.end <= bound + 0.2 + 0.4);
    CHECK_EQ(times.bytes.hbm_read, bytes);
    CHECK_EQ(times.bytes.l2_hit, 0U);
}

TEST(a_second_reading_is_fast_up_to_what_l2_holds) {
    auto constants = Constants();
    for (const uint64_t bytes : {32 * kMiB, 64 * kMiB, 65 * kMiB, 96 * kMiB}) {
        Simulator simulator(constants);
        const TraceFile kernel = ReadAll(48, bytes, 32768);
        simulator.Run(kernel);
        const auto again = simulator.Run(kernel);
        const double us = again.end - again.start;
        const bool fits = bytes <= 64 * kMiB;
        CHECK_EQ(again.bytes.hbm_read, fits ? 0 : bytes);
        CHECK_EQ(again.bytes.l2_hit, fits ? bytes : 0);
        const double bound = static_cast<double>(bytes) / (fits ? 4e6 : 1e6);
        CHECK(us >= bound);
        CHECK(us <= bound + 0.6);
    }
}

TEST(bytes_are_conserved) {
    Simulator simulator(Constants());
    const auto once = simulator.Run(ReadAll(7, 5 * kMiB + 384, 10112));
    CHECK_EQ(once.bytes.hbm_read + once.bytes.l2_hit, 5 * kMiB + 384);
    const auto shifted = simulator.Run(ReadAll(5, 4 * kMiB, 20480, 3 * kMiB));
    CHECK_EQ(shifted.bytes.l2_hit, 2 * kMiB + 384);
    CHECK_EQ(shifted.bytes.hbm_read, 2 * kMiB - 384);
    CHECK_EQ(simulator.bytes().hbm_read, 7 * kMiB);
}

TEST(a_line_is_read_once_and_waited_for_by_all) {
    auto constants = Constants();
    constants.hbm_latency = 3;
    // The second core asks for the same bytes when they are on their way.
    const auto times = Simulator(constants).Run(
        Kernel({{Load(0, 12800)},
                {Vector(500), Flag(TraceOp::kSetFlag, TracePipe::kV, TracePipe::kMte2),
                 Flag(TraceOp::kWaitFlag, TracePipe::kV, TracePipe::kMte2), Load(0, 12800)}}));
    CHECK_EQ(times.bytes.hbm_read, 12800U);
    CHECK_EQ(times.bytes.l2_hit, 12800U);
    CHECK_NEAR(times.end, 0.2 + 3 + 0.128, kExact);
}

TEST(written_lines_stay_and_leave_as_write_backs) {
    auto constants = Constants();
    constants.l2_capacity = static_cast<double>(kMiB);
    TraceRecord store = Load(0, 512 * 1024);
    store.op = TraceOp::kStore;
    store.pipe = TracePipe::kMte3;
    Simulator simulator(constants);
    const auto stored = simulator.Run(Kernel({{store}}));
    CHECK_EQ(stored.bytes.written, 512U * 1024);
    CHECK_EQ(stored.bytes.hbm_read + stored.bytes.hbm_written, 0U);
    CHECK_EQ(simulator.Run(ReadAll(1, 512 * 1024, 32768)).bytes.l2_hit, 512U * 1024);
    const auto others = simulator.Run(ReadAll(1, kMiB, 32768, 64 * kMiB));
    CHECK_EQ(others.bytes.hbm_written, 512U * 1024);
    CHECK_EQ(others.bytes.hbm_read, kMiB);
}

TEST(a_flag_is_neither_early_nor_late) {
    auto constants = Constants();
    const auto set = Flag(TraceOp::kSetFlag, TracePipe::kMte2, TracePipe::kV);
    const auto wait = Flag(TraceOp::kWaitFlag, TracePipe::kMte2, TracePipe::kV);
    CHECK_NEAR(Run({Load(0, 10000), set, wait, Vector(100)}, constants), 0.3 + 0.1 + 0.04, kExact);
    constants.event_cycles = 10;
    CHECK_NEAR(Run({Load(0, 10000), set, wait, Vector(100)}, constants), 0.31 + 0.14, kExact);
    // Without the flag they run side by side.
    CHECK_NEAR(Run({Load(0, 10000), Vector(100)}, constants), 0.3, kExact);
    // A set waits for all of its pipe before it.
    CHECK_NEAR(Run({Load(0, 10000), Load(10000, 10000), set, wait, Vector(100)}, constants),
               0.41 + 0.14, kExact);
}

TEST(a_barrier_exposes_the_latency_of_its_pipe) {
    const auto constants = Constants();
    CHECK_NEAR(Run({Vector(100), Vector(100)}, constants), 0.24, kExact);
    const auto barrier = Record(TraceOp::kBarrier, TracePipe::kV);
    CHECK_NEAR(Run({Vector(100), barrier, Vector(100)}, constants), 0.28, kExact);
    const auto all = Record(TraceOp::kBarrier, TracePipe::kAll);
    CHECK_NEAR(Run({Load(0, 100000), all, Vector(100)}, constants), 1.2 + 0.14, kExact);
    const auto loads = Record(TraceOp::kBarrier, TracePipe::kMte2);
    CHECK_NEAR(Run({Load(0, 30000), loads, Load(30000, 10000)}, constants), 0.2 + 0.3 + 0.2 + 0.1,
               kExact);
}

TEST(the_scalar_unit_stops_at_a_full_queue) {
    auto constants = Constants();
    constants.scalar_cycles = 1;
    std::vector<TraceRecord> core(34, Vector(1000));
    TraceRecord scalar = Record(TraceOp::kScalar, TracePipe::kS);
    const auto set = Flag(TraceOp::kSetFlag, TracePipe::kS, TracePipe::kMte3);
    const auto wait = Flag(TraceOp::kWaitFlag, TracePipe::kS, TracePipe::kMte3);
    core.insert(core.end(), {scalar, set, wait, Load(0, 100)});
    model::TraceFile kernel = Kernel({core});
    const auto times = Simulator(constants).Run(kernel, true);
    // The 33rd and the 34th enter when the first and the second have left: at 1 and 1001 cycles.
    const auto load = std::find_if(times.intervals.begin(), times.intervals.end(),
                                   [](const auto& interval) { return interval.record == 37; });
    CHECK_NEAR(load->start, (1001 + 1 + 4 + 200) * 1e-3, kExact);
}

TEST(a_cross_core_flag_waits_for_the_last_of_its_group) {
    auto constants = Constants();
    constants.cross_core_us = 0.5;
    // Mode 2: both AIVs to their AIC; the slower one sets at 0.3 + 0.04.
    const auto set = CrossSet(TracePipe::kV, 2, 1);
    const auto times = Simulator(constants).Run(Kernel(
        {{CrossWait(1), Product(16, 16, 160, 2)}, {Vector(100), set}, {Vector(300), set}}, 1));
    CHECK_NEAR(times.end, 0.34 + 0.5 + 0.01, kExact);
    // Mode 0 among AICs.
    const auto all = CrossSet(TracePipe::kM, 0, 0);
    const auto barrier = Simulator(constants).Run(
        Kernel({{Product(16, 16, 160, 2), all, CrossWait(0), Product(16, 16, 160, 2)},
                {Product(16, 16, 1600, 2), all, CrossWait(0)},
                {},
                {},
                {},
                {}},
               2));
    CHECK_NEAR(barrier.end, 0.1 + 0.5 + 0.01, kExact);
}

TEST(products_take_a_cycle_per_fractal) {
    const auto constants = Constants();
    const auto cycles = [&](const TraceRecord& product) {
        return Simulator(constants).Run(Kernel({{product}}, 1)).end * 1e3;
    };
    CHECK_NEAR(cycles(Product(128, 256, 64, 2)), 8.0 * 16 * 4, 1e-6);
    CHECK_NEAR(cycles(Product(1, 17, 33, 2)), 1.0 * 2 * 3, 1e-6);
    CHECK_NEAR(cycles(Product(16, 16, 64, 1)), 2.0, 1e-6);
    CHECK_NEAR(cycles(Product(16, 16, 64, 4)), 8.0, 1e-6);
}

TEST(rates_and_intervals_add_up_to_the_bytes) {
    auto constants = Constants();
    constants.hbm_latency = 0.1;
    std::vector<std::vector<TraceRecord>> cores(3);
    for (uint32_t core = 0; core < cores.size(); ++core) {
        for (uint32_t i = 0; i < 5; ++i)
            cores[core].push_back(Load(core * 20480 + i * 12800, 25600));
    }
    Simulator simulator(constants);
    simulator.Prefetch(1 << 20, 64000, 0);
    const auto times = simulator.Run(Kernel(cores), true);
    double read = 0, hit = 0;
    for (size_t i = 0; i < times.rate_changes.size(); ++i) {
        const auto& change = times.rate_changes[i];
        const bool last = i + 1 == times.rate_changes.size();
        const double us = (last ? times.end : times.rate_changes[i + 1].time) - change.time;
        CHECK(us >= 0);
        CHECK(change.hbm_read + change.hbm_written <= constants.hbm_rate * (1 + 1e-12));
        read += change.hbm_read * us;
        hit += change.l2_hit * us;
    }
    uint64_t interval_read = 0, interval_hit = 0;
    for (const auto& interval : times.intervals) {
        interval_read += interval.counts.hbm_read;
        interval_hit += interval.counts.l2_hit;
    }
    CHECK_NEAR(hit, static_cast<double>(interval_hit), 1e-3);
    CHECK_EQ(interval_hit, times.bytes.l2_hit);
    CHECK(interval_hit > 0);
    const auto& pieces = simulator.sdma_transfers();
    CHECK_EQ(pieces.size(), size_t{1});
    CHECK_EQ(pieces[0].bytes, uint64_t{64000});
    CHECK(pieces[0].end < times.end);
    CHECK_NEAR(read, static_cast<double>(interval_read + pieces[0].counts.hbm_read), 1e-3);
}

TEST(engines_share_fairly) {
    std::vector<double> rates;
    model::ShareFairly({{1e9, 1, 1}, {1e9, 1, 1}, {100, 1, 1}}, 1000, 1e9, rates);
    CHECK_NEAR(rates[2], 100, kExact);
    CHECK_NEAR(rates[0], 450, kExact);
    CHECK_NEAR(rates[1], 450, kExact);
    // Hits leave HBM to those that miss, and L2 holds all of them.
    model::ShareFairly({{1e9, 1, 1}, {1e9, 0, 1}}, 300, 1000, rates);
    CHECK_NEAR(rates[0], 300, kExact);
    CHECK_NEAR(rates[1], 700, kExact);
    model::ShareFairly({{1e9, 2, 1}, {1e9, 1, 1}}, 300, 1e9, rates);
    CHECK_NEAR(rates[0], 100, kExact);
    CHECK_NEAR(rates[1], 100, kExact);
    model::ShareFairly({}, 1, 1, rates);
    CHECK(rates.empty());
}

TEST(a_prefetch_saves_what_it_brings_and_no_more) {
    const uint64_t bytes = 16 * kMiB;
    const TraceFile first = ReadAll(48, bytes, 32768);
    const TraceFile second = ReadAll(48, bytes, 32768, 1024 * kMiB);
    const auto sequence = [&](bool prefetch) {
        auto constants = Constants();
        constants.launch_us = 8;
        Simulator simulator(constants);
        simulator.Run(first);
        if (prefetch) simulator.Prefetch(1024 * kMiB, 1 * kMiB, 0);
        const auto times = simulator.Run(second);
        CHECK_EQ(simulator.bytes().hbm_read, 2 * bytes);
        CHECK_EQ(simulator.prefetched(), prefetch ? 1 * kMiB : 0);
        CHECK(times.end >= static_cast<double>(2 * bytes) / 1e6);
        return times.end;
    };
    // 1 MiB takes 4.2 us of the launch's 8: all of it is there.
    CHECK_NEAR(sequence(false) - sequence(true), static_cast<double>(kMiB) / 1e6, 0.05);
}

TEST(two_prefetch_streams_are_slower_than_one) {
    for (const bool both : {false, true}) {
        Simulator simulator(Constants());
        simulator.Prefetch(0, 2 * kMiB, 0, 0);
        simulator.Prefetch(64 * kMiB, 2 * kMiB, 0, both ? 1 : 0);
        simulator.JoinPrefetch();
        const double rate = static_cast<double>(4 * kMiB) / simulator.now();
        CHECK(both ? rate < 0.14e6 : rate > 0.249e6);
        CHECK_EQ(simulator.prefetched(), 4 * kMiB);
    }
}

TEST(the_same_sequence_takes_the_same_time) {
    const auto run = [] {
        Simulator simulator(Constants());
        simulator.Prefetch(9 * kMiB, 3 * kMiB, 0.7);
        simulator.Run(ReadAll(13, 11 * kMiB + 640, 17920));
        return simulator.Run(ReadAll(48, 9 * kMiB, 8192)).end;
    };
    CHECK_EQ(run(), run());
}

TEST(least_recently_used_sectors_leave) {
    model::L2State l2(4 * 512);
    const auto misses = [&](uint64_t sector, uint32_t transfer) {
        model::L2Access access;
        l2.Read(sector * 512, 512, transfer, access);
        return access.miss;
    };
    for (uint32_t i = 0; i < 4; ++i) CHECK_EQ(misses(i, i), 512U);
    CHECK_EQ(misses(0, 4), 0U);
    CHECK_EQ(misses(9, 5), 512U);  // sector 1 leaves
    CHECK_EQ(misses(0, 6), 0U);
    CHECK_EQ(misses(1, 7), 512U);
    // Lines of a sector come one by one.
    model::L2Access access;
    l2.Read(100 * 512 + 130, 10, 8, access);
    CHECK_EQ(access.miss, 128U);
    l2.Read(100 * 512, 512, 9, access);
    CHECK_EQ(access.hit, 128U);
    CHECK_EQ(access.miss, 4 * 128U);
    CHECK_EQ(access.after, 8U);
}

// Of sectors that were not used last, any may leave, so that some of those that are read in turn
// still hit where they do not all fit.
TEST(recently_used_sectors_stay) {
    constexpr uint64_t kCapacity = 100;
    model::L2State l2(kCapacity * 512, 70 * 512);
    const auto misses = [&](uint64_t first, uint64_t count) {
        model::L2Access access;
        l2.Read(first * 512, count * 512, 0, access);
        return access.miss / 512;
    };
    CHECK_EQ(misses(0, 70), 70U);
    CHECK_EQ(misses(1000, 69), 69U);
    CHECK_EQ(misses(69, 1), 0U);     // 69 others were used since
    uint64_t left = misses(0, 100);  // at most these 70 and 30 older ones were there
    CHECK(left >= 69 && left < 100);
    for (int turn = 0; turn < 20; ++turn) left = misses(0, kCapacity + 5);
    CHECK(left > 5 && left < 60);
    for (int turn = 0; turn < 20; ++turn) left = misses(0, 2 * kCapacity);
    CHECK(left > 190);
    model::L2State last_use(kCapacity * 512);
    model::L2Access access;
    for (int turn = 0; turn < 3; ++turn) {
        access = {};
        last_use.Read(0, (kCapacity + 5) * 512, 0, access);
    }
    CHECK_EQ(access.hit, 0U);
}

// What a kernel reads again is not what it uses first.
TEST(first_use_of_a_line_by_a_kernel) {
    model::L2State l2(100 * 512);
    const auto read = [&](uint64_t sectors) {
        model::L2Access access;
        l2.Read(0, sectors * 512, 0, access);
        return access;
    };
    l2.BeginKernel();
    CHECK_EQ(read(4).first, 0U);  // misses
    CHECK_EQ(read(4).first, 0U);
    l2.BeginKernel();
    // Lines of a sector count one by one.
    model::L2Access line;
    l2.Read(0, 128, 0, line);
    CHECK_EQ(line.first, 128U);
    l2.Read(0, 512, 0, line);
    CHECK_EQ(line.first, 512U);
    l2.BeginKernel();
    const model::L2Access access = read(5);
    CHECK_EQ(access.first, 4U * 512);
    CHECK_EQ(access.hit, 4U * 512);
    CHECK_EQ(read(5).first, 0U);
}

TEST(flags_that_do_not_pair_up_are_an_error) {
    const auto wait = Flag(TraceOp::kWaitFlag, TracePipe::kMte2, TracePipe::kV);
    CHECK_EQ(ErrorOf([&] { Run({wait, Vector(1)}, Constants()); }),
             "trace: core 0 waits for a flag that is never set");
    CHECK_EQ(ErrorOf([&] { Run({CrossWait(3)}, Constants()); }),
             "trace: core 0 waits for a flag that is never set");
    CHECK_EQ(ErrorOf([&] { Run({CrossWait(16)}, Constants()); }), "trace: cross-core flag 16");
}

TEST(every_constant_has_a_source_and_ordered_values) {
    for (const auto& info : arch::TimingConstantTable()) {
        CHECK(std::string(info.source).size() > 1);
        const bool rising = info.values[0] <= info.values[1] && info.values[1] <= info.values[2];
        const bool falling = info.values[0] >= info.values[1] && info.values[1] >= info.values[2];
        CHECK(rising || falling);
    }
}

TEST(chips_without_a_published_hbm_rate_are_refused) {
    for (const std::string chip : {"Ascend910B2C", "Ascend910B4-1", "Ascend910_9362"}) {
        CHECK_EQ(ErrorOf([&] {
                     arch::FindTimingConstants(arch::FindChip(chip), arch::Level::kNominal);
                 }),
                 "timing model: no source says how fast the HBM of " + chip + " is");
    }
}
