// The trace of a tiny mixed kernel, record by record. The format is twin/trace_format.h's.
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "twin_fixture.h"

using namespace fixture;
using AscendC::DataCopy;
using AscendC::HardEvent;
using AscendC::PipeBarrier;
using AscendC::SetFlag;
using AscendC::WaitFlag;
using twin::Trace;
using twin::TraceBuffer;
using twin::TraceOp;
using twin::TracePipe;
using twin::TraceRecord;

namespace {

struct Tensors {
    std::vector<half> w = std::vector<half>(8 + 4 * 24);  // 208 bytes
    std::vector<float> out = std::vector<float>(128);     // 512 bytes
    std::vector<float> y = std::vector<float>(32);        // 128 bytes
};

int first_line = 0;  // of the first instruction below

/// AIC: 4 x 16 halves (of rows of 24) x themselves; two rows of the result go to `out`.
void Cube(Tensors& gm) {
    TPipe pipe;
    const auto l1 = Allocate<TPosition::A1, half>(pipe, 256);
    const auto l0a = Allocate<TPosition::A2, half>(pipe, 512);
    const auto l0b = Allocate<TPosition::B2, half>(pipe, 256);
    const auto l0c = Allocate<TPosition::CO1, float>(pipe, 512);
    AscendC::Nd2NzParams rows;
    rows.ndNum = 1;
    rows.nValue = 4;
    rows.dValue = 16;
    rows.srcDValue = 24;
    rows.dstNzC0Stride = 16;
    rows.dstNzNStride = 1;
    first_line = __LINE__ + 1;
    DataCopy(l1, Gm(gm.w)[8], rows);
    SetFlag<HardEvent::MTE2_MTE1>(2);
    WaitFlag<HardEvent::MTE2_MTE1>(2);
    AscendC::LoadData2DParams fractal;
    fractal.repeatTimes = 1;
    AscendC::LoadData(l0a[256], l1, fractal);
    AscendC::LoadData(l0b, l1, fractal);
    SetFlag<HardEvent::MTE1_M>(0);
    WaitFlag<HardEvent::MTE1_M>(0);
    AscendC::MmadParams shape;
    shape.m = 4;
    shape.n = 16;
    shape.k = 12;
    AscendC::Mmad(l0c[256], l0a[256], l0b, shape);
    PipeBarrier<PIPE_M>();
    shape.cmatrixInitVal = false;
    AscendC::Mmad(l0c[256], l0a[256], l0b, shape);
    SetFlag<HardEvent::M_FIX>(5);
    WaitFlag<HardEvent::M_FIX>(5);
    AscendC::FixpipeParamsV220 store;
    store.nSize = 16;
    store.mSize = 2;
    store.srcStride = 16;
    store.dstStride = 40;
    AscendC::Fixpipe(Gm(gm.out)[16], l0c[256], store);
    AscendC::CrossCoreSetFlag<2, PIPE_FIX>(3);
}

/// AIV: loads those rows; AIV 0 alone stores two blocks to `y`.
void Vector(Tensors& gm) {
    TPipe pipe;
    static_cast<void>(Allocate<TPosition::VECIN, float>(pipe, 8));
    const auto ub = Allocate<TPosition::VECIN, float>(pipe, 64);
    AscendC::CrossCoreWaitFlag(3);
    DataCopy(ub[8], Gm(gm.out)[16], 16);
    AscendC::DataCopyPad(ub, Gm(gm.out)[56], AscendC::DataCopyExtParams(2, 20, 12, 1, 0),
                         AscendC::DataCopyPadExtParams<float>());
    PipeBarrier<PIPE_ALL>();
    ub.SetValue(4, ub.GetValue(3));
    if (AscendC::GetSubBlockIdx() == 0) {
        SetFlag<HardEvent::S_MTE3>(5);
        WaitFlag<HardEvent::S_MTE3>(5);
        DataCopy(Gm(gm.y)[8], ub[16], AscendC::DataCopyParams(2, 1, 2, 1));
    }
}

Trace Run(Tensors& gm) {
    Trace trace;
    auto config = Config(KernelKind::kMixAic1Aiv2,
                         {Input("w", gm.w), Output("out", gm.out), Output("y", gm.y)});
    config.trace = &trace;
    twin::Launch(config, [&] {
        if ASCEND_IS_AIC {
            Cube(gm);
        } else {
            Vector(gm);
        }
    });
    return trace;
}

std::string Pipe(uint32_t pipe) {
    const char* names[] = {"S", "V", "M", "MTE1", "MTE2", "MTE3", "FIX", "ALL"};
    return pipe < 8 ? names[pipe] : "?";
}

/// "w+16 4x32/48": offset, blocks, bytes of a block, stride of several blocks.
std::string GmRange(const Trace& trace, const TraceRecord& record) {
    if (record.tensor >= trace.tensors.size()) return "?";
    std::string text = trace.tensors[record.tensor].name + "+" + std::to_string(record.gm_offset) +
                       " " + std::to_string(record.block_count) + "x" +
                       std::to_string(record.block_bytes);
    if (record.block_count > 1) text += "/" + std::to_string(record.block_stride);
    return text;
}

/// "L1+0:128": offset and bytes.
std::string LocalRange(const TraceRecord& record) {
    const char* names[] = {"UB", "L1", "L0A", "L0B", "L0C"};
    const auto buffer = static_cast<size_t>(record.buffer);
    return std::string(buffer < 5 ? names[buffer] : "?") + "+" +
           std::to_string(record.local_offset) + ":" + std::to_string(record.local_bytes);
}

/// Everything the format says about a record of this operation.
std::string Text(const Trace& trace, const TraceRecord& record) {
    const std::string pipe = Pipe(static_cast<uint32_t>(record.pipe));
    const auto arg = [&](int index) { return std::to_string(record.args[index]); };
    const std::string event = Pipe(record.args[0]) + ">" + Pipe(record.args[1]) + " " + arg(2);
    switch (record.op) {
        case TraceOp::kLoad:
            return pipe + " load " + GmRange(trace, record) + " " + LocalRange(record);
        case TraceOp::kStore:
            return pipe + " store " + GmRange(trace, record) + " " + LocalRange(record);
        case TraceOp::kMove:
            return pipe + " move " + LocalRange(record);
        case TraceOp::kMmad:
            return pipe + " mmad " + arg(0) + " " + arg(1) + " " + arg(2) + " " + arg(3) + " " +
                   arg(4);
        case TraceOp::kFixpipe:
            return pipe + " fix " + GmRange(trace, record) + " " + LocalRange(record);
        case TraceOp::kScalar:
            return pipe + " scalar " + LocalRange(record);
        case TraceOp::kSetFlag:
            return "set " + event;
        case TraceOp::kWaitFlag:
            return "wait " + event;
        case TraceOp::kBarrier:
            return "barrier " + pipe;
        case TraceOp::kCrossSet:
            return pipe + " cross-set " + arg(0) + " " + arg(1);
        case TraceOp::kCrossWait:
            return "cross-wait " + arg(0);
        default:
            return "?";
    }
}

std::vector<std::string> Texts(const Trace& trace, size_t core) {
    std::vector<std::string> texts;
    for (const TraceRecord& record : trace.cores[core]) texts.push_back(Text(trace, record));
    return texts;
}

/// Compares line by line; the end of the kernel waits for all pipes.
void CheckTrace(const Trace& trace, size_t core, std::vector<std::string> expected) {
    expected.push_back("barrier ALL");
    const auto texts = Texts(trace, core);
    for (size_t i = 0; i < texts.size() && i < expected.size(); ++i)
        CHECK_EQ(texts[i], expected[i]);
    CHECK_EQ(texts.size(), expected.size());
}

}  // namespace

