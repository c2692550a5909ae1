// The fixpipe from L0C to GM: layouts, casts and quantisation.
#include <algorithm>
#include <cstring>
#include <vector>

#include "ascendc/cube.h"
#include "convert.h"
#include "core.h"

namespace twin {

namespace {

constexpr const char* kInstruction = "Fixpipe";
constexpr uint32_t kWordBytes = 8;

bool IsByte(DType type) { return type == DType::kI8 || type == DType::kU8; }

bool HasScaleTensor(QuantMode_t mode) {
    return mode == VDEQF16 || mode == VQF322B8_PRE || mode == VREQ8;
}

bool HasScale(QuantMode_t mode) {
    return HasScaleTensor(mode) || mode == DEQF16 || mode == QF322B8_PRE || mode == REQ8;
}

// From Fixpipe（L0C到GM数据搬运）, data types and table 4, which have no int32_t -> bfloat16_t.
bool Exists(QuantMode_t mode, DType from, DType to) {
    switch (mode) {
        case NoQuant:
            return from == to && (to == DType::kF32 || to == DType::kI32);
        case F322F16:
            return from == DType::kF32 && to == DType::kF16;
        case F322BF16:
            return from == DType::kF32 && to == DType::kBF16;
        case DEQF16:
        case VDEQF16:
            return from == DType::kI32 && to == DType::kF16;
        case QF322B8_PRE:
        case VQF322B8_PRE:
            return from == DType::kF32 && IsByte(to);
        case REQ8:
        case VREQ8:
            return from == DType::kI32 && IsByte(to);
    }
    return false;
}

/// The decoded fields of a scale word (随路量化, table 1).
struct Scale {
    float factor;  ///< M1; it applies to negative values too, as the twin has no ReLU here
    int32_t offset;
};

// Bits 0-31 are a float, of which the hardware uses the sign, the exponent and 10 bits of the
// mantissa. Bits 37-45 are the offset, in two's complement as SetQuantVector writes it, and bit 46
// tells that the result is signed; only the 8-bit modes use these two fields.
Scale Decode(uint64_t word, uint32_t column, DType from, DType to, const Site& site) {
    const auto bits = static_cast<uint32_t>(word);
    const uint32_t exponent = bits >> 23 & 0xFF;
    if (exponent == 0xFF || (exponent == 0 && (bits & 0x7FFFFF) != 0)) {
        Fail("parameter-range", site,
             "%s: the scale of column %u has the bits 0x%08x; infinite, NaN and subnormal scales "
             "are not allowed",
             kInstruction, column, bits);
    }
    // Bit 36 is not supported because the page contradicts itself: its table shifts right by 1 to
    // 16, the example that it refers to by 0 to 15.
    if (from == DType::kI32 && (word >> 36 & 1) != 0) {
        Fail("unsupported", site,
             "%s: the scale word of column %u has bit 36, a shift to 16 bits before the product",
             kInstruction, column);
    }
    Scale scale{FloatFromBits(bits & 0xFFFFE000u), 0};
    if (!IsByte(to)) return scale;
    if ((word >> 46 & 1) != (to == DType::kI8 ? 1u : 0u)) {
        Fail("parameter-range", site,
             "%s: bit 46 of the scale word of column %u is %d; it must be 1 for int8_t and 0 for "
             "uint8_t, the output is %s",
             kInstruction, column, static_cast<int>(word >> 46 & 1), DTypeName(to));
    }
    scale.offset = static_cast<int32_t>(word >> 37 & 0x1FF);
    if (scale.offset >= 256) scale.offset -= 512;
    return scale;
}

std::vector<Scale> DecodeScales(const Local* scales, DType from, DType to,
                                const AscendC::FixpipeParamsV220& params, const Site& site) {
    std::vector<Scale> decoded;
    if (!HasScale(params.quantPre)) return decoded;
    if (scales == nullptr) {
        decoded.assign(params.nSize, Decode(params.deqScalar, 0, from, to, site));
        return decoded;
    }
    RequireBuffer(kInstruction, "cbufWorkspace", *scales, TraceBuffer::kL1, site);
    RequireAligned(kInstruction, "cbufWorkspace", *scales, kBlockBytes, site);
    RequireInside(kInstruction, "cbufWorkspace", *scales, 0, int64_t{params.nSize} * kWordBytes,
                  site);
    if (params.nSize * kWordBytes > arch::DavC220::kFixpipeBytes) {
        Fail("unsupported", site,
             "%s: nSize is %u, the fixpipe buffer holds scales for %u columns; what becomes of "
             "more is not documented",
             kInstruction, params.nSize.value(), arch::DavC220::kFixpipeBytes / kWordBytes);
    }
    for (uint32_t column = 0; column < params.nSize; ++column) {
        uint64_t word = 0;
        std::memcpy(&word, scales->data + column * kWordBytes, kWordBytes);
        decoded.push_back(Decode(word, column, from, to, site));
    }
    return decoded;
}

/// Loads 16 values of L0C as fp32; an int32 value becomes the nearest float.
void LoadRow(const uint8_t* from, DType type, float* values) {
    std::memcpy(values, from, 64);
    if (type == DType::kF32) return;
    int32_t whole[16];
    std::memcpy(whole, from, 64);
    for (int i = 0; i < 16; ++i) values[i] = static_cast<float>(whole[i]);
}

// By the algorithms that 随路量化与随路ReLU场景组合 refers to, the rounded product saturates at 9
// bits, and once the offset is added, the sum saturates at 8 bits. NaN counts as 0. It is an
// assumption, which no page states, that the product is rounded to fp32 first.
uint8_t Requantise(float value, const Scale& scale, DType to) {
    const int32_t product =
        FloatToInteger<int16_t>(value * scale.factor, AscendC::RoundMode::CAST_RINT);
    const int32_t sum = std::clamp(product, -256, 255) + scale.offset;
    return static_cast<uint8_t>(to == DType::kI8 ? std::clamp(sum, -128, 127)
                                                 : std::clamp(sum, 0, 255));
}

/// Converts 16 columns of a row.
void Convert(const uint8_t* from, DType from_type, uint8_t* to, DType to_type,
             const Scale* scales) {
    if (from_type == to_type) {
        std::memcpy(to, from, 64);
        return;
    }
    float values[16];
    LoadRow(from, from_type, values);
    if (IsByte(to_type)) {
        for (int i = 0; i < 16; ++i) to[i] = Requantise(values[i], scales[i], to_type);
        return;
    }
    // The twin always uses Inf/NaN mode: see convert.h.
    uint16_t bits[16];
    for (int i = 0; i < 16; ++i) {
        const float value = scales == nullptr ? values[i] : values[i] * scales[i].factor;
        bits[i] = to_type == DType::kBF16 ? FloatToBf16(value) : FloatToHalf(value);
    }
    std::memcpy(to, bits, sizeof(bits));
}

/// Where in GM each row of a block of 16 columns goes. All strides are in bytes, start to start.
struct Layout {
    uint64_t row_stride;
    uint64_t column_stride;  ///< between blocks of 16 columns of the source
    uint64_t pair_stride;    ///< if merged: between pairs of blocks
    bool merged;             ///< 8-bit NZ: a fractal has 32 columns, which are two blocks
    uint64_t bytes;          ///< the output is `count` runs of this many bytes without a gap
    uint64_t count;
    uint64_t stride;  ///< between those runs

