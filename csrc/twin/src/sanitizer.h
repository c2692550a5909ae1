// Finds what the hardware leaves undefined: bytes that are used before anything wrote them, and
// accesses to the same bytes that nothing orders. Private to the twin.
//
// Shadow state holds, for every piece of memory, the last write and the reads since; Clocks holds
// what every pipe of every core knows to be complete. An access is ordered after an earlier one
// only by a rule of the table in twin/ordering.h, whatever order the twin happened to run them in.
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

constexpr uint32_t kShadowBuffers = 7;  ///< TraceBuffer without kNone

/// What a product is to others on the same bytes of L0C (Order::kAccumulation).
enum class Product : uint8_t {
    kNone,          ///< too small, or not one
    kLarge,         ///< others may add to it
    kAccumulating,  ///< large, and adds to what is there
};

class Sanitizer {
public:
    /// `capacity[core]`: bytes of each local buffer of that core. `without`: a row of the table
    /// that does not hold, or null.
    Sanitizer(SanitizeMode mode, const std::vector<GmTensor>& tensors,
              const std::vector<std::array<uint32_t, kShadowBuffers>>& capacity,
              const Order* without);

    /// The next accesses belong to this instruction.
    void Begin(uint32_t core, TracePipe pipe, const char* name, const Site& site, Product product);
    /// It has told all of its accesses: throws Error for what was found, of which there is only
    /// then the whole to report.
    void End();

    void ReadLocal(const Local& local, int64_t first, int64_t bytes);
    void WriteLocal(const Local& local, int64_t first, int64_t bytes);
    /// Moves bytes without using them: those nobody wrote stay so. Counts as read and write.
    void MoveLocal(const Local& dst, int64_t dst_first, const Local& src, int64_t src_first,
                   int64_t bytes);
    /// For every byte from `first` on, whether it is written: for what moves bytes to other places
    /// in its own order, or leaves them undefined.
    uint8_t* Written(const Local& local, int64_t first);
    void ReadGm(int tensor, uint64_t first, uint64_t bytes);
    void WriteGm(int tensor, uint64_t first, uint64_t bytes);
    /// An atomic update: of the bytes that are there. Those with the same `update`, which is not 0,
    /// do not race with each other.
    void UpdateGm(int tensor, uint64_t first, uint64_t bytes, uint8_t update);
    /// A buffer was handed out anew: its bytes are nobody's.
    void Allocate(uint32_t core, const Local& local);

    /// Order between pipes and cores; null when nothing looks for it.
    Clocks* clocks() { return races() ? &clocks_ : nullptr; }

private:
    struct Instruction {
        uint32_t core;
        TracePipe pipe;
        Product product;
        uint32_t time;
        const char* name;
        Site site;
        uint8_t update;         ///< 0, or which atomic one its writes to GM are
        uint32_t first_extent;  ///< of extents_; the next instruction's ends them
    };

    /// From the first to the last byte of what an instruction reads, or writes, in one memory.
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
        bool write;        ///< of the current instruction
        uint32_t earlier;  ///< the other instruction, 0 for bytes that nobody wrote
        bool earlier_write;
        uint64_t first;
        uint64_t end;
    };

    struct LocalShadow {
        Shadow accesses;
        std::vector<uint8_t> written;  ///< per byte
    };
    struct GmShadow {
        Shadow accesses;
        bool watched = false;          ///< a kernel may write it
        std::vector<uint8_t> written;  ///< empty: every byte
        std::vector<size_t> aliases;   ///< of an input: writable tensors on the same memory
    };

    struct CoreShadow {
        std::array<LocalShadow, kShadowBuffers> buffers;
    };

    bool races() const { return mode_ == SanitizeMode::kFull; }
    bool Ordered(uint32_t earlier, bool same_l0c) const;
    /// Both are atomic updates that may come in any order.
    bool Joins(uint32_t earlier) const;
    /// All accesses of the current instruction come through here. `accesses` is null where nothing
    /// can conflict; `memory`: a local buffer, or kShadowBuffers + a GM tensor.
    void Touch(Shadow* accesses, uint32_t memory, uint64_t first, uint64_t bytes, bool write);
    void TouchLocal(const Local& local, int64_t first, int64_t bytes, bool write);
    /// `write`: they are used by an access that also writes them.
    void RequireWritten(const uint8_t* written, uint64_t bytes, uint64_t first, uint32_t memory,
                        bool write = false);
    void Find(const Finding& finding);
    std::string MemoryName(uint32_t memory) const;
    /// The instruction's access that `finding` is about.
    Access Describe(uint32_t instruction, bool write, const Finding& finding) const;
    LocalShadow& Of(const Local& local);

    SanitizeMode mode_;
    const std::vector<GmTensor>& tensors_;
    Clocks clocks_;
    std::vector<CoreShadow> cores_;
    std::vector<GmShadow> gm_;
    std::vector<Instruction> instructions_;  ///< from 1
    std::vector<Extent> extents_;
    std::optional<Finding> finding_;
    uint32_t current_ = 0;
    uint32_t last_ordered_ = 0;  ///< one that the current instruction is ordered after
};

}  // namespace twin