TEST(trace_of_the_cube_core) {
    Tensors gm;
    const Trace trace = Run(gm);
    CHECK_EQ(trace.aic_count, 1u);
    CHECK_EQ(trace.cores.size(), 3u);
    CheckTrace(trace, 0,
               {"MTE2 load w+16 4x32/48 L1+0:128", "set MTE2>MTE1 2", "wait MTE2>MTE1 2",
                "MTE1 move L0A+512:512", "MTE1 move L0B+0:512", "set MTE1>M 0", "wait MTE1>M 0",
                "M mmad 4 16 12 2 0", "barrier M", "M mmad 4 16 12 2 1", "set M>FIX 5",
                "wait M>FIX 5", "FIX fix out+64 2x64/160 L0C+1024:128", "FIX cross-set 2 3"});
}

// UB: 32 bytes are taken before. Two padded blocks of 20 bytes land 32 + 32 bytes apart and fill 32
// each.
TEST(trace_of_the_vector_cores) {
    Tensors gm;
    const Trace trace = Run(gm);
    std::vector<std::string> both = {"cross-wait 3",
                                     "MTE2 load out+64 1x64 UB+64:64",
                                     "MTE2 load out+224 2x20/32 UB+32:96",
                                     "barrier ALL",
                                     "S scalar UB+44:4",
                                     "S scalar UB+48:4"};
    CheckTrace(trace, 2, both);
    both.insert(both.end(), {"set S>MTE3 5", "wait S>MTE3 5", "MTE3 store y+32 2x32/64 UB+96:128"});
    CheckTrace(trace, 1, both);
}