    uint64_t Offset(uint32_t row, uint32_t block) const {
        const uint64_t place =
            merged ? block / 2 * pair_stride + block % 2 * 16 : block * column_stride;
        return row * row_stride + place;
    }
};

Layout RowMajor(const AscendC::FixpipeParamsV220& params, uint32_t element, const Site& site) {
    if (params.mSize > 1 && params.dstStride < params.nSize) {
        Fail("parameter-range", site,
             "%s: dstStride is %u, rows of nSize = %u elements would overlap", kInstruction,
             params.dstStride.value(), params.nSize.value());
    }
    const uint64_t row = uint64_t{params.dstStride} * element;
    return {row, 16 * element, 0, false, uint64_t{params.nSize} * element, params.mSize, row};
}

// NZ output, by the pages NZ2NZ and Int8-Channel-Merge.
Layout Nz(const AscendC::FixpipeParamsV220& params, const Global& dst, uint32_t element,
          const Site& site) {
    const bool merged = element == 1;
    if (merged && params.nSize % 32 != 0) {
        Fail("unsupported", site,
             "%s: nSize is %u; the twin has 8-bit NZ output of multiples of 32 columns",
             kInstruction, params.nSize.value());
    }
    const uint64_t row = merged ? 32 : 16 * element;
    const uint64_t column = uint64_t{params.dstStride} * kBlockBytes;
    const uint64_t columns = params.nSize / (merged ? 32 : 16);
    if (columns > 1 && column < params.mSize * row) {
        Fail("parameter-range", site,
             "%s: dstStride is %u, column blocks of mSize = %u rows of %u bytes would overlap",
             kInstruction, params.dstStride.value(), params.mSize.value(),
             static_cast<uint32_t>(row));
    }
    // The alignment is relative to the start of the tensor, which is aligned on a device.
    const Machine& machine = *Current().machine;
    const int tensor = machine.FindTensor(dst.data, 1, false);
    if (tensor >= 0) {
        const auto* start = static_cast<const uint8_t*>(machine.config().tensors[tensor].data);
        const auto offset = static_cast<uint64_t>(dst.data - start);
        if (offset % kBlockBytes != 0) {
            Fail("misaligned", site,
                 "%s: NZ output starts at byte %llu of GM tensor '%s', must be a multiple of %u",
                 kInstruction, static_cast<unsigned long long>(offset), TensorName(dst).c_str(),
                 kBlockBytes);
        }
    }
    return {row, column, column, merged, params.mSize * row, columns, column};
}

void CheckParams(const Local& src, DType src_type, DType dst_type, const Local* scales,
                 const AscendC::FixpipeParamsV220& params, bool row_major, const Site& site) {
    RequireAic(kInstruction, site);
    RequireBuffer(kInstruction, "src", src, TraceBuffer::kL0c, site);
    RequireAligned(kInstruction, "src", src, 64, site);
    RequireRange(kInstruction, "nSize", params.nSize, 0, 4095, site);
    if (params.nSize % 16 != 0)
        Fail("parameter-range", site, "%s: nSize is %u, must be a multiple of 16", kInstruction,
             params.nSize.value());
    if (params.ndNum > 1 || params.reluEn || params.unitFlag != 0 || params.isChannelSplit) {
        Fail("unsupported", site,
             "%s: the twin has output of one matrix without ReLU, unitFlag and channel split",
             kInstruction);
    }
    if (row_major) RequireRange(kInstruction, "mSize", params.mSize, 0, 8192, site);
    if (!Exists(params.quantPre, src_type, dst_type)) {
        Fail("unsupported", site, "%s: quantPre %d from %s to %s", kInstruction,
             static_cast<int>(params.quantPre), DTypeName(src_type), DTypeName(dst_type));
    }
    if (HasScaleTensor(params.quantPre) != (scales != nullptr)) {
        Fail("parameter-range", site, "%s: quantPre %d goes %s cbufWorkspace", kInstruction,
             static_cast<int>(params.quantPre), scales == nullptr ? "with a" : "without");
    }
}

}  // namespace

void FixpipeToGm(const Global& dst, DType dst_type, const Local& src, DType src_type,
                 const Local* scales, const AscendC::FixpipeParamsV220& params, bool row_major,
                 Site site) {
    CheckParams(src, src_type, dst_type, scales, params, row_major, site);
    if (params.mSize == 0 || params.nSize == 0 || params.ndNum == 0)
        return;  // documented as no operation
    RequireAtomicType(kInstruction, dst_type, site);
    RequireRange(kInstruction, "dstStride", params.dstStride, 1, UINT32_MAX, site);
    if (params.srcStride < params.mSize || params.srcStride % 16 != 0) {
        Fail("parameter-range", site, "%s: srcStride is %u, must be mSize = %u rounded up to 16",
             kInstruction, params.srcStride.value(), params.mSize.value());
    }
    const uint32_t element = DTypeBytes(dst_type);
    const Layout layout =
        row_major ? RowMajor(params, element, site) : Nz(params, dst, element, site);
    const uint32_t blocks = params.nSize / 16;
    const int64_t source_stride = int64_t{params.srcStride} * 64;
    const int64_t extent = (blocks - 1) * source_stride + int64_t{params.mSize} * 64;
    RequireInside(kInstruction, "src", src, 0, extent, site);
    const int tensor =
        RequireGm(kInstruction, dst, layout.bytes, layout.count, layout.stride, true, site);
    const std::vector<Scale> decoded = DecodeScales(scales, src_type, dst_type, params, site);
    const Accesses accesses(kInstruction, TracePipe::kFix, site);
    for (uint32_t block = 0; accesses.On() && block < blocks; ++block) {
        accesses.Read(src, block * source_stride, int64_t{params.mSize} * 64);
    }
    if (accesses.On() && scales != nullptr) {
        accesses.Read(*scales, 0, int64_t{params.nSize} * 8);
    }
    for (uint64_t i = 0; accesses.On() && i < layout.count; ++i) {
        accesses.Write(tensor, {dst.data + i * layout.stride, nullptr}, layout.bytes);
    }
    const Atomic& atomic = Current().atomic;
    const bool updates = atomic.kind != AtomicKind::kNone;
    uint8_t converted[64];
    for (uint32_t row = 0; !Dry() && row < params.mSize; ++row) {
        for (uint32_t block = 0; block < blocks; ++block) {
            uint8_t* to = dst.data + layout.Offset(row, block);
            Convert(src.data + block * source_stride + row * 64, src_type, updates ? converted : to,
                    dst_type, decoded.empty() ? nullptr : &decoded[block * 16]);
            if (updates) UpdateInGm(atomic, to, converted, uint64_t{16} * element, site);
        }
    }
    Record(TraceOp::kFixpipe, TracePipe::kFix, site, [&](TraceRecord& record) {
        FillGm(record, tensor, dst, layout.bytes, layout.count, layout.stride);
        FillLocal(record, src, static_cast<uint32_t>(extent));
        record.args[0] = params.mSize;
        record.args[1] = params.nSize;
        record.args[2] = DTypeBytes(src_type);
        record.args[3] = element;
        record.args[4] = static_cast<uint32_t>(Current().atomic.kind);
    });
}

}  // namespace twin
