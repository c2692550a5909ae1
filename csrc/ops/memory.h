// Checks the memory of a call's tensors: that it lies within their storages, and that it does not
// overlap where it must not.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/SmallVector.h>

#include <cstdint>

#include "ops/argument_name.h"
#include "ops/checks.h"

namespace ops {

/// The number of elements that a tensor's memory spans, holes included: `all` of the whole tensor,
/// `slice` of one index of dimension 0.
struct Extent {
    int64_t all, slice;
};
Extent ExtentOf(const at::Tensor& tensor);

/// Blocks of bytes at a constant stride: one for a dense tensor; one for each index of dimension 0
/// for a tensor that is dense in its other dimensions, such as a paged cache.
struct MemoryBlocks {
    uint64_t address;
    uint64_t count;
    uint64_t stride;  ///< bytes from block to block, at least `bytes`; 0 for one block
    uint64_t bytes;   ///< bytes of a block; 0: the tensor has no memory

    uint64_t end() const { return address + (count - 1) * stride + bytes; }
};

/// Whether two tensors share a byte. The answer is exact and takes constant time unless both have
/// many blocks at different strides.
bool Overlap(const MemoryBlocks& a, const MemoryBlocks& b);

/// The memory that a call reads, writes and prefetches. The rule is: memory that is written
/// overlaps no other memory of the call, and memory that is prefetched overlaps neither operands
/// nor other prefetches. Operands that are only read may share some or all of their memory.
class CallMemory {
public:
    enum class Use { kRead, kWrite, kPrefetch };

    explicit CallMemory(const ArgumentChecks& check) : check_(check) {}

    /// Adds a tensor, whose strides have passed the op's checks, and returns its address.
    /// RuntimeError unless its elements lie within its storage. A copy-on-write tensor gets memory
    /// of its own.
    uint64_t Add(const ArgumentName& name, const at::Tensor& tensor, Use use);
    /// Adds a part of a contiguous tensor, to be prefetched.
    void AddPrefetch(const ArgumentName& name, const at::Tensor& tensor, uint64_t offset,
                     uint64_t bytes);
    /// ValueError if the rule is broken.
    void CheckApart() const;

private:
    struct Entry {
        ArgumentName name;
        MemoryBlocks memory;
        uint64_t end;  ///< memory.end()
        Use use;
    };

    void CheckStorage(const ArgumentName& name, const at::Tensor& tensor, uint64_t extent) const;

    const ArgumentChecks& check_;
    c10::SmallVector<Entry, 24> entries_;
    uint32_t bounded_ = 0;  ///< number of entries that are written or prefetched
};

}  // namespace ops
