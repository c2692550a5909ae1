// Values that the fields of an instruction cannot hold: reported where the kernel assigns them.
// Widths: the tables of parameters of 数据搬运/{DataCopy, DataCopyPad}, LoadData_2D,
// LoadDataWithTranspose, Mmad, Fixpipe, GatherMask, Brcb, 辅助数据结构/{UnaryRepeatParams,
// BinaryRepeatParams}.
#include <cstdint>
#include <string>

#include "twin_sanitizer_fixture.h"

using namespace fixture;
using AscendC::BinaryRepeatParams;
using AscendC::BrcbRepeatParams;
using AscendC::DataCopyExtParams;
using AscendC::DataCopyParams;
using AscendC::FixpipeParamsV220;
using AscendC::GatherMaskParams;
using AscendC::LoadData2DParams;
using AscendC::LoadData2dTransposeParams;
using AscendC::MmadParams;
using AscendC::Nd2NzParams;
using AscendC::UnaryRepeatParams;

namespace {

using DataCopyPadExtParams = AscendC::DataCopyPadExtParams<float>;

constexpr uint64_t k8 = UINT8_MAX;
constexpr uint64_t k16 = UINT16_MAX;
constexpr uint64_t k32 = UINT32_MAX;

/// `assign(value)` puts a value into the field and returns what is in it then. `largest` fits; one
/// more, and less than none, are reported at `line`.
template <typename Assign>
void CheckField(const std::string& field, uint64_t largest, const Assign& assign, int line) {
    OnAiv({},
          [&] { check::Report(assign(largest) == largest, __FILE__, line, field + " is cut"); });
    const auto breaks = [&](auto value) {
        try {
            OnAiv({}, [&] { assign(value); });
            check::Report(false, __FILE__, line, field + " takes " + std::to_string(value));
        } catch (const twin::Error& error) {
            const std::string what = error.what();
            const std::string expected = field + " is " + std::to_string(value) +
                                         ", allowed are 0 to " + std::to_string(largest);
            check::Report(error.code == "field-overflow", __FILE__, line, what);
            check::Report(error.line == line && error.file == __FILE__, __FILE__, line, what);
            check::Report(what.find(expected) != std::string::npos, __FILE__, line, what);
        }
    };
    breaks(largest + 1);
    breaks(-1);
    breaks(static_cast<int8_t>(-128));
    breaks(UINT64_MAX);
    // What is left of it outside of a launch.
    check::Report(assign(largest + 1) == 0, __FILE__, line, field + " outside of a launch");
    check::Report(TwinWorks(), __FILE__, line, "the twin does not work after the error");
}

#define CHECK_FIELD(Struct, field, largest) \
    CheckField(                             \
        #Struct "." #field, largest,        \
        [](auto value) {                    \
            Struct params;                  \
            params.field = value;           \
            return uint64_t{params.field};  \
        },                                  \
        __LINE__)

/// The line of the report that `kernel` ends in, and its text.
struct Reported {
    int line = 0;
    std::string what;
};
template <typename Kernel>
Reported Overflow(const Kernel& kernel) {
    try {
        OnAiv({}, kernel);
    } catch (const twin::Error& error) {
        if (error.code == "field-overflow") return {error.line, error.what()};
    }
    return {};
}

}  // namespace

// ---- every field ----

TEST(fields_of_copies) {
    CHECK_FIELD(DataCopyParams, blockCount, k16);
    CHECK_FIELD(DataCopyParams, blockLen, k16);
    CHECK_FIELD(DataCopyParams, srcStride, k16);
    CHECK_FIELD(DataCopyParams, dstStride, k16);
    CHECK_FIELD(DataCopyExtParams, blockCount, k16);
    CHECK_FIELD(DataCopyExtParams, blockLen, k32);
    CHECK_FIELD(DataCopyExtParams, srcStride, k32);
    CHECK_FIELD(DataCopyExtParams, dstStride, k32);
    CHECK_FIELD(DataCopyExtParams, rsv, k32);
    CHECK_FIELD(DataCopyPadExtParams, leftPadding, k8);
    CHECK_FIELD(DataCopyPadExtParams, rightPadding, k8);
    CHECK_FIELD(Nd2NzParams, ndNum, k16);
    CHECK_FIELD(Nd2NzParams, nValue, k16);
    CHECK_FIELD(Nd2NzParams, dValue, k16);
    CHECK_FIELD(Nd2NzParams, srcNdMatrixStride, k16);
    CHECK_FIELD(Nd2NzParams, srcDValue, k16);
    CHECK_FIELD(Nd2NzParams, dstNzC0Stride, k16);
    CHECK_FIELD(Nd2NzParams, dstNzNStride, k16);
    CHECK_FIELD(Nd2NzParams, dstNzMatrixStride, k16);
}