TEST(trace_names_kernel_chip_tensors_and_source_lines) {
    Tensors gm;
    const Trace trace = Run(gm);
    CHECK_EQ(trace.kernel, std::string("golden"));
    CHECK_EQ(trace.chip, std::string("Ascend910_9391"));
    CHECK_EQ(trace.tensors.size(), 3u);
    CHECK_EQ(trace.tensors[1].name, std::string("out"));
    CHECK_EQ(trace.tensors[1].bytes, 512u);
    CHECK_EQ(trace.tensors[0].writable, false);
    CHECK_EQ(trace.tensors[2].writable, true);
    const auto site = [&](size_t record) { return trace.sites[trace.cores[0][record].site]; };
    CHECK_EQ(site(0), std::string(__FILE__) + ":" + std::to_string(first_line));
    CHECK_EQ(site(1), std::string(__FILE__) + ":" + std::to_string(first_line + 1));
    CHECK_EQ(site(2), std::string(__FILE__) + ":" + std::to_string(first_line + 2));
}

// A record without a GM operand has no tensor.
TEST(trace_records_without_gm_have_no_tensor) {
    Tensors gm;
    const Trace trace = Run(gm);
    for (const auto& core : trace.cores) {
        for (const TraceRecord& record : core) {
            const bool has_gm = record.op == TraceOp::kLoad || record.op == TraceOp::kStore ||
                                record.op == TraceOp::kFixpipe;
            CHECK_EQ(record.tensor != twin::kNoTensor, has_gm);
        }
    }
}

TEST(two_runs_give_the_same_trace) {
    Tensors gm;
    const std::string first = Run(gm).Serialise();
    const std::string second = Run(gm).Serialise();
    CHECK(!first.empty());
    CHECK(first == second);
}

// Over all 72 cores, where cores take turns at every flag.
TEST(two_runs_over_all_cores_give_the_same_trace) {
    const auto run = [] {
        Trace trace;
        auto config = Config(KernelKind::kMixAic1Aiv2, {}, 0);
        config.trace = &trace;
        twin::Launch(config, [] {
            TPipe pipe;
            if ASCEND_IS_AIC {
                for (uint16_t i = 0; i < 4; ++i) {
                    AscendC::CrossCoreWaitFlag(i);
                    AscendC::CrossCoreSetFlag<0, PIPE_FIX>(8);
                    AscendC::CrossCoreWaitFlag(8);
                    AscendC::CrossCoreSetFlag<2, PIPE_FIX>(i);
                }
            } else {
                const auto ub = Allocate<TPosition::VECCALC, int32_t>(pipe, 8);
                for (uint16_t i = 0; i < 4; ++i) {
                    ub.SetValue(i, i);
                    AscendC::CrossCoreSetFlag<2, PIPE_MTE3>(i);
                    AscendC::CrossCoreWaitFlag(i);
                }
            }
        });
        return trace;
    };
    const Trace trace = run();
    CHECK_EQ(trace.cores.size(), 72u);
    CHECK_EQ(trace.aic_count, 24u);
    CHECK_EQ(trace.cores[23].size(), 17u);  // 4 x 4 and the end
    CHECK_EQ(trace.cores[71].size(), 13u);  // 4 x 3 and the end
    CHECK(trace.Serialise() == run().Serialise());
}

