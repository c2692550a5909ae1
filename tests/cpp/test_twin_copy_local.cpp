// Golden vectors of DataCopy between local buffers: UB -> UB, L1 -> fixpipe buffer.
#include <cstdint>
#include <vector>

#include "twin_fixture.h"

using namespace fixture;
using AscendC::DataCopy;
using AscendC::DataCopyParams;

namespace {

constexpr auto kL1Bias = TPosition::C1;
constexpr auto kFixpipe = TPosition::C2PIPE2GM;

template <typename T>
std::vector<T> Poison(size_t count) {
    T value;
    std::memset(&value, 0xAA, sizeof(T));
    return std::vector<T>(count, value);
}

}  // namespace

// ---- Memory矢量计算/数据搬运/{DataCopy（UBToUB连续数据搬运）, DataCopy（UBToUB高维切分数据搬运）}
// ----

// Any of the listed types; what lies beyond count stays.
TEST(ub_to_ub_copies_consecutive_elements) {
    const auto check = [](auto element, uint32_t count) {
        using T = decltype(element);
        OnAiv({}, [&] {
            TPipe pipe;
            const auto src = Numbered<kUb, T>(pipe, 256);
            const auto dst = Allocate<kUb, T>(pipe, 256, 0xAA);
            DataCopy(dst[32], src[64], count);
            CHECK_EQ(Values(dst, 0, 32), Poison<T>(32));
            CHECK_EQ(Values(dst, 32, count), Ramp<T>(count, 64));
            CHECK_EQ(Values(dst, 32 + count, 64), Poison<T>(64));
        });
    };
    check(int8_t{}, 96);
    check(uint8_t{}, 32);
    check(int16_t{}, 48);
    check(int32_t{}, 40);
    check(float{}, 8);
    check(uint64_t{}, 12);
}

// 示例2: 2 blocks of 3, a gap of 1 block in the source and 2 in the destination, end to start.
TEST(ub_to_ub_blocks_have_gaps_from_end_to_start) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Numbered<kUb, uint16_t>(pipe, 112);
        const auto dst = Allocate<kUb, uint16_t>(pipe, 9 * 16, 0xAA);
        DataCopy(dst, src, DataCopyParams(2, 3, 1, 2));
        CHECK_EQ(Values(dst, 0, 48), Ramp<uint16_t>(48));
        CHECK_EQ(Values(dst, 48, 32), Poison<uint16_t>(32));
        CHECK_EQ(Values(dst, 80, 48), Ramp<uint16_t>(48, 64));
        CHECK_EQ(Values(dst, 128, 16), Poison<uint16_t>(16));
    });
}

// "blockCount、blockLen任意一个值为0时，该接口将被视为NOP"; blockCount ends at 4095.
TEST(ub_to_ub_limits) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Numbered<kUb, float>(pipe, 16);
        const auto dst = Allocate<kUb, float>(pipe, 16, 0xAA);
        DataCopy(dst, src, DataCopyParams(0, 1, 0, 0));
        DataCopy(dst, src, DataCopyParams(1, 0, 0, 0));
        CHECK_EQ(Values(dst.ReinterpretCast<uint32_t>(), 0, 16), Poison<uint32_t>(16));
    });
    const auto breaks = [](const char* code, std::initializer_list<std::string> parts,
                           const auto& copy) {
        AivBreaks(code, parts, {}, [&] {
            TPipe pipe;
            const auto src = Numbered<kUb, float>(pipe, 24);
            const auto dst = Allocate<kUb, float>(pipe, 24);
            static_cast<void>(Allocate<kUb, float>(pipe, 24));
            copy(dst, src);
        });
    };
    breaks("parameter-range", {"blockCount", "4096"}, [](const auto& dst, const auto& src) {
        DataCopy(dst, src, DataCopyParams(4096, 1, 0, 0));
    });
    breaks("misaligned", {"28"}, [](const auto& dst, const auto& src) { DataCopy(dst, src, 7); });
    breaks("misaligned", {"dst", "32"},
           [](const auto& dst, const auto& src) { DataCopy(dst[4], src, 8); });
    breaks("misaligned", {"src", "32"},
           [](const auto& dst, const auto& src) { DataCopy(dst, src[4], 8); });
    breaks("out-of-bounds", {"dst"},
           [](const auto& dst, const auto& src) { DataCopy(dst[8], src, 24); });
    breaks("out-of-bounds", {"src"}, [](const auto& dst, const auto& src) {
        DataCopy(dst, src[8], DataCopyParams(2, 1, 1, 0));
    });
}

