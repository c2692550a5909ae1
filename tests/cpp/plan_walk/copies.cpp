// Transfers of the machine. Pages as in csrc/twin/include/ascendc/copy.h.
#include "ascendc/copy.h"

#include "plan_walk/instructions.h"

namespace twin {

namespace {

using walk::kBlock;
using walk::Port;

constexpr int64_t kMaxCount = 4095;
constexpr int64_t kMaxPadBytes = 2097151;  // 2^21 - 1 (DataCopyPad, blockLen)
constexpr int64_t kMaxNzStride = 16384;

TraceBuffer Landing() { return IsAic() ? TraceBuffer::kL1 : TraceBuffer::kUb; }

uint64_t Address(const Global& global) { return reinterpret_cast<uint64_t>(global.data); }

// On the way between GM and UB a GM address is a multiple of the element; L1 takes any.
void RequireGmElement(const Global& global, DType type) {
    if (IsAic() || Address(global) % walk::Bytes(type) == 0) return;
    walk::Fail("misaligned",
               "DataCopy: the GM address is no multiple of the %u bytes of an element",
               walk::Bytes(type));
}

struct Blocks {
    uint64_t count;
    uint64_t bytes;
    uint64_t gm_stride;     ///< between starts
    uint64_t local_stride;  ///< between starts
};

void Transfer(const char* instruction, const Global& global, const Local& local,
              const Blocks& blocks, bool store) {
    if (store) walk::RequireCore(instruction, walk::Running().state(), false);
    const uint64_t padded = walk::CeilDiv(blocks.bytes, kBlock) * kBlock;
    walk::RequireLocal(instruction, store ? "src" : "dst", local, Landing(), kBlock, 0,
                       static_cast<int64_t>((blocks.count - 1) * blocks.local_stride + padded));
    walk::Running().Touch(instruction, Address(global), blocks.bytes, blocks.count,
                          blocks.gm_stride, store ? Port::kStore : Port::kLoad);
}

void TransferBlocks(const Global& global, const Local& local, DType type,
                    const AscendC::DataCopyParams& params, bool store, Site site) {
    walk::At(site);
    walk::RequireRange("DataCopy", "blockCount", params.blockCount, 1, kMaxCount);
    walk::RequireRange("DataCopy", "blockLen", params.blockLen, 1, UINT16_MAX);
    RequireGmElement(global, type);
    const uint64_t length = params.blockLen;
    const uint64_t gm_gap = store ? params.dstStride : params.srcStride;
    const uint64_t local_gap = store ? params.srcStride : params.dstStride;
    Transfer("DataCopy", global, local,
             {params.blockCount, length * kBlock, (length + gm_gap) * kBlock,
              (length + local_gap) * kBlock},
             store);
}

void TransferCount(const Global& global, const Local& local, DType type, uint32_t count, bool store,
                   Site site) {
    walk::At(site);
    const uint64_t bytes = uint64_t{count} * walk::Bytes(type);
    if (bytes == 0 || bytes % kBlock != 0) {
        walk::Fail("misaligned",
                   "DataCopy: %u elements are %llu bytes, must be a positive multiple "
                   "of %u",
                   count, static_cast<unsigned long long>(bytes), kBlock);
    }
    walk::RequireRange("DataCopy", "length in blocks", static_cast<int64_t>(bytes / kBlock), 1,
                       UINT16_MAX);
    RequireGmElement(global, type);
    Transfer("DataCopy", global, local, {1, bytes, bytes, bytes}, store);
}

void RequirePad(const AscendC::DataCopyExtParams& params, const Global& global, DType type) {
    walk::RequireCore("DataCopyPad", walk::Running().state(), false);
    walk::RequireRange("DataCopyPad", "blockCount", params.blockCount, 1, kMaxCount);
    walk::RequireRange("DataCopyPad", "blockLen", params.blockLen, 1, kMaxPadBytes);
    if (params.blockLen % walk::Bytes(type) != 0) {
        walk::Fail("parameter-range", "DataCopyPad: blockLen is %u bytes, no whole elements",
                   params.blockLen.value());
    }
    RequireGmElement(global, type);
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

void CopyPadGmToLocal(const Local& dst, const Global& src, DType type,
                      const AscendC::DataCopyExtParams& params, bool, uint8_t left, uint8_t right,
                      const void*, Site site) {
    walk::Machine::State& state = walk::At(site);
    RequirePad(params, src, type);
    const uint32_t element = walk::Bytes(type);
    walk::RequireRange("DataCopyPad", "leftPadding in bytes", left * element, 0, kBlock);
    walk::RequireRange("DataCopyPad", "rightPadding in bytes", right * element, 0, kBlock);
    const uint64_t filled = left * element + params.blockLen + right * element;
    const uint64_t padded = walk::CeilDiv(static_cast<int64_t>(filled), kBlock) * kBlock;
    const uint64_t local_stride = padded + uint64_t{params.dstStride} * kBlock;
    walk::RequireLocal("DataCopyPad", "dst", dst, TraceBuffer::kUb, kBlock, 0,
                       static_cast<int64_t>((params.blockCount - 1) * local_stride + padded));
    walk::Machine& machine = walk::Running();
    machine.Touch("DataCopyPad", Address(src), params.blockLen, params.blockCount,
                  uint64_t{params.blockLen} + params.srcStride, Port::kLoad);
    if (machine.IsSlots(Address(src))) {
        state.first_slot = machine.SlotIndex(Address(src));
    }
}

void CopyPadLocalToGm(const Global& dst, const Local& src, DType type,
                      const AscendC::DataCopyExtParams& params, Site site) {
    walk::At(site);
    RequirePad(params, dst, type);
    const uint64_t padded = walk::CeilDiv(params.blockLen, kBlock) * kBlock;
    Transfer("DataCopyPad", dst, src,
             {params.blockCount, params.blockLen, uint64_t{params.blockLen} + params.dstStride,
              padded + uint64_t{params.srcStride} * kBlock},
             true);
}

void CopyNd2Nz(const Local& dst, const Global& src, DType type, const AscendC::Nd2NzParams& params,
               Site site) {
    constexpr const char* kInstruction = "DataCopy (ND2NZ)";
    walk::RequireCore(kInstruction, walk::At(site), true);
    walk::RequireRange(kInstruction, "ndNum", params.ndNum, 1, kMaxCount);
    walk::RequireRange(kInstruction, "nValue", params.nValue, 1, kMaxNzStride);
    walk::RequireRange(kInstruction, "dValue", params.dValue, 1, UINT16_MAX);
    walk::RequireRange(kInstruction, "srcDValue", params.srcDValue, 1, UINT16_MAX);
    walk::RequireRange(kInstruction, "dstNzC0Stride", params.dstNzC0Stride, 1, kMaxNzStride);
    walk::RequireRange(kInstruction, "dstNzNStride", params.dstNzNStride, 1, kMaxNzStride);
    walk::RequireRange(kInstruction, "dstNzMatrixStride", params.dstNzMatrixStride, 0,
                       kMaxNzStride);
    if (params.nValue > 1 && params.srcDValue < params.dValue) {
        walk::Fail("parameter-range", "%s: srcDValue is %u, a row has dValue = %u elements",
                   kInstruction, params.srcDValue.value(), params.dValue.value());
    }
    const uint64_t element = walk::Bytes(type);
    const uint64_t row = params.dValue * element;
    const int64_t blocks = walk::CeilDiv(static_cast<int64_t>(row), kBlock);
    const int64_t extent =
        static_cast<int64_t>((params.ndNum - 1) * params.dstNzMatrixStride * element) +
        (blocks - 1) * params.dstNzC0Stride * kBlock +
        int64_t{params.nValue - 1} * params.dstNzNStride * kBlock + kBlock;
    walk::RequireLocal(kInstruction, "dst", dst, TraceBuffer::kL1, kBlock, 0, extent);
    for (uint64_t matrix = 0; matrix < params.ndNum; ++matrix) {
        walk::Running().Touch(kInstruction,
                              Address(src) + matrix * params.srcNdMatrixStride * element, row,
                              params.nValue, params.srcDValue * element, Port::kLoad);
    }
}

}  // namespace twin
