// Finds what the hardware leaves undefined: bytes that are used before anything has written them,
// and accesses to the same bytes that nothing orders. Private to the twin.
//
// Shadow holds, for every byte of a memory, the last write and the reads since then; Clocks holds
// what every pipe of every core knows to be complete. Only a rule of the table in twin/ordering.h
// orders an access after an earlier one, whatever order the twin happened to run them in.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clocks.h"
#include "shadow.h"
#include "twin/detail.h"
#include "twin/error.h"
#include "twin/launch.h"

namespace twin {

constexpr uint32_t kShadowBuffers = 7;  ///< all of TraceBuffer but kNone

/// Whether the cube itself orders an instruction with others on the same bytes of L0C
/// (Order::kAccumulation).
enum class Product : uint8_t {
    kNone,          ///< a product that is too small, or another instruction
    kLarge,         ///< a large product, which overwrites L0C; later ones may add to it
    kAccumulating,  ///< a large product that adds to what is in L0C
};

class Sanitizer {
public:
    /// `capacity[core]` is the size in bytes of each local buffer of that core. `without` is a row
    /// of kOrdering to ignore, or null.
    Sanitizer(SanitizeMode mode, const std::vector<GmTensor>& tensors,
              const std::vector<std::array<uint32_t, kShadowBuffers>>& capacity,
              const Order* without);

    /// Begins an instruction, to which the following accesses belong.
    void Begin(uint32_t core, TracePipe pipe, const char* name, const Site& site, Product product);
    /// Ends the instruction: throws Error if something was found. It waits until here because the
    /// report names the full extent of the accesses.
    void End();

    void ReadLocal(const Local& local, int64_t first, int64_t bytes);
    void WriteLocal(const Local& local, int64_t first, int64_t bytes);
    /// Copies bytes without using them: bytes that were not written stay unwritten in `dst`. Counts
    /// as a read and a write.
    void MoveLocal(const Local& dst, int64_t dst_first, const Local& src, int64_t src_first,
                   int64_t bytes);
    /// Returns the flags, one per byte from `first` on, that tell whether the byte is written. For
    /// instructions that rearrange bytes in an order of their own, or leave bytes undefined.
    uint8_t* Written(const Local& local, int64_t first);
    void ReadGm(int tensor, uint64_t first, uint64_t bytes);
    void WriteGm(int tensor, uint64_t first, uint64_t bytes);
    /// An atomic update of bytes that have to be written already. `update` is not 0 and identifies
    /// kind and type; updates with the same number do not race with each other.
    void UpdateGm(int tensor, uint64_t first, uint64_t bytes, uint8_t update);
    /// A buffer was handed out: its bytes count as unwritten.
    void Allocate(uint32_t core, const Local& local);

    /// Order between pipes and cores; null if the mode does not look for races.
    Clocks* clocks() { return races() ? &clocks_ : nullptr; }

private:
    struct Instruction {
        uint32_t core;
        TracePipe pipe;
        Product product;
        uint32_t time;
        const char* name;
        Site site;
        uint8_t update;         ///< 0, or the atomic update that its writes to GM are
        uint32_t first_extent;  ///< its extents start here in extents_; the next's end them
    };

    /// The range from the first to the last byte that an instruction reads, or writes, in one
    /// memory.
    struct Extent {
        uint32_t memory;
        bool write;
        uint64_t first;
        uint64_t end;
    };

    /// The first finding of an instruction.
    struct Finding {
        const char* code;
        uint32_t memory;
        bool write;        ///< whether the current instruction writes the bytes
        uint32_t earlier;  ///< the other instruction; 0 if nothing has written the bytes
        bool earlier_write;
        uint64_t first;
        uint64_t end;
    };

    struct LocalShadow {
        Shadow accesses;
        std::vector<uint8_t> written;  ///< one flag per byte
    };
    struct GmShadow {
        Shadow accesses;
        bool watched = false;          ///< races are looked for: the kernel may write the tensor
        std::vector<uint8_t> written;  ///< one flag per byte; empty if every byte is written
        std::vector<size_t> aliases;   ///< for an input: writable tensors that share its memory
    };

    struct CoreShadow {
        std::array<LocalShadow, kShadowBuffers> buffers;
    };

    bool races() const { return mode_ == SanitizeMode::kFull; }
    bool Ordered(uint32_t earlier, bool same_l0c) const;
    /// Whether `earlier` and the current instruction are atomic updates that may come in any order.
    bool Joins(uint32_t earlier) const;
    /// Notes an access of the current instruction; every access comes through here. `accesses` is
    /// null where nothing can conflict. `memory` is a local buffer, or kShadowBuffers + the index
    /// of a GM tensor.
    void Touch(Shadow* accesses, uint32_t memory, uint64_t first, uint64_t bytes, bool write);
    void TouchLocal(const Local& local, int64_t first, int64_t bytes, bool write);
    /// Reports bytes that are used but not written. `write` tells that the access which uses them
    /// also writes them.
    void RequireWritten(const uint8_t* written, uint64_t bytes, uint64_t first, uint32_t memory,
                        bool write = false);
    void Find(const Finding& finding);
    std::string MemoryName(uint32_t memory) const;
    /// Describes the access of `instruction` that `finding` is about.
    Access Describe(uint32_t instruction, bool write, const Finding& finding) const;
    LocalShadow& Of(const Local& local);

    SanitizeMode mode_;
    const std::vector<GmTensor>& tensors_;
    Clocks clocks_;
    std::vector<CoreShadow> cores_;
    std::vector<GmShadow> gm_;
    std::vector<Instruction> instructions_;  ///< numbered from 1; 0 is none
    std::vector<Extent> extents_;
    std::optional<Finding> finding_;
    uint32_t current_ = 0;
    uint32_t last_ordered_ = 0;  ///< a cached instruction that the current one is ordered after
};

}  // namespace twin