// A launch without a trace leaves none, and tracing does not change the result.
TEST(tracing_does_not_change_the_result) {
    Tensors traced, plain;
    for (size_t i = 0; i < traced.w.size(); ++i) traced.w[i] = plain.w[i] = half{0x3C00};
    Run(traced);
    twin::Launch(Config(KernelKind::kMixAic1Aiv2,
                        {Input("w", plain.w), Output("out", plain.out), Output("y", plain.y)}),
                 [&] {
                     if ASCEND_IS_AIC {
                         Cube(plain);
                     } else {
                         Vector(plain);
                     }
                 });
    // Row 0 of A is twelve ones; columns 0 to 3 of B are ones, the rest zero; two multiplications.
    CHECK_EQ(Values(plain.out, 16, 6), Of<float>(24, 24, 24, 24, 0, 0));
    CHECK(traced.out == plain.out);
    CHECK(traced.y == plain.y);
}

// trace_format.h: header, cores, tensors, records, then the strings.
TEST(trace_serialises_as_its_format_says) {
    Tensors gm;
    const Trace trace = Run(gm);
    const std::string bytes = trace.Serialise();
    size_t records = 0;
    for (const auto& core : trace.cores) records += core.size();

    twin::TraceHeader header;
    CHECK(bytes.size() > sizeof(header));
    if (bytes.size() <= sizeof(header)) return;
    std::memcpy(&header, bytes.data(), sizeof(header));
    CHECK_EQ(bytes.substr(0, 4), std::string("AWTR"));
    CHECK_EQ(header.magic, twin::kTraceMagic);
    CHECK_EQ(header.version, 1u);
    CHECK_EQ(header.core_count, 3u);
    CHECK_EQ(header.aic_count, 1u);
    CHECK_EQ(header.tensor_count, 3u);
    CHECK_EQ(header.site_count, trace.sites.size());
    CHECK_EQ(header.record_count, records);

    size_t at = 32;
    twin::TraceCore cores[3];
    static_assert(sizeof(cores) == 48);
    std::memcpy(cores, bytes.data() + at, sizeof(cores));
    at += sizeof(cores);
    uint64_t first = 0;
    for (size_t i = 0; i < 3; ++i) {
        CHECK_EQ(cores[i].first_record, first);
        CHECK_EQ(cores[i].record_count, trace.cores[i].size());
        first += cores[i].record_count;
    }
    twin::TraceTensor tensors[3];
    static_assert(sizeof(tensors) == 72);
    std::memcpy(tensors, bytes.data() + at, sizeof(tensors));
    at += sizeof(tensors);
    CHECK_EQ(tensors[0].bytes, 208u);
    CHECK_EQ(tensors[0].writable, 0u);
    CHECK_EQ(tensors[1].bytes, 512u);
    CHECK_EQ(tensors[1].writable, 1u);
    CHECK_EQ(tensors[2].bytes, 128u);
    for (const auto& core : trace.cores) {
        for (const TraceRecord& record : core) {
            CHECK(std::memcmp(bytes.data() + at, &record, sizeof(record)) == 0);
            at += 64;
        }
    }
    std::string strings;
    for (const std::string& site : trace.sites) strings += site + '\0';
    strings += std::string("w\0out\0y\0golden\0Ascend910_9391\0", 30);
    CHECK_EQ(bytes.substr(at).size(), strings.size());
    CHECK(bytes.substr(at) == strings);
}

// A traced launch that stops does not disturb the next one.
TEST(tracing_works_after_a_launch_that_fails) {
    Tensors gm;
    const std::string before = Run(gm).Serialise();
    Trace trace;
    auto config = Config(KernelKind::kAivOnly, {});
    config.trace = &trace;
    Breaks("unpaired-event", {},
           [&] { twin::Launch(config, [] { WaitFlag<HardEvent::MTE2_V>(0); }); });
    CHECK(Run(gm).Serialise() == before);
}
