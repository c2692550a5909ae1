// Finds what the hardware leaves undefined: bytes that are used before anything wrote them, and
// accesses to the same bytes that nothing orders. Private to the twin.
//
// Shadow state holds, for every piece of memory, the last write and the reads since; vector clocks
// hold what every pipe of every core knows to be complete. An access is ordered after an earlier
// one only by a rule of the table in ordering.h, whatever order the twin happened to run them in.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "shadow.h"
#include "twin/detail.h"
#include "twin/error.h"
#include "twin/launch.h"

namespace twin {

constexpr uint32_t kPipes = 7;          ///< without TracePipe::kAll
constexpr uint32_t kShadowBuffers = 7;  ///< TraceBuffer without kNone

class Sanitizer {
public:
    /// `capacity[core]`: bytes of each local buffer of that core.
    Sanitizer(SanitizeMode mode, const std::vector<GmTensor>& tensors,
              const std::vector<std::array<uint32_t, kShadowBuffers>>& capacity);

    /// The next accesses belong to this instruction. `in_order`: the pipe itself orders it after
    /// its predecessors on the same bytes of L0C.
    void Begin(uint32_t core, TracePipe pipe, const char* name, const Site& site, bool in_order);
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
    /// A buffer was handed out anew: its bytes are nobody's.
    void Allocate(uint32_t core, const Local& local);

    void SetEvent(uint32_t core, TracePipe source, int event, int id);
    void WaitEvent(uint32_t core, TracePipe destination, int event, int id);
    void Barrier(uint32_t core, TracePipe pipe);
    void CrossSet(uint32_t core, TracePipe pipe, int id);
    /// The sets of `members` have become a signal for `signalled`.
    void CrossSignal(const std::vector<size_t>& members, const std::vector<size_t>& signalled,
                     int id);
    void CrossWait(uint32_t core, int id);

private:
    using Clock = std::vector<uint32_t>;

    struct Instruction {
        uint32_t core;
        TracePipe pipe;
        bool in_order;
        uint32_t time;
        const char* name;
        Site site;
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
        std::array<Clock, kPipes> known;  ///< what a pipe knows to be complete
        std::array<uint32_t, kPipes> issued{};
        std::array<uint32_t, kPipes>
            scalar_seen{};  ///< version of the scalar clock it has taken up
        uint32_t scalar_version = 0;
        std::vector<std::pair<int, Clock>> events;  ///< set and not waited for; event * 8 + id
        std::array<std::deque<Clock>, 16> sets;     ///< cross-core sets that are no signal yet
        std::array<std::deque<Clock>, 16> signals;
    };

    bool races() const { return mode_ == SanitizeMode::kFull; }
    uint32_t Slot(uint32_t core, TracePipe pipe) const {
        return core * kPipes + static_cast<uint32_t>(pipe);
    }
    void Issue(uint32_t core, TracePipe pipe);
    Clock Complete(uint32_t core, TracePipe pipe) const;
    static void Join(Clock& into, const Clock& from);
    bool Ordered(uint32_t earlier, bool same_l0c) const;
    /// All accesses of the current instruction come through here. `accesses` is null where nothing
    /// can conflict; `memory`: a local buffer, or kShadowBuffers + a GM tensor.
    void Touch(Shadow* accesses, uint32_t memory, uint64_t first, uint64_t bytes, bool write);
    void TouchLocal(const Local& local, int64_t first, int64_t bytes, bool write);
    void RequireWritten(const uint8_t* written, uint64_t bytes, uint64_t first, uint32_t memory);
    void Find(const Finding& finding);
    std::string MemoryName(uint32_t memory) const;
    /// The instruction's access that `finding` is about.
    Access Describe(uint32_t instruction, bool write, const Finding& finding) const;
    LocalShadow& Of(const Local& local);

    SanitizeMode mode_;
    const std::vector<GmTensor>& tensors_;
    std::vector<CoreShadow> cores_;
    std::vector<GmShadow> gm_;
    std::vector<Instruction> instructions_;  ///< from 1
    std::vector<Extent> extents_;
    std::optional<Finding> finding_;
    uint32_t current_ = 0;
};

}  // namespace twin
