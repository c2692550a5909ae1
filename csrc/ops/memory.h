// The memory behind the tensors of a call: within their storages, and apart where it has to be.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/SmallVector.h>

#include <cstdint>

#include "ops/argument_name.h"
#include "ops/checks.h"

namespace ops {

/// Elements of a tensor's memory, holes included: from the first to behind the last, and those of
/// one index of dimension 0.
struct Extent {
    int64_t all, slice;
};
Extent ExtentOf(const at::Tensor& tensor);

/// Blocks of bytes at a constant distance: one for a dense tensor; one for each index of dimension
/// 0 for a tensor that is dense behind it, such as a paged cache.
struct MemoryBlocks {
    uint64_t address;
    uint64_t count;
    uint64_t stride;  ///< bytes from block to block, no fewer than `bytes`; 0 for one block
    uint64_t bytes;   ///< of a block; 0: no memory at all

    uint64_t end() const { return address + (count - 1) * stride + bytes; }
};

/// Whether two tensors share a byte; exact, in constant time unless both have many blocks at
/// different strides.
bool Overlap(const MemoryBlocks& a, const MemoryBlocks& b);

/// What a call reads, writes and prefetches. One rule: what is written overlaps nothing else, and
/// what is prefetched is nobody's operand and nothing else's prefetch. Operands that are only read
/// may share memory, be it all of it.
class CallMemory {
public:
    enum class Use { kRead, kWrite, kPrefetch };

    explicit CallMemory(const ArgumentChecks& check) : check_(check) {}

    /// Adds a tensor; returns its address. RuntimeError unless its elements lie within its storage.
    /// Strides are those that the op's checks have let pass. A copy-on-write tensor gets memory of
    /// its own.
    uint64_t Add(const ArgumentName& name, const at::Tensor& tensor, Use use);
    /// Adds a part of a contiguous tensor, to be prefetched.
    void AddPrefetch(const ArgumentName& name, const at::Tensor& tensor, uint64_t offset,
                     uint64_t bytes);
    /// ValueError where the rule is broken.
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
    uint32_t bounded_ = 0;  ///< of the entries, those that are written or prefetched
};

}  // namespace ops