// 通用地址重叠约束: not described for this instruction, so not supported; blocks that interleave
// without meeting are fine.
TEST(ub_to_ub_operands_do_not_overlap) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto x = Numbered<kUb, int32_t>(pipe, 32);
        DataCopy(x[8], x, DataCopyParams(2, 1, 1, 1));
        CHECK_EQ(Values(x, 8, 8), Ramp<int32_t>(8));
        CHECK_EQ(Values(x, 24, 8), Ramp<int32_t>(8, 16));
    });
    AivBreaks("overlap", {"DataCopy"}, {}, [] {
        TPipe pipe;
        const auto x = Numbered<kUb, int32_t>(pipe, 32);
        DataCopy(x[8], x, 16);
    });
    AivBreaks("overlap", {"DataCopy"}, {}, [] {
        TPipe pipe;
        const auto x = Numbered<kUb, int32_t>(pipe, 32);
        DataCopy(x, x, 32);
    });
}

// PIPE_V.
TEST(ub_to_ub_runs_on_the_vector_pipe) {
    twin::Trace trace;
    twin::LaunchConfig config = Config(KernelKind::kAivOnly, {});
    config.trace = &trace;
    twin::Launch(config, [] {
        TPipe pipe;
        const auto src = Numbered<kUb, uint16_t>(pipe, 112);
        DataCopy(Allocate<kUb, uint16_t>(pipe, 9 * 16), src, DataCopyParams(2, 3, 1, 2));
    });
    const twin::TraceRecord& record = trace.cores[0][0];
    CHECK_EQ(record.op, twin::TraceOp::kVector);
    CHECK_EQ(record.pipe, twin::TracePipe::kV);
    CHECK_EQ(record.local_offset, 224u);
    CHECK_EQ(record.local_bytes, 8u * 32);
    CHECK_EQ(record.args[0], 2u);
    CHECK_EQ(record.args[1], 192u);
    CHECK_EQ(record.args[2], 2u);
}

// ---- 矩阵计算（ISASI）/矩阵计算的搬入/DataCopy（L1ToFixpipe-Buffer数据搬运） ----

// 调用示例: 256 scales are 16 units of 128 bytes. Then the form with a count.
TEST(l1_to_fixpipe_buffer_copies_scales) {
    OnAic({}, [] {
        TPipe pipe;
        const auto l1 = Numbered<kL1Bias, uint64_t>(pipe, 256);
        const auto buffer = Allocate<kFixpipe, uint64_t>(pipe, 256, 0xAA);
        DataCopy(buffer, l1, DataCopyParams(1, 16, 0, 0));
        CHECK_EQ(Values(buffer, 0, 256), Ramp<uint64_t>(256));
        DataCopy(buffer[16], l1[4], 12);
        CHECK_EQ(Values(buffer, 16, 12), Ramp<uint64_t>(12, 4));
        CHECK_EQ(Values(buffer, 28, 4), Ramp<uint64_t>(4, 28));
    });
}

// 表3: gaps from start to start, 32 bytes in L1, 128 in the fixpipe buffer; srcGap 0 repeats the
// block.
TEST(l1_to_fixpipe_buffer_gaps) {
    OnAic({}, [] {
        TPipe pipe;
        const auto l1 = Numbered<kL1Bias, uint64_t>(pipe, 64);
        const auto buffer = Allocate<kFixpipe, uint64_t>(pipe, 96, 0xAA);
        DataCopy(buffer, l1, DataCopyParams(3, 1, 5, 2));
        for (int block = 0; block < 3; ++block) {
            const auto at = static_cast<size_t>(block) * 32;
            CHECK_EQ(Values(buffer, at, 16), Ramp<uint64_t>(16, 20 * block));
            CHECK_EQ(Values(buffer, at + 16, 16), Poison<uint64_t>(16));
        }
        DataCopy(buffer, l1[4], DataCopyParams(2, 1, 0, 1));
        CHECK_EQ(Values(buffer, 16, 16), Ramp<uint64_t>(16, 4));
        DataCopy(buffer, l1, DataCopyParams(0, 1, 0, 1));
        DataCopy(buffer, l1, DataCopyParams(1, 0, 0, 1));
        CHECK_EQ(Values(buffer, 0, 16), Ramp<uint64_t>(16, 4));
    });
}