TEST(fields_of_cube_instructions) {
    CHECK_FIELD(LoadData2DParams, startIndex, k16);
    CHECK_FIELD(LoadData2DParams, repeatTimes, k8);
    CHECK_FIELD(LoadData2DParams, srcStride, k16);
    CHECK_FIELD(LoadData2DParams, sid, k8);
    CHECK_FIELD(LoadData2DParams, dstGap, k16);
    CHECK_FIELD(LoadData2DParams, addrMode, k8);
    CHECK_FIELD(LoadData2dTransposeParams, startIndex, k16);
    CHECK_FIELD(LoadData2dTransposeParams, repeatTimes, k8);
    CHECK_FIELD(LoadData2dTransposeParams, srcStride, k16);
    CHECK_FIELD(LoadData2dTransposeParams, dstGap, k16);
    CHECK_FIELD(LoadData2dTransposeParams, dstFracGap, k16);
    CHECK_FIELD(LoadData2dTransposeParams, addrMode, k8);
    CHECK_FIELD(MmadParams, m, k16);
    CHECK_FIELD(MmadParams, n, k16);
    CHECK_FIELD(MmadParams, k, k16);
    CHECK_FIELD(MmadParams, unitFlag, k8);
    CHECK_FIELD(FixpipeParamsV220, nSize, k16);
    CHECK_FIELD(FixpipeParamsV220, mSize, k16);
    CHECK_FIELD(FixpipeParamsV220, srcStride, k16);
    CHECK_FIELD(FixpipeParamsV220, dstStride, k32);
    CHECK_FIELD(FixpipeParamsV220, ndNum, k16);
    CHECK_FIELD(FixpipeParamsV220, srcNdStride, k16);
    CHECK_FIELD(FixpipeParamsV220, dstNdStride, k16);
    CHECK_FIELD(FixpipeParamsV220, unitFlag, k8);
}

TEST(fields_of_vector_instructions) {
    CHECK_FIELD(UnaryRepeatParams, blockNumber, k32);
    CHECK_FIELD(UnaryRepeatParams, dstBlkStride, k16);
    CHECK_FIELD(UnaryRepeatParams, srcBlkStride, k16);
    CHECK_FIELD(UnaryRepeatParams, dstRepStride, k8);
    CHECK_FIELD(UnaryRepeatParams, srcRepStride, k8);
    CHECK_FIELD(BinaryRepeatParams, blockNumber, k32);
    CHECK_FIELD(BinaryRepeatParams, dstBlkStride, k8);
    CHECK_FIELD(BinaryRepeatParams, src0BlkStride, k8);
    CHECK_FIELD(BinaryRepeatParams, src1BlkStride, k8);
    CHECK_FIELD(BinaryRepeatParams, dstRepStride, k8);
    CHECK_FIELD(BinaryRepeatParams, src0RepStride, k8);
    CHECK_FIELD(BinaryRepeatParams, src1RepStride, k8);
    CHECK_FIELD(BrcbRepeatParams, blockNumber, k32);
    CHECK_FIELD(BrcbRepeatParams, dstRepStride, k16);
    CHECK_FIELD(BrcbRepeatParams, dstBlkStride, k16);
    CHECK_FIELD(BrcbRepeatParams, src0BlkStride, k8);
    CHECK_FIELD(BrcbRepeatParams, src1BlkStride, k8);
    CHECK_FIELD(BrcbRepeatParams, src0RepStride, k8);
    CHECK_FIELD(BrcbRepeatParams, src1RepStride, k8);
    CHECK_FIELD(GatherMaskParams, src0BlockStride, k8);
    CHECK_FIELD(GatherMaskParams, repeatTimes, k16);
    CHECK_FIELD(GatherMaskParams, src0RepeatStride, k16);
    CHECK_FIELD(GatherMaskParams, src1RepeatStride, k8);
}

