// The rules that all instructions share.
#include <exception>

#include "core.h"
#include "twin/field.h"

namespace twin {

uint32_t DTypeBytes(DType type) {
    switch (type) {
        case DType::kI8:
        case DType::kU8:
            return 1;
        case DType::kI16:
        case DType::kU16:
        case DType::kF16:
        case DType::kBF16:
            return 2;
        case DType::kI32:
        case DType::kU32:
        case DType::kF32:
            return 4;
        case DType::kI64:
        case DType::kU64:
            return 8;
    }
    return 0;
}

const char* DTypeName(DType type) {
    constexpr const char* kNames[] = {"int8_t", "uint8_t",    "int16_t", "uint16_t",
                                      "half",   "bfloat16_t", "int32_t", "uint32_t",
                                      "float",  "int64_t",    "uint64_t"};
    return kNames[static_cast<int>(type)];
}

const char* BufferName(TraceBuffer buffer) {
    constexpr const char* kNames[] = {
        "UB", "L1", "L0A", "L0B", "L0C", "the bias table", "the fixpipe buffer"};
    return buffer == TraceBuffer::kNone ? "no buffer" : kNames[static_cast<int>(buffer)];
}

const char* PipeName(TracePipe pipe) {
    constexpr const char* kNames[] = {"S", "V", "M", "MTE1", "MTE2", "MTE3", "FIX", "ALL"};
    return kNames[static_cast<int>(pipe)];
}

void RequireAic(const char* instruction, const Site& site) {
    if (!IsAic())
        Fail("wrong-core", site, "%s is a cube instruction, issued on an AIV", instruction);
}

void RequireAiv(const char* instruction, const Site& site) {
    if (IsAic())
        Fail("wrong-core", site, "%s is a vector instruction, issued on an AIC", instruction);
}

void RequireBuffer(const char* instruction, const char* operand, const Local& local,
                   TraceBuffer buffer, const Site& site) {
    if (local.buffer != buffer) {
        if (local.buffer == TraceBuffer::kNone) {
            Fail("not-initialised", site, "%s: %s is a LocalTensor that stands for no memory",
                 instruction, operand);
        }
        Fail("wrong-buffer", site, "%s: %s must be in %s, is in %s", instruction, operand,
             BufferName(buffer), BufferName(local.buffer));
    }
}

void RequireRange(const char* instruction, const char* parameter, int64_t value, int64_t low,
                  int64_t high, const Site& site) {
    if (value < low || value > high) {
        Fail("parameter-range", site, "%s: %s is %lld, allowed are %lld to %lld", instruction,
             parameter, static_cast<long long>(value), static_cast<long long>(low),
             static_cast<long long>(high));
    }
}

void RequireField(const char* instruction, const char* parameter, int64_t value, int64_t limit,
                  const Site& site) {
    if (value < 0 || value > limit) {
        Fail(
            "field-overflow", site,
            "%s: %s is %lld, allowed are 0 to %lld: the instruction would get what these bits hold",
            instruction, parameter, static_cast<long long>(value), static_cast<long long>(limit));
    }
}

void ReportFieldOverflow(const char* field, const Number& number, uint64_t limit) {
    if (!InLaunch()) return;
    const std::string value = number.negative ? std::to_string(static_cast<int64_t>(number.bits))
                                              : std::to_string(number.bits);
    Fail("field-overflow", number.site,
         "%s is %s, allowed are 0 to %llu: the instruction would get what these bits hold", field,
         value.c_str(), static_cast<unsigned long long>(limit));
}

void RequireAligned(const char* instruction, const char* operand, const Local& local,
                    uint32_t alignment, const Site& site) {
    if (local.offset % alignment != 0) {
        Fail("misaligned", site, "%s: %s starts at byte %llu of %s, must be a multiple of %u",
             instruction, operand, static_cast<unsigned long long>(local.offset),
             BufferName(local.buffer), alignment);
    }
}

void RequireSamePipe(const char* instruction, const char* operand, const Local& local,
                     const Site& site) {
    const uint16_t live = Current().live_pipe;
    if (local.pipe == live) return;
    Fail("use-after-pipe", site, "%s: %s (byte %llu of %s) is of a TPipe that has ended%s",
         instruction, operand, static_cast<unsigned long long>(local.offset),
         BufferName(local.buffer), live == 0 ? "" : "; another one hands out its bytes now");
}

void RequireInside(const char* instruction, const char* operand, const Local& local, int64_t first,
                   int64_t last, const Site& site) {
    RequireSamePipe(instruction, operand, local, site);
    if (local.lease != 0) RequireLive(instruction, operand, local, site);
    const int64_t start = static_cast<int64_t>(local.offset) + first;
    const int64_t end = static_cast<int64_t>(local.offset) + last;
    if (start < local.begin || end > local.end) {
        Fail("out-of-bounds", site,
             "%s: %s touches bytes [%lld, %lld) of %s, its allocation is [%u, %u)", instruction,
             operand, static_cast<long long>(start), static_cast<long long>(end),
             BufferName(local.buffer), local.begin, local.end);
    }
}

Accesses::Accesses(const char* instruction, TracePipe pipe, const Site& site, Product product)
    : sanitizer_(Current().machine->sanitizer()) {
    Core& core = Current();
    core.last_instruction = site;
    core.has_worked = true;
    if (sanitizer_ == nullptr) return;
    sanitizer_->Begin(static_cast<uint32_t>(core.machine->Position(core)), pipe, instruction, site,
                      product);
}

Accesses::~Accesses() noexcept(false) {
    if (sanitizer_ != nullptr && std::uncaught_exceptions() == 0) sanitizer_->End();
}

void Accesses::Read(const Local& local, int64_t first, int64_t bytes) const {
    if (sanitizer_ != nullptr) sanitizer_->ReadLocal(local, first, bytes);
}

void Accesses::Write(const Local& local, int64_t first, int64_t bytes) const {
    if (sanitizer_ != nullptr) sanitizer_->WriteLocal(local, first, bytes);
}

void Accesses::Move(const Local& dst, int64_t dst_first, const Local& src, int64_t src_first,
                    int64_t bytes) const {
    if (sanitizer_ != nullptr) sanitizer_->MoveLocal(dst, dst_first, src, src_first, bytes);
}

void Accesses::Read(int tensor, const Global& global, uint64_t bytes) const {
    if (sanitizer_ != nullptr) sanitizer_->ReadGm(tensor, Offset(tensor, global), bytes);
}

void Accesses::Write(int tensor, const Global& global, uint64_t bytes) const {
    if (sanitizer_ == nullptr) return;
    const Atomic& atomic = Current().atomic;
    if (atomic.kind == AtomicKind::kNone) {
        sanitizer_->WriteGm(tensor, Offset(tensor, global), bytes);
    } else {
        const auto update = static_cast<uint8_t>(static_cast<int>(atomic.kind) * 16 +
                                                 static_cast<int>(atomic.type));
        sanitizer_->UpdateGm(tensor, Offset(tensor, global), bytes, update);
    }
}

uint64_t Accesses::Offset(int tensor, const Global& global) const {
    const GmTensor& found = Current().machine->config().tensors[tensor];
    return static_cast<uint64_t>(global.data - static_cast<const uint8_t*>(found.data));
}

std::string TensorName(const Global& global) {
    const Machine& machine = *Current().machine;
    const int tensor = machine.FindTensor(global.data, 1, false);
    return tensor < 0 ? "none" : machine.config().tensors[tensor].name;
}

int RequireGm(const char* instruction, const Global& global, uint64_t bytes, uint64_t count,
              uint64_t stride, bool write, const Site& site) {
    if (global.data == nullptr) {
        Fail("not-initialised", site, "%s: a GlobalTensor without SetGlobalBuffer", instruction);
    }
    const uint64_t extent = (count - 1) * stride + bytes;
    const Machine& machine = *Current().machine;
    const int tensor = machine.FindTensor(global.data, extent, write);
    if (tensor < 0) {
        const int start = machine.FindTensor(global.data, 1, write);
        if (start < 0) {
            Fail("out-of-bounds", site,
                 "%s: the GM address is outside of every tensor of the launch", instruction);
        }
        const GmTensor& near = machine.config().tensors[start];
        const auto offset =
            static_cast<uint64_t>(global.data - static_cast<const uint8_t*>(near.data));
        Fail("out-of-bounds", site,
             "%s: touches bytes [%llu, %llu) of GM tensor '%s', which has %llu", instruction,
             static_cast<unsigned long long>(offset),
             static_cast<unsigned long long>(offset + extent), near.name.c_str(),
             static_cast<unsigned long long>(near.bytes));
    }
    const GmTensor& found = machine.config().tensors[tensor];
    if (global.end != nullptr && global.data + extent > global.end) {
        Fail("out-of-bounds", site,
             "%s: runs %llu bytes past the size given to SetGlobalBuffer (GM tensor '%s')",
             instruction, static_cast<unsigned long long>(global.data + extent - global.end),
             found.name.c_str());
    }
    if (write && !found.writable) {
        Fail("write-to-input", site, "%s: writes GM tensor '%s', which is an input", instruction,
             found.name.c_str());
    }
    return tensor;
}

void FillGm(TraceRecord& record, int tensor, const Global& global, uint64_t bytes, uint64_t count,
            uint64_t stride) {
    const GmTensor& found = Current().machine->config().tensors[tensor];
    record.tensor = static_cast<uint16_t>(tensor);
    record.gm_offset = static_cast<uint64_t>(global.data - static_cast<const uint8_t*>(found.data));
    record.block_bytes = static_cast<uint32_t>(bytes);
    record.block_count = static_cast<uint32_t>(count);
    record.block_stride = count > 1 ? stride : bytes;
}

void FillLocal(TraceRecord& record, const Local& local, uint32_t bytes) {
    record.buffer = local.buffer;
    record.local_offset = static_cast<uint32_t>(local.offset);
    record.local_bytes = bytes;
}

}  // namespace twin