// 128 bytes in the fixpipe buffer, 32 in L1; uint64_t only; nothing beyond either allocation.
TEST(l1_to_fixpipe_buffer_limits) {
    const auto breaks = [](const char* code, std::initializer_list<std::string> parts,
                           const auto& copy) {
        AicBreaks(code, parts, {}, [&] {
            TPipe pipe;
            const auto l1 = Numbered<kL1Bias, uint64_t>(pipe, 32);
            const auto buffer = Allocate<kFixpipe, uint64_t>(pipe, 32);
            static_cast<void>(Allocate<kL1Bias, uint64_t>(pipe, 32));
            static_cast<void>(Allocate<kFixpipe, uint64_t>(pipe, 32));
            copy(buffer, l1);
        });
    };
    breaks("misaligned", {"dst", "128"}, [](const auto& dst, const auto& src) {
        DataCopy(dst[4], src, DataCopyParams(1, 1, 0, 0));
    });
    breaks("misaligned", {"src", "32"}, [](const auto& dst, const auto& src) {
        DataCopy(dst, src[2], DataCopyParams(1, 1, 0, 0));
    });
    breaks("misaligned", {"24"}, [](const auto& dst, const auto& src) { DataCopy(dst, src, 3); });
    breaks("parameter-range", {"int32_t", "uint64_t"}, [](const auto& dst, const auto& src) {
        DataCopy(dst.template ReinterpretCast<int32_t>(), src.template ReinterpretCast<int32_t>(),
                 8);
    });
    breaks("parameter-range", {"blockCount", "4096"}, [](const auto& dst, const auto& src) {
        DataCopy(dst, src, DataCopyParams(4096, 1, 0, 0));
    });
    breaks("out-of-bounds", {"dst", "fixpipe buffer"}, [](const auto& dst, const auto& src) {
        DataCopy(dst[16], src, DataCopyParams(1, 2, 0, 0));
    });
    breaks("out-of-bounds", {"src", "L1"}, [](const auto& dst, const auto& src) {
        DataCopy(dst, src[4], DataCopyParams(1, 2, 0, 0));
    });
    breaks("wrong-buffer", {"dst"}, [](const auto&, const auto& src) { DataCopy(src, src, 4); });
    breaks("wrong-buffer", {"src"}, [](const auto& dst, const auto&) { DataCopy(dst, dst, 4); });
}

// 2048 bytes, and a buffer of the cube core; 数据搬运导览/概览/数据通路: the fixpipe moves into it.
TEST(the_fixpipe_buffer) {
    AicBreaks("capacity", {"fixpipe buffer", "2048"}, {}, [] {
        TPipe pipe;
        static_cast<void>(Allocate<kFixpipe, uint64_t>(pipe, 256));
        static_cast<void>(Allocate<kFixpipe, uint64_t>(pipe, 4));
    });
    AivBreaks("wrong-core", {"fixpipe buffer"}, {}, [] {
        TPipe pipe;
        static_cast<void>(Allocate<kFixpipe, uint64_t>(pipe, 4));
    });
    twin::Trace trace;
    twin::LaunchConfig config = Config(KernelKind::kAicOnly, {});
    config.trace = &trace;
    twin::Launch(config, [] {
        TPipe pipe;
        const auto l1 = Numbered<kL1Bias, uint64_t>(pipe, 32);
        DataCopy(Allocate<kFixpipe, uint64_t>(pipe, 32)[16], l1, 16);
    });
    const twin::TraceRecord& record = trace.cores[0][0];
    CHECK_EQ(record.op, twin::TraceOp::kMove);
    CHECK_EQ(record.pipe, twin::TracePipe::kFix);
    CHECK_EQ(record.buffer, twin::TraceBuffer::kFixpipe);
    CHECK_EQ(record.local_offset, 128u);
    CHECK_EQ(record.local_bytes, 128u);
}