// ---- constructors, as the toolkits declare them ----

TEST(constructors_put_their_arguments_where_they_belong) {
    const DataCopyParams copy(1, 2, 3, 4);
    CHECK(copy.blockCount == 1 && copy.blockLen == 2 && copy.srcStride == 3 && copy.dstStride == 4);
    const DataCopyExtParams pad(1, 2, 3, 4, 5);
    CHECK(pad.blockCount == 1 && pad.blockLen == 2 && pad.srcStride == 3 && pad.dstStride == 4);
    CHECK(pad.rsv == 5);
    const DataCopyPadExtParams padding(true, 1, 2, 3.0F);
    CHECK(padding.isPad && padding.leftPadding == 1 && padding.rightPadding == 2);
    CHECK_EQ(padding.paddingValue, 3.0F);
    const Nd2NzParams nz(1, 2, 3, 4, 5, 6, 7, 8);
    CHECK(nz.ndNum == 1 && nz.nValue == 2 && nz.dValue == 3 && nz.srcNdMatrixStride == 4);
    CHECK(nz.srcDValue == 5 && nz.dstNzC0Stride == 6 && nz.dstNzNStride == 7);
    CHECK_EQ(nz.dstNzMatrixStride, 8);
    const LoadData2DParams load(1, 2, 3, 4, 5, true, 6);
    CHECK(load.startIndex == 1 && load.repeatTimes == 2 && load.srcStride == 3 && load.sid == 4);
    CHECK(load.dstGap == 5 && load.ifTranspose && load.addrMode == 6);
    const LoadData2dTransposeParams square(1, 2, 3, 4, 5, 6);
    CHECK(square.startIndex == 1 && square.repeatTimes == 2 && square.srcStride == 3);
    CHECK(square.dstGap == 4 && square.dstFracGap == 5 && square.addrMode == 6);
    const MmadParams product(1, 2, 3, 4, true, false);
    CHECK(product.m == 1 && product.n == 2 && product.k == 3 && product.unitFlag == 4);
    CHECK(product.cmatrixSource && !product.cmatrixInitVal);
    const FixpipeParamsV220 store(1, 2, 3, 4, true);
    CHECK(store.nSize == 1 && store.mSize == 2 && store.srcStride == 3 && store.dstStride == 4);
    CHECK(store.reluEn);
    const UnaryRepeatParams unary(1, 2, 3, 4);
    CHECK(unary.dstBlkStride == 1 && unary.srcBlkStride == 2 && unary.dstRepStride == 3);
    CHECK_EQ(unary.srcRepStride, 4);
    const BinaryRepeatParams binary(1, 2, 3, 4, 5, 6);
    CHECK(binary.dstBlkStride == 1 && binary.src0BlkStride == 2 && binary.src1BlkStride == 3);
    CHECK(binary.dstRepStride == 4 && binary.src0RepStride == 5 && binary.src1RepStride == 6);
    const BrcbRepeatParams spread(1, 2);
    CHECK(spread.dstBlkStride == 1 && spread.dstRepStride == 2);
    const GatherMaskParams gather(1, 2, 3, 4);
    CHECK(gather.src0BlockStride == 1 && gather.repeatTimes == 2);
    CHECK(gather.src0RepeatStride == 3 && gather.src1RepeatStride == 4);
}

TEST(an_argument_of_a_constructor_is_reported_at_its_line) {
    const uint32_t wide = 65536;
    const int line = __LINE__ + 2;
    const auto braced = Overflow([&] {
        DataCopyParams params{1, wide, 0, 0};
        static_cast<void>(params);
    });
    CHECK_EQ(braced.line, line);
    CHECK(braced.what.find("DataCopyParams.blockLen is 65536") != std::string::npos);

    const auto in_a_call = Overflow([&] {
        TPipe pipe;
        const auto x = Allocate<TPosition::VECCALC, float>(pipe, 64);
        AscendC::Muls(x, x, 1.0F, uint64_t{64}, 1, {1, 1, wide / 256, 8});
    });
    CHECK_EQ(in_a_call.line, line + 9);
    CHECK(in_a_call.what.find("UnaryRepeatParams.dstRepStride is 256, allowed are 0 to 255") !=
          std::string::npos);
}

// ---- fields are numbers ----

