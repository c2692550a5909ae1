#include "ops/memory.h"

#include <algorithm>
#include <utility>

namespace ops {

namespace {

/// Whether a block of `a` shares a byte with the `bytes` bytes at `begin`.
bool OverlapsBlock(const MemoryBlocks& a, uint64_t begin, uint64_t bytes) {
    if (begin + bytes <= a.address || a.end() <= begin) return false;
    if (a.count == 1 || begin <= a.address) return true;
    // Only the last block that starts at or before `begin`, and the next one, can overlap.
    const uint64_t index = std::min((begin - a.address) / a.stride, a.count - 1);
    const uint64_t block = a.address + index * a.stride;
    return begin < block + a.bytes || (index + 1 < a.count && block + a.stride < begin + bytes);
}

/// Overlap of blocks with the same stride, where the first block of `a` is at or before that of
/// `b`. Every block of `b` is then at the same distance after a block of `a`, or after where `a`
/// would have one if it went on.
bool OverlapAtOneStride(const MemoryBlocks& a, const MemoryBlocks& b) {
    const uint64_t distance = b.address - a.address;
    const uint64_t index = distance / a.stride;  // the block of `a` before the first one of `b`
    const uint64_t inside = distance % a.stride;
    if (index < a.count && inside < a.bytes) return true;
    return index + 1 < a.count && inside + b.bytes > a.stride;
}

}  // namespace

Extent ExtentOf(const at::Tensor& tensor) {
    if (tensor.is_contiguous()) return {tensor.numel(), tensor.numel()};
    if (tensor.numel() == 0) return {0, 0};
    int64_t slice = 1;
    for (int64_t d = 1; d < tensor.dim(); ++d) slice += (tensor.size(d) - 1) * tensor.stride(d);
    return {slice + (tensor.size(0) - 1) * tensor.stride(0), slice};
}

bool Overlap(const MemoryBlocks& a, const MemoryBlocks& b) {
    if (a.bytes == 0 || b.bytes == 0 || a.end() <= b.address || b.end() <= a.address) return false;
    if (b.count == 1) return OverlapsBlock(a, b.address, b.bytes);
    if (a.count == 1) return OverlapsBlock(b, a.address, a.bytes);
    if (a.stride == b.stride) {
        return a.address <= b.address ? OverlapAtOneStride(a, b) : OverlapAtOneStride(b, a);
    }
    const bool fewer = a.count <= b.count;
    const MemoryBlocks& walked = fewer ? a : b;
    const MemoryBlocks& other = fewer ? b : a;
    for (uint64_t i = 0; i < walked.count; ++i) {
        if (OverlapsBlock(other, walked.address + i * walked.stride, walked.bytes)) return true;
    }
    return false;
}

void CallMemory::CheckStorage(const ArgumentName& name, const at::Tensor& tensor,
                              uint64_t extent) const {
    const uint64_t storage = tensor.storage().nbytes();
    const uint64_t begin = tensor.storage_offset() * tensor.element_size();
    check_.Require(extent == 0 || begin + extent <= storage, name,
                   Text("a storage of at least ", begin + extent, " bytes"), storage);
}

uint64_t CallMemory::Add(const ArgumentName& name, const at::Tensor& tensor, Use use) {
    const Extent extent = ExtentOf(tensor);
    const uint64_t size = tensor.element_size();
    CheckStorage(name, tensor, extent.all * size);
    MemoryBlocks memory = {reinterpret_cast<uintptr_t>(tensor.data_ptr()), 1, 0, extent.all * size};
    if (extent.slice < extent.all && extent.slice < tensor.stride(0)) {
        memory.count = static_cast<uint64_t>(tensor.size(0));
        memory.stride = tensor.stride(0) * size;
        memory.bytes = extent.slice * size;
    }
    entries_.push_back({name, memory, memory.end(), use});
    if (use != Use::kRead) ++bounded_;
    return memory.address;
}

void CallMemory::AddPrefetch(const ArgumentName& name, const at::Tensor& tensor, uint64_t offset,
                             uint64_t bytes) {
    CheckStorage(name, tensor, tensor.nbytes());
    const uint64_t address = reinterpret_cast<uintptr_t>(tensor.data_ptr()) + offset;
    entries_.push_back({name, {address, 1, 0, bytes}, address + bytes, Use::kPrefetch});
    ++bounded_;
}

void CallMemory::CheckApart() const {
    if (bounded_ == 0) return;
    for (size_t i = 0; i < entries_.size(); ++i) {
        const Entry& entry = entries_[i];
        if (entry.use == Use::kRead) continue;
        for (size_t other = 0; other < entries_.size(); ++other) {
            const Entry& second = entries_[other];
            // This quick test settles nearly all pairs.
            if (second.memory.address >= entry.end || entry.memory.address >= second.end) continue;
            // Each pair is reported once: a pair with the same use for its later entry, and a
            // prefetch of written memory for the prefetch.
            if (other == i || (second.use == entry.use && other > i)) continue;
            if (entry.use == Use::kWrite && second.use == Use::kPrefetch) continue;
            if (!Overlap(entry.memory, second.memory)) continue;
            check_.RequireValue(false, entry.name,
                                entry.use == Use::kWrite ? "memory of its own, which is written"
                                                         : "bytes that nothing else fetches",
                                Text("memory shared with '", second.name, "'"));
        }
    }
}

}  // namespace ops
