// Transfers between GM and the local buffers of a core, and between local buffers.
#include "ascendc/copy.h"

#include <algorithm>
#include <bitset>
#include <cstring>
#include <numeric>

#include "core.h"

namespace twin {

namespace {

/// Unit in bytes of addresses and lengths in the fixpipe buffer.
constexpr uint32_t kFixpipeUnit = 128;

/// The local operand of a DataCopy to or from GM is in UB on an AIV and in L1 on an AIC.
void RequireCopyBuffer(const char* instruction, const char* operand, const Local& local, bool store,
                       const Site& site) {
    if (IsAic() && store)
        Fail("wrong-core", site, "%s: an AIC stores through the fixpipe", instruction);
    RequireBuffer(instruction, operand, local, IsAic() ? TraceBuffer::kL1 : TraceBuffer::kUb, site);
}

struct Blocks {
    uint64_t count;
    uint64_t bytes;
    uint64_t gm_stride;     ///< from start to start, bytes
    uint64_t local_stride;  ///< from start to start, bytes
};

/// Number of bytes from the first to the last local byte of a transfer.
int64_t LocalExtent(const Blocks& blocks) {
    const uint64_t padded = (blocks.bytes + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
    return static_cast<int64_t>((blocks.count - 1) * blocks.local_stride + padded);
}

int CheckTransfer(const char* instruction, const Global& global, const Local& local,
                  const Blocks& blocks, bool store, const Site& site) {
    RequireCopyBuffer(instruction, store ? "src" : "dst", local, store, site);
    RequireAligned(instruction, store ? "src" : "dst", local, kBlockBytes, site);
    RequireInside(instruction, store ? "src" : "dst", local, 0, LocalExtent(blocks), site);
    return RequireGm(instruction, global, blocks.bytes, blocks.count, blocks.gm_stride, store,
                     site);
}

void RecordTransfer(int tensor, const Global& global, const Local& local, const Blocks& blocks,
                    bool store, const Site& site) {
    Record(store ? TraceOp::kStore : TraceOp::kLoad, store ? TracePipe::kMte3 : TracePipe::kMte2,
           site, [&](TraceRecord& record) {
               FillGm(record, tensor, global, blocks.bytes, blocks.count, blocks.gm_stride);
               FillLocal(record, local, static_cast<uint32_t>(LocalExtent(blocks)));
               if (store) record.args[0] = static_cast<uint32_t>(Current().atomic.kind);
           });
}

/// Whether a transfer touches memory. In a dry launch only loads into UB do, whose data the scalar
/// unit may read.
bool Moves(int tensor, const Local& local, bool store) {
    if (!Dry()) return true;
    return !store && local.buffer == TraceBuffer::kUb &&
           Current().machine->config().tensors[tensor].present;
}

void Transfer(const char* instruction, const Global& global, const Local& local, DType type,
              const Blocks& blocks, bool store, const Site& site) {
    if (store) RequireAtomicType(instruction, type, site);
    const int tensor = CheckTransfer(instruction, global, local, blocks, store, site);
    const Accesses accesses(instruction, store ? TracePipe::kMte3 : TracePipe::kMte2, site);
    for (uint64_t i = 0; accesses.On() && i < blocks.count; ++i) {
        const Global piece = {global.data + i * blocks.gm_stride, nullptr};
        const auto start = static_cast<int64_t>(i * blocks.local_stride);
        if (store) {
            accesses.Read(local, start, static_cast<int64_t>(blocks.bytes));
            accesses.Write(tensor, piece, blocks.bytes);
        } else {
            accesses.Read(tensor, piece, blocks.bytes);
            accesses.Write(local, start, static_cast<int64_t>(blocks.bytes));
        }
    }
    const Atomic& atomic = Current().atomic;
    for (uint64_t i = 0; Moves(tensor, local, store) && i < blocks.count; ++i) {
        uint8_t* gm = global.data + i * blocks.gm_stride;
        uint8_t* ub = local.data + i * blocks.local_stride;
        if (store && atomic.kind != AtomicKind::kNone) {
            UpdateInGm(atomic, gm, ub, blocks.bytes, site);
        } else {
            std::memcpy(store ? gm : ub, store ? ub : gm, blocks.bytes);
        }
    }
    RecordTransfer(tensor, global, local, blocks, store, site);
}

// For transfers between GM and UB, the GM address has to be a multiple of the element size
// (DataCopy（GM与UB连续数据搬运）, constraints). Transfers to L1 take any GM address.
void RequireGmElement(const Global& global, DType type, const Site& site) {
    const auto address = reinterpret_cast<uintptr_t>(global.data);
    if (!IsAic() && address % DTypeBytes(type) != 0) {
        Fail("misaligned", site,
             "DataCopy: the GM address is %llu past a multiple of the %u bytes of %s (GM tensor "
             "'%s')",
             static_cast<unsigned long long>(address % DTypeBytes(type)), DTypeBytes(type),
             DTypeName(type), TensorName(global).c_str());
    }
}

// DataCopyParams counts 32-byte blocks; its gaps run from the end of a block to the start of the
// next.
void TransferBlocks(const Global& global, const Local& local, DType type,
                    const AscendC::DataCopyParams& params, bool store, const Site& site) {
    RequireRange("DataCopy", "blockCount", params.blockCount, 0, 4095, site);
    if (params.blockCount == 0 || params.blockLen == 0) return;  // documented as no operation
    RequireGmElement(global, type, site);
    const uint64_t length = params.blockLen;
    const uint64_t gm_gap = store ? params.dstStride : params.srcStride;
    const uint64_t local_gap = store ? params.srcStride : params.dstStride;
    Transfer("DataCopy", global, local, type,
             {params.blockCount, length * kBlockBytes, (length + gm_gap) * kBlockBytes,
              (length + local_gap) * kBlockBytes},
             store, site);
}

/// Returns the size of `count` elements in bytes. Fails unless it is a multiple of whole blocks.
uint64_t CountBytes(DType type, uint32_t count, const Site& site) {
    const uint64_t bytes = static_cast<uint64_t>(count) * DTypeBytes(type);
    if (bytes == 0 || bytes % kBlockBytes != 0) {
        Fail("misaligned", site,
             "DataCopy: %u elements of %s are %llu bytes, must be a positive multiple of %u", count,
             DTypeName(type), static_cast<unsigned long long>(bytes), kBlockBytes);
    }
    RequireRange("DataCopy", "length in 32-byte blocks", static_cast<int64_t>(bytes / kBlockBytes),
                 1, 65535, site);
    return bytes;
}

void TransferCount(const Global& global, const Local& local, DType type, uint32_t count, bool store,
                   const Site& site) {
    const uint64_t bytes = CountBytes(type, count, site);
    RequireGmElement(global, type, site);
    Transfer("DataCopy", global, local, type, {1, bytes, bytes, bytes}, store, site);
}

/// A transfer between two local buffers, in bytes; strides go from start to start.
struct LocalBlocks {
    uint64_t count;
    uint64_t bytes;
    uint64_t src_stride;
    uint64_t dst_stride;
};

// Moves the blocks between local buffers, and reports the accesses of `pipe`.
void MoveBlocks(const char* instruction, TracePipe pipe, const Local& dst, const Local& src,
                const LocalBlocks& blocks, const Site& site) {
    const Accesses accesses(instruction, pipe, site);
    for (uint64_t i = 0; i < blocks.count; ++i) {
        accesses.Move(dst, static_cast<int64_t>(i * blocks.dst_stride), src,
                      static_cast<int64_t>(i * blocks.src_stride),
                      static_cast<int64_t>(blocks.bytes));
        std::memcpy(dst.data + i * blocks.dst_stride, src.data + i * blocks.src_stride,
                    blocks.bytes);
    }
}

// UB -> UB runs on the vector pipe. Its effect on operands that overlap is not documented, which
// counts as not supported (通用地址重叠约束).
void CopyInUb(const Local& dst, const Local& src, DType type, const LocalBlocks& blocks,
              const Site& site) {
    RequireBuffer("DataCopy", "dst", dst, TraceBuffer::kUb, site);
    RequireBuffer("DataCopy", "src", src, TraceBuffer::kUb, site);
    RequireAligned("DataCopy", "dst", dst, kBlockBytes, site);
    RequireAligned("DataCopy", "src", src, kBlockBytes, site);
    const uint64_t dst_extent = (blocks.count - 1) * blocks.dst_stride + blocks.bytes;
    const uint64_t src_extent = (blocks.count - 1) * blocks.src_stride + blocks.bytes;
    RequireInside("DataCopy", "dst", dst, 0, static_cast<int64_t>(dst_extent), site);
    RequireInside("DataCopy", "src", src, 0, static_cast<int64_t>(src_extent), site);
    std::bitset<arch::DavC220::kUbBytes / kBlockBytes> written;
    const auto for_blocks = [&](uint64_t start, uint64_t stride, const auto& visit) {
        for (uint64_t i = 0; i < blocks.count; ++i) {
            for (uint64_t byte = 0; byte < blocks.bytes; byte += kBlockBytes)
                visit((start + i * stride + byte) / kBlockBytes);
        }
    };
    for_blocks(dst.offset, blocks.dst_stride, [&](uint64_t block) { written.set(block); });
    for_blocks(src.offset, blocks.src_stride, [&](uint64_t block) {
        if (written[block]) {
            Fail("overlap", site, "DataCopy: dst and src overlap at byte %llu of UB",
                 static_cast<unsigned long long>(block * kBlockBytes));
        }
    });
    MoveBlocks("DataCopy", TracePipe::kV, dst, src, blocks, site);
    Record(TraceOp::kVector, TracePipe::kV, site, [&](TraceRecord& record) {
        FillLocal(record, dst, static_cast<uint32_t>(dst_extent));
        record.args[0] = static_cast<uint32_t>(blocks.count);
        record.args[1] = static_cast<uint32_t>(blocks.count * blocks.bytes);
        record.args[2] = DTypeBytes(type);
    });
}

// The overview of data paths (数据搬运导览/概览/数据通路) assigns this path to pipe FIX.
void CopyToFixpipe(const Local& dst, const Local& src, DType type, const LocalBlocks& blocks,
                   const Site& site) {
    constexpr const char* kInstruction = "DataCopy (L1 to fixpipe buffer)";
    RequireAic(kInstruction, site);
    RequireBuffer(kInstruction, "dst", dst, TraceBuffer::kFixpipe, site);
    RequireBuffer(kInstruction, "src", src, TraceBuffer::kL1, site);
    if (type != DType::kU64) {
        Fail("parameter-range", site, "%s: the elements are %s, must be uint64_t", kInstruction,
             DTypeName(type));
    }
    RequireAligned(kInstruction, "dst", dst, kFixpipeUnit, site);
    RequireAligned(kInstruction, "src", src, kBlockBytes, site);
    const uint64_t dst_extent = (blocks.count - 1) * blocks.dst_stride + blocks.bytes;
    const uint64_t src_extent = (blocks.count - 1) * blocks.src_stride + blocks.bytes;
    RequireInside(kInstruction, "dst", dst, 0, static_cast<int64_t>(dst_extent), site);
    RequireInside(kInstruction, "src", src, 0, static_cast<int64_t>(src_extent), site);
    MoveBlocks(kInstruction, TracePipe::kFix, dst, src, blocks, site);
    Record(TraceOp::kMove, TracePipe::kFix, site,
           [&](TraceRecord& record) { FillLocal(record, dst, static_cast<uint32_t>(dst_extent)); });
}

void CheckPadParams(DType type, const AscendC::DataCopyExtParams& params, const Site& site) {
    RequireAiv("DataCopyPad", site);
    RequireRange("DataCopyPad", "blockCount", params.blockCount, 0, 4095, site);
    RequireRange("DataCopyPad", "blockLen", params.blockLen, 0, 2097151, site);
    if (params.blockLen % DTypeBytes(type) != 0) {
        Fail("parameter-range", site,
             "DataCopyPad: blockLen is %u bytes, must be a multiple of the %u of %s",
             params.blockLen.value(), DTypeBytes(type), DTypeName(type));
    }
}

}  // namespace

void CopyGmToLocal(const Local& dst, const Global& src, DType type,
                   const AscendC::DataCopyParams& params, Site site) {
    TransferBlocks(src, dst, type, params, false, site);
}

void CopyLocalToGm(const Global& dst, const Local& src, DType type,
                   const AscendC::DataCopyParams& params, Site site) {
    TransferBlocks(dst, src, type, params, true, site);
}

void CopyGmToLocal(const Local& dst, const Global& src, DType type, uint32_t count, Site site) {
    TransferCount(src, dst, type, count, false, site);
}

void CopyLocalToGm(const Global& dst, const Local& src, DType type, uint32_t count, Site site) {
    TransferCount(dst, src, type, count, true, site);
}

void CopyLocalToLocal(const Local& dst, const Local& src, DType type,
                      const AscendC::DataCopyParams& params, Site site) {
    RequireRange("DataCopy", "blockCount", params.blockCount, 0, 4095, site);
    if (params.blockCount == 0 || params.blockLen == 0) return;  // documented as no operation
    const uint64_t count = params.blockCount;
    const uint64_t length = params.blockLen;
    if (IsAic()) {
        CopyToFixpipe(dst, src, type,
                      {count, length * kFixpipeUnit, uint64_t{params.srcStride} * kBlockBytes,
                       uint64_t{params.dstStride} * kFixpipeUnit},
                      site);
    } else {
        CopyInUb(dst, src, type,
                 {count, length * kBlockBytes, (length + params.srcStride) * kBlockBytes,
                  (length + params.dstStride) * kBlockBytes},
                 site);
    }
}

void CopyLocalToLocal(const Local& dst, const Local& src, DType type, uint32_t count, Site site) {
    const uint64_t bytes = CountBytes(type, count, site);
    if (IsAic()) {
        CopyToFixpipe(dst, src, type, {1, bytes, bytes, bytes}, site);
    } else {
        CopyInUb(dst, src, type, {1, bytes, bytes, bytes}, site);
    }
}

// Each block is filled up to a multiple of 32 bytes: left padding, data, right padding, dummy
// bytes. Without isPad, the documentation promises dummy bytes equal to the block's first element
// only if both paddings are 0, and random values otherwise. Random values are modelled as the
// poison byte.
void CopyPadGmToLocal(const Local& dst, const Global& src, DType type,
                      const AscendC::DataCopyExtParams& params, bool pad, uint8_t left,
                      uint8_t right, const void* value, Site site) {
    CheckPadParams(type, params, site);
    if (params.blockCount == 0 || params.blockLen == 0) return;  // documented as no operation
    const uint32_t element = DTypeBytes(type);
    RequireRange("DataCopyPad", "leftPadding in bytes", left * element, 0, kBlockBytes, site);
    RequireRange("DataCopyPad", "rightPadding in bytes", right * element, 0, kBlockBytes, site);
    if (pad && element == 8) {
        const auto* bytes = static_cast<const uint8_t*>(value);
        if (std::any_of(bytes, bytes + element, [](uint8_t byte) { return byte != 0; })) {
            Fail("parameter-range", site, "DataCopyPad: paddingValue of %s must be 0",
                 DTypeName(type));
        }
    }
    const uint64_t filled = left * element + params.blockLen + right * element;
    const uint64_t padded = (filled + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
    const Blocks blocks = {params.blockCount, params.blockLen,
                           uint64_t{params.blockLen} + params.srcStride,
                           padded + uint64_t{params.dstStride} * kBlockBytes};
    RequireBuffer("DataCopyPad", "dst", dst, TraceBuffer::kUb, site);
    RequireAligned("DataCopyPad", "dst", dst, kBlockBytes, site);
    const auto extent = static_cast<int64_t>((blocks.count - 1) * blocks.local_stride + padded);
    RequireInside("DataCopyPad", "dst", dst, 0, extent, site);
    const int tensor =
        RequireGm("DataCopyPad", src, blocks.bytes, blocks.count, blocks.gm_stride, false, site);
    const Accesses accesses("DataCopyPad", TracePipe::kMte2, site);
    for (uint64_t i = 0; i < blocks.count; ++i) {
        uint8_t* to = dst.data + i * blocks.local_stride;
        const uint8_t* from = src.data + i * blocks.gm_stride;
        const bool repeat_first = !pad && left == 0 && right == 0;
        // Padding for which the page promises no value counts as unwritten, even if the bytes were
        // written before.
        const bool all = pad || repeat_first;
        accesses.Read(tensor, {src.data + i * blocks.gm_stride, nullptr}, blocks.bytes);
        const auto start = static_cast<int64_t>(i * blocks.local_stride);
        accesses.Write(dst, start, static_cast<int64_t>(padded));
        if (accesses.On() && !all) {
            const int64_t data = left * element;
            const int64_t tail = data + static_cast<int64_t>(params.blockLen);
            std::memset(accesses.Written(dst, start), 0, static_cast<size_t>(data));
            std::memset(accesses.Written(dst, start + tail), 0, padded - static_cast<size_t>(tail));
        }
        if (!Moves(tensor, dst, false)) continue;
        if (pad || repeat_first) {
            const auto* fill = pad ? static_cast<const uint8_t*>(value) : from;
            for (uint64_t byte = 0; byte < padded; byte += element)
                std::memcpy(to + byte, fill, element);
        } else {
            std::memset(to, 0xFF, padded);
        }
        std::memcpy(to + left * element, from, params.blockLen);
    }
    Record(TraceOp::kLoad, TracePipe::kMte2, site, [&](TraceRecord& record) {
        FillGm(record, tensor, src, blocks.bytes, blocks.count, blocks.gm_stride);
        FillLocal(record, dst, static_cast<uint32_t>(extent));
    });
}

void CopyPadLocalToGm(const Global& dst, const Local& src, DType type,
                      const AscendC::DataCopyExtParams& params, Site site) {
    CheckPadParams(type, params, site);
    if (params.blockCount == 0 || params.blockLen == 0) return;  // documented as no operation
    const uint64_t padded = (params.blockLen + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
    Transfer("DataCopyPad", dst, src, type,
             {params.blockCount, params.blockLen, uint64_t{params.blockLen} + params.dstStride,
              padded + uint64_t{params.srcStride} * kBlockBytes},
             true, site);
}

// Rows are `n` apart and column blocks `c0`, in units of 32 bytes. Two pieces meet where a multiple
// of one distance is also a multiple of the other, first at their least common multiple.
bool Nd2NzOverlaps(uint64_t rows, uint64_t n, uint64_t blocks, uint64_t c0) {
    const uint64_t meet = std::lcm(n, c0);
    return meet / n < rows && meet / c0 < blocks;
}

// Row r of column block b of the ND matrix goes to b * dstNzC0Stride + r * dstNzNStride, in units
// of 32 bytes. A last column block that is not full is padded with zeros.
void CopyNd2Nz(const Local& dst, const Global& src, DType type, const AscendC::Nd2NzParams& params,
               Site site) {
    RequireAic("DataCopy (ND2NZ)", site);
    RequireBuffer("DataCopy (ND2NZ)", "dst", dst, TraceBuffer::kL1, site);
    RequireAligned("DataCopy (ND2NZ)", "dst", dst, kBlockBytes, site);
    RequireRange("DataCopy (ND2NZ)", "ndNum", params.ndNum, 0, 4095, site);
    RequireRange("DataCopy (ND2NZ)", "nValue", params.nValue, 0, 16384, site);
    RequireRange("DataCopy (ND2NZ)", "srcDValue", params.srcDValue, 1, 65535, site);
    RequireRange("DataCopy (ND2NZ)", "dstNzC0Stride", params.dstNzC0Stride, 1, 16384, site);
    RequireRange("DataCopy (ND2NZ)", "dstNzNStride", params.dstNzNStride, 1, 16384, site);
    RequireRange("DataCopy (ND2NZ)", "dstNzMatrixStride", params.dstNzMatrixStride, 0, 16384, site);
    if (params.ndNum == 0 || params.nValue == 0 || params.dValue == 0)
        return;  // documented as no operation
    if (params.nValue > 1 && params.srcDValue < params.dValue) {
        Fail("parameter-range", site,
             "DataCopy (ND2NZ): srcDValue is %u, a row has dValue = %u elements",
             params.srcDValue.value(), params.dValue.value());
    }

    const uint32_t element = DTypeBytes(type);
    const uint64_t row_bytes = uint64_t{params.dValue} * element;
    const uint64_t row_stride = uint64_t{params.srcDValue} * element;
    const uint64_t matrix_stride = uint64_t{params.srcNdMatrixStride} * element;
    const uint64_t full = row_bytes / kBlockBytes;
    const uint64_t tail = row_bytes % kBlockBytes;
    const uint64_t c0_stride = uint64_t{params.dstNzC0Stride} * kBlockBytes;
    const uint64_t n_stride = uint64_t{params.dstNzNStride} * kBlockBytes;
    const uint64_t nz_stride = uint64_t{params.dstNzMatrixStride} * element;
    const uint64_t column_blocks = full + (tail != 0 ? 1 : 0);
    const auto extent =
        static_cast<int64_t>((params.ndNum - 1) * nz_stride + (column_blocks - 1) * c0_stride +
                             (params.nValue - 1) * n_stride + kBlockBytes);
    RequireInside("DataCopy (ND2NZ)", "dst", dst, 0, extent, site);
    // "搬运至L1 Buffer的数据不能重叠" (DataCopy（GMToL1随路转换-ND2NZ搬运）, constraints).
    if (Nd2NzOverlaps(params.nValue, params.dstNzNStride, column_blocks, params.dstNzC0Stride)) {
        Fail("overlap", site,
             "DataCopy (ND2NZ): dstNzC0Stride is %u and dstNzNStride %u: %u rows of %llu column "
             "blocks lie on top of each other",
             params.dstNzC0Stride.value(), params.dstNzNStride.value(), params.nValue.value(),
             static_cast<unsigned long long>(column_blocks));
    }

    for (uint64_t matrix = 0; matrix < params.ndNum; ++matrix) {
        const Global from = {src.data + matrix * matrix_stride, src.end};
        const int tensor =
            RequireGm("DataCopy (ND2NZ)", from, row_bytes, params.nValue, row_stride, false, site);
        uint8_t* to = dst.data + matrix * nz_stride;
        const Accesses accesses("DataCopy (ND2NZ)", TracePipe::kMte2, site);
        for (uint64_t row = 0; accesses.On() && row < params.nValue; ++row) {
            accesses.Read(tensor, {from.data + row * row_stride, nullptr}, row_bytes);
            for (uint64_t block = 0; block < full + (tail != 0 ? 1 : 0); ++block) {
                accesses.Write(
                    dst,
                    static_cast<int64_t>(matrix * nz_stride + row * n_stride + block * c0_stride),
                    kBlockBytes);
            }
        }
        for (uint64_t row = 0; !Dry() && row < params.nValue; ++row) {
            const uint8_t* source = from.data + row * row_stride;
            uint8_t* target = to + row * n_stride;
            for (uint64_t block = 0; block < full; ++block) {
                std::memcpy(target + block * c0_stride, source + block * kBlockBytes, kBlockBytes);
            }
            if (tail != 0) {
                std::memcpy(target + full * c0_stride, source + full * kBlockBytes, tail);
                std::memset(target + full * c0_stride + tail, 0, kBlockBytes - tail);
            }
        }
        Record(TraceOp::kLoad, TracePipe::kMte2, site, [&](TraceRecord& record) {
            FillGm(record, tensor, from, row_bytes, params.nValue, row_stride);
            FillLocal(record, dst, static_cast<uint32_t>(extent));
            record.args[0] = 1;  // ND2NZ
        });
    }
}

}  // namespace twin
