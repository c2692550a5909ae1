// The cube side of the machine. Pages as in csrc/twin/include/ascendc/cube.h.
#include "ascendc/cube.h"

#include "plan_walk/instructions.h"

namespace twin {

namespace {

using walk::kFractal;

// Mmad, constraints: where its sums start in L0C.
constexpr uint32_t kSumsAlignment = 1024;
constexpr int64_t kMaxSide = 4095;  // of Mmad, and columns of the fixpipe
constexpr int64_t kMaxFixpipeRows = 8192;
constexpr uint32_t kSide = 16;

TraceBuffer RequireL0(const char* instruction, const Local& dst) {
    if (dst.buffer != TraceBuffer::kL0a && dst.buffer != TraceBuffer::kL0b)
        walk::Fail("wrong-buffer", "%s: dst is neither in L0A nor in L0B", instruction);
    return dst.buffer;
}

}  // namespace

void LoadFractals(const Local& dst, const Local& src, DType type,
                  const AscendC::LoadData2DParams& params, Site site) {
    walk::RequireCore("LoadData", walk::At(site), true);
    walk::RequireRange("LoadData", "repeatTimes", params.repeatTimes, 1, UINT8_MAX);
    if (params.ifTranspose && walk::Bytes(type) != 2)
        walk::Fail("parameter-range", "LoadData: ifTranspose needs a 16-bit type");
    const int64_t repeats = params.repeatTimes;
    const int64_t start = int64_t{params.startIndex} * kFractal;
    const int64_t source = int64_t{params.srcStride} * kFractal;
    const int64_t target = (int64_t{params.dstGap} + 1) * kFractal;
    walk::RequireLocal("LoadData", "src", src, TraceBuffer::kL1, walk::kBlock, start,
                       start + (repeats - 1) * source + kFractal);
    walk::RequireLocal("LoadData", "dst", dst, RequireL0("LoadData", dst), kFractal, 0,
                       (repeats - 1) * target + kFractal);
}

void LoadTransposedSquares(const Local& dst, const Local& src, DType type,
                           const AscendC::LoadData2dTransposeParams& params, Site site) {
    constexpr const char* kInstruction = "LoadDataWithTranspose";
    walk::RequireCore(kInstruction, walk::At(site), true);
    walk::RequireRange(kInstruction, "repeatTimes", params.repeatTimes, 1, UINT8_MAX);
    walk::RequireRange(kInstruction, "addrMode", params.addrMode, 0, 0);
    const int64_t fractals = walk::Bytes(type) == 2 ? 1 : 2;  // of a square
    const int64_t square = fractals * kFractal;
    const int64_t repeats = params.repeatTimes;
    const int64_t start = params.startIndex * square;
    const int64_t gap = int64_t{params.dstGap} + 1;
    const int64_t fractal_gap = int64_t{params.dstFracGap} + 1;
    if (fractals == 2 && fractal_gap % gap == 0 && fractal_gap / gap < repeats) {
        walk::Fail("overlap", "%s: with dstGap %u and dstFracGap %u squares overlap in dst",
                   kInstruction, params.dstGap.value(), params.dstFracGap.value());
    }
    walk::RequireLocal(kInstruction, "src", src, TraceBuffer::kL1, walk::kBlock, start,
                       start + (repeats - 1) * params.srcStride * square + square);
    walk::RequireLocal(kInstruction, "dst", dst, RequireL0(kInstruction, dst), kFractal, 0,
                       ((repeats - 1) * gap + (fractals - 1) * fractal_gap + 1) * kFractal);
}

void MatrixMultiply(const Local& c, DType c_type, const Local& a, const Local& b, DType ab_type,
                    const AscendC::MmadParams& params, Site site) {
    walk::RequireCore("Mmad", walk::At(site), true);
    // One row turns on GEMV, which takes another left matrix.
    walk::RequireRange("Mmad", "m", params.m, 2, kMaxSide);
    walk::RequireRange("Mmad", "n", params.n, 1, kMaxSide);
    walk::RequireRange("Mmad", "k", params.k, 1, kMaxSide);
    const int64_t m = walk::CeilDiv(params.m, kSide);
    const int64_t n = walk::CeilDiv(params.n, kSide);
    const int64_t k = walk::CeilDiv(params.k, walk::kBlock / walk::Bytes(ab_type));
    walk::RequireLocal("Mmad", "fm", a, TraceBuffer::kL0a, kFractal, 0, m * k * kFractal);
    walk::RequireLocal("Mmad", "filter", b, TraceBuffer::kL0b, kFractal, 0, k * n * kFractal);
    walk::RequireLocal("Mmad", "dst", c, TraceBuffer::kL0c, kSumsAlignment, 0,
                       m * n * kSide * kSide * walk::Bytes(c_type));
}

void FixpipeToGm(const Global& dst, DType dst_type, const Local& src, DType src_type, const Local*,
                 const AscendC::FixpipeParamsV220& params, bool, Site site) {
    constexpr const char* kInstruction = "Fixpipe";
    walk::RequireCore(kInstruction, walk::At(site), true);
    walk::RequireRange(kInstruction, "nSize", params.nSize, 1, kMaxSide);
    walk::RequireRange(kInstruction, "mSize", params.mSize, 1, kMaxFixpipeRows);
    walk::RequireRange(kInstruction, "dstStride", params.dstStride, 1, UINT32_MAX);
    if (params.nSize % kSide != 0)
        walk::Fail("parameter-range", "%s: nSize is %u, no multiple of %u", kInstruction,
                   params.nSize.value(), kSide);
    if (params.srcStride < params.mSize || params.srcStride % kSide != 0) {
        walk::Fail("parameter-range", "%s: srcStride is %u, must be mSize = %u rounded up to %u",
                   kInstruction, params.srcStride.value(), params.mSize.value(), kSide);
    }
    if (params.mSize > 1 && params.dstStride < params.nSize) {
        walk::Fail("parameter-range", "%s: dstStride is %u, rows of nSize = %u would overlap",
                   kInstruction, params.dstStride.value(), params.nSize.value());
    }
    // Columns of a fractal of sums lie 64 bytes apart.
    const int64_t row = kSide * walk::Bytes(src_type);
    walk::RequireLocal(kInstruction, "src", src, TraceBuffer::kL0c, static_cast<uint32_t>(row), 0,
                       (params.nSize / kSide - 1) * params.srcStride * row + params.mSize * row);
    const uint64_t element = walk::Bytes(dst_type);
    walk::Running().Touch(kInstruction, reinterpret_cast<uint64_t>(dst.data),
                          params.nSize * element, params.mSize, params.dstStride * element,
                          walk::Port::kFixpipe);
}

}  // namespace twin