TEST(fields_read_like_the_integers_of_the_toolkits) {
    DataCopyParams copy(3, 5, 7, 11);
    DataCopyExtParams pad;
    pad.blockCount = copy.blockCount;  // from one field to another
    pad.blockLen = copy.blockLen * 32;
    copy.srcStride = pad.blockLen;
    CHECK_EQ(copy.srcStride + copy.dstStride * 2, 160 + 22);
    for (const bool first : {true, false}) {
        CHECK_EQ(first ? copy.blockCount : copy.blockLen, first ? 3 : 5);
        CHECK_EQ(first ? copy.blockCount : 100, first ? 3 : 100);
    }
    enum Length { kShort = 2 };
    copy.blockLen = kShort;
    const DataCopyParams same = copy;
    CHECK(same.blockLen == copy.blockLen && same.blockLen < copy.blockCount);
    static_assert(sizeof(DataCopyParams) == 4 * sizeof(uint16_t), "no more than its fields");
}

TEST(a_field_that_takes_a_wider_one) {
    const int line = __LINE__ + 5;
    const auto report = Overflow([] {
        DataCopyExtParams pad;
        pad.blockLen = 65536;
        DataCopyParams copy;
        copy.blockLen = pad.blockLen;
    });
    CHECK_EQ(report.line, line);
    CHECK(report.what.find("DataCopyParams.blockLen is 65536") != std::string::npos);
}

// ---- numbers that are arguments ----

// The toolkits take repeat times as uint8_t, strides as uint16_t or uint8_t.
TEST(repeat_times_and_strides_that_are_arguments) {
    const auto check = [](const std::string& text, uint64_t largest, const auto& issue) {
        const auto code = [&](uint64_t value) {
            Reported report;
            try {
                OnAiv({}, [&] {
                    TPipe pipe;
                    issue(Allocate<TPosition::VECCALC, float>(pipe, 64), value);
                });
            } catch (const twin::Error& error) {
                report = {error.line, error.code + ": " + error.what()};
            }
            return report.what;
        };
        const std::string expected = text + " is " + std::to_string(largest + 1) +
                                     ", allowed are 0 to " + std::to_string(largest);
        const std::string over = code(largest + 1);
        CHECK_EQ(over.substr(0, 15), std::string("field-overflow:"));
        CHECK(over.find(expected) != std::string::npos);
        CHECK(code(largest).find("field-overflow") == std::string::npos);
    };
    using Tensor = LocalTensor<float>;
    const uint64_t all = 64;
    check("Add: repeatTime", k8, [&](const Tensor& x, uint64_t n) {
        AscendC::Add(x, x, x, all, n, BinaryRepeatParams(1, 1, 1, 0, 0, 0));
    });
    check("Abs: repeatTime", k8, [&](const Tensor& x, uint64_t n) {
        AscendC::Abs(x, x, all, n, UnaryRepeatParams(1, 1, 0, 0));
    });
    check("Duplicate: repeatTime", k8,
          [&](const Tensor& x, uint64_t n) { AscendC::Duplicate(x, 1.0F, all, n, 1, 0); });
    check("Duplicate: dstBlockStride", k16,
          [&](const Tensor& x, uint64_t n) { AscendC::Duplicate(x, 1.0F, all, 1, n, 8); });
    check("Duplicate: dstRepeatStride", k8,
          [&](const Tensor& x, uint64_t n) { AscendC::Duplicate(x, 1.0F, all, 1, 1, n); });
    check("Brcb: repeatTime", k8,
          [&](const Tensor& x, uint64_t n) { AscendC::Brcb(x, x, n, {1, 8}); });
    check("WholeReduceSum: repeatTime", k8, [&](const Tensor& x, uint64_t n) {
        AscendC::WholeReduceSum(x, x, 64, static_cast<int32_t>(n), 1, 1, 0);
    });
    check("WholeReduceSum: srcRepStride", k16, [&](const Tensor& x, uint64_t n) {
        AscendC::WholeReduceSum(x, x, 64, 1, 1, 1, static_cast<int32_t>(n));
    });
    check("Gather: dstRepStride", k16, [&](const Tensor& x, uint64_t n) {
        AscendC::Gather(x, x, x.ReinterpretCast<uint32_t>(), 0, all, 1, n);
    });
}
