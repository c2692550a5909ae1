#include "sanitizer.h"

#include <algorithm>

#include "core.h"
#include "ordering.h"

namespace twin {

namespace {

constexpr uint32_t kLocalCell = 32;  ///< the block in which UB and L1 are accessed
constexpr uint32_t kGmCell = 4;      ///< bytes

std::string Range(uint64_t first, uint64_t bytes, const std::string& where) {
    return "bytes [" + std::to_string(first) + ", " + std::to_string(first + bytes) + ") of " +
           where;
}

struct Overlap {
    uint64_t first;
    uint64_t bytes;
};

/// Bytes of `other` that lie in [first, first + bytes) of `tensor`.
Overlap Common(const GmTensor& tensor, uint64_t first, uint64_t bytes, const GmTensor& other) {
    const uint64_t start = reinterpret_cast<uintptr_t>(tensor.data) + first;
    const uint64_t base = reinterpret_cast<uintptr_t>(other.data);
    const uint64_t low = std::max(start, base);
    const uint64_t high = std::min(start + bytes, base + other.bytes);
    return low < high ? Overlap{low - base, high - low} : Overlap{0, 0};
}

}  // namespace

Sanitizer::Sanitizer(SanitizeMode mode, const std::vector<GmTensor>& tensors,
                     const std::vector<std::array<uint32_t, kShadowBuffers>>& capacity)
    : mode_(mode),
      tensors_(tensors),
      cores_(capacity.size()),
      gm_(tensors.size()),
      instructions_(1) {
    for (size_t core = 0; core < cores_.size(); ++core) {
        for (auto& clock : cores_[core].known) clock.assign(cores_.size() * kPipes, 0);
        for (uint32_t buffer = 0; buffer < kShadowBuffers; ++buffer) {
            LocalShadow& shadow = cores_[core].buffers[buffer];
            shadow.written.assign(capacity[core][buffer], 0);
            if (races()) shadow.cells.resize(capacity[core][buffer] / kLocalCell);
        }
    }
    for (size_t i = 0; i < tensors.size(); ++i) {
        // Nothing can conflict over what no kernel may write.
        if (!tensors[i].writable && tensors[i].initialised) continue;
        gm_[i].written.assign(tensors[i].bytes, tensors[i].initialised ? 1 : 0);
        if (!races() || !tensors[i].writable) continue;
        gm_[i].cells.resize((tensors[i].bytes + kGmCell - 1) / kGmCell);
    }
    // An op that works in place registers one memory as input and as output.
    for (size_t i = 0; i < tensors.size(); ++i) {
        if (tensors[i].writable) continue;
        for (size_t j = 0; j < tensors.size(); ++j) {
            if (!tensors[j].writable) continue;
            const Overlap common = Common(tensors[i], 0, tensors[i].bytes, tensors[j]);
            if (common.bytes == 0) continue;
            gm_[i].aliases.push_back(j);
            if (!tensors[i].initialised) continue;
            std::fill_n(gm_[j].written.begin() + static_cast<int64_t>(common.first), common.bytes,
                        uint8_t{1});
        }
    }
}

void Sanitizer::Begin(uint32_t core, TracePipe pipe, const char* name, const Site& site,
                      bool in_order) {
    Issue(core, pipe);
    const uint32_t time = ++cores_[core].issued[static_cast<uint32_t>(pipe)];
    if (pipe == TracePipe::kS) {
        // The scalar unit finishes one access before it starts the next.
        cores_[core].known[0][Slot(core, pipe)] = time - 1;
    }
    current_ = static_cast<uint32_t>(instructions_.size());
    instructions_.push_back({core, pipe, in_order, time, name, site});
}

// A pipe gets its instructions from the scalar unit: what that has waited for is complete when they
// start. What the scalar unit itself has read or written is not: that takes an event.
void Sanitizer::Issue(uint32_t core, TracePipe pipe) {
    CoreShadow& shadow = cores_[core];
    const auto index = static_cast<uint32_t>(pipe);
    if (pipe == TracePipe::kS || shadow.scalar_seen[index] == shadow.scalar_version) return;
    Clock& known = shadow.known[index];
    const uint32_t own = known[Slot(core, TracePipe::kS)];
    Join(known, shadow.known[0]);
    known[Slot(core, TracePipe::kS)] = own;
    shadow.scalar_seen[index] = shadow.scalar_version;
}

/// What is complete once all that `pipe` has been given is.
Sanitizer::Clock Sanitizer::Complete(uint32_t core, TracePipe pipe) const {
    const auto index = static_cast<uint32_t>(pipe);
    Clock clock = cores_[core].known[index];
    clock[Slot(core, pipe)] = cores_[core].issued[index];
    return clock;
}

void Sanitizer::Join(Clock& into, const Clock& from) {
    for (size_t i = 0; i < into.size(); ++i) into[i] = std::max(into[i], from[i]);
}

bool Sanitizer::Ordered(uint32_t earlier, bool same_l0c) const {
    if (earlier == 0 || earlier == current_) return true;
    const Instruction& a = instructions_[earlier];
    const Instruction& b = instructions_[current_];
    if (a.core == b.core && a.pipe == b.pipe && same_l0c && b.in_order) return true;
    return cores_[b.core].known[static_cast<uint32_t>(b.pipe)][Slot(a.core, a.pipe)] >= a.time;
}

void Sanitizer::RequireOrder(uint32_t earlier, bool earlier_writes, bool writes,
                             const std::string& where, bool same_l0c) const {
    if (Ordered(earlier, same_l0c)) return;
    const Instruction& a = instructions_[earlier];
    const Instruction& b = instructions_[current_];
    const bool same_core = a.core == b.core;
    const char* code = !same_core         ? "core-race"
                       : a.pipe == b.pipe ? "missing-barrier"
                                          : "pipe-race";
    const std::string other = same_core ? std::string() : " of core " + std::to_string(a.core);
    Fail(code, b.site,
         "%s on %s %s %s; nothing orders it after %s on %s%s at %s:%d, which %s them (%s)", b.name,
         PipeName(b.pipe), writes ? "writes" : "reads", where.c_str(), a.name, PipeName(a.pipe),
         other.c_str(), a.site.file, a.site.line, earlier_writes ? "writes" : "reads",
         OrderingRule(a.pipe, b.pipe, same_core).c_str());
}

void Sanitizer::RequireWritten(const uint8_t* written, uint64_t bytes, uint64_t first,
                               const std::string& where) const {
    const uint8_t* end = written + bytes;
    const uint8_t* hole = std::find(written, end, 0);
    if (hole == end) return;
    const Instruction& b = instructions_[current_];
    const auto start = static_cast<uint64_t>(hole - written);
    const auto length = static_cast<uint64_t>(std::find(hole, end, 1) - hole);
    Fail("uninitialised", b.site, "%s on %s uses %s, which nothing has written", b.name,
         PipeName(b.pipe), Range(first + start, length, where).c_str());
}

Sanitizer::LocalShadow& Sanitizer::Shadow(const Local& local) {
    return cores_[instructions_[current_].core].buffers[static_cast<uint32_t>(local.buffer)];
}

void Sanitizer::TouchLocal(const Local& local, int64_t first, int64_t bytes, bool write) {
    if (!races() || bytes <= 0) return;
    LocalShadow& shadow = Shadow(local);
    const auto start = static_cast<uint64_t>(static_cast<int64_t>(local.offset) + first);
    const uint64_t last = (start + static_cast<uint64_t>(bytes) - 1) / kLocalCell;
    const auto pipe = static_cast<uint32_t>(instructions_[current_].pipe);
    const bool l0c = local.buffer == TraceBuffer::kL0c;
    for (uint64_t i = start / kLocalCell; i <= last; ++i) {
        LocalCell& cell = shadow.cells[i];
        const auto where = [&] {
            return Range(i * kLocalCell, kLocalCell, BufferName(local.buffer));
        };
        if (!Ordered(cell.write, l0c)) RequireOrder(cell.write, true, write, where(), l0c);
        if (write) {
            for (uint32_t& read : cell.reads) {
                if (!Ordered(read, l0c)) RequireOrder(read, false, true, where(), l0c);
                read = 0;
            }
            cell.write = current_;
        } else {
            cell.reads[pipe] = current_;
        }
    }
}

void Sanitizer::ReadLocal(const Local& local, int64_t first, int64_t bytes) {
    if (bytes <= 0) return;
    const auto start = static_cast<uint64_t>(static_cast<int64_t>(local.offset) + first);
    RequireWritten(Shadow(local).written.data() + start, static_cast<uint64_t>(bytes), start,
                   BufferName(local.buffer));
    TouchLocal(local, first, bytes, false);
}

void Sanitizer::WriteLocal(const Local& local, int64_t first, int64_t bytes) {
    if (bytes <= 0) return;
    TouchLocal(local, first, bytes, true);
    const int64_t start = static_cast<int64_t>(local.offset) + first;
    std::fill_n(Shadow(local).written.begin() + start, bytes, uint8_t{1});
}

void Sanitizer::MoveLocal(const Local& dst, int64_t dst_first, const Local& src, int64_t src_first,
                          int64_t bytes) {
    if (bytes <= 0) return;
    TouchLocal(src, src_first, bytes, false);
    TouchLocal(dst, dst_first, bytes, true);
    const auto from = Shadow(src).written.begin() + static_cast<int64_t>(src.offset) + src_first;
    std::copy_n(from, bytes,
                Shadow(dst).written.begin() + static_cast<int64_t>(dst.offset) + dst_first);
}

uint8_t* Sanitizer::Written(const Local& local, int64_t first) {
    return Shadow(local).written.data() + static_cast<int64_t>(local.offset) + first;
}

void Sanitizer::ReadGm(int tensor, uint64_t first, uint64_t bytes) {
    GmShadow& shadow = gm_[static_cast<size_t>(tensor)];
    for (const size_t other : shadow.aliases) {
        const Overlap common =
            Common(tensors_[static_cast<size_t>(tensor)], first, bytes, tensors_[other]);
        ReadGm(static_cast<int>(other), common.first, common.bytes);
    }
    // With an alias the kernel may have written the bytes under the other name.
    if (shadow.written.empty() || !shadow.aliases.empty() || bytes == 0) return;
    const auto& name = tensors_[static_cast<size_t>(tensor)].name;
    RequireWritten(shadow.written.data() + first, bytes, first, "GM tensor '" + name + "'");
    if (shadow.cells.empty()) return;
    const Instruction& reader = instructions_[current_];
    for (uint64_t i = first / kGmCell; i <= (first + bytes - 1) / kGmCell; ++i) {
        GmCell& cell = shadow.cells[i];
        if (!Ordered(cell.write, false)) {
            RequireOrder(cell.write, true, false,
                         Range(i * kGmCell, kGmCell, "GM tensor '" + name + "'"), false);
        }
        const auto mine = std::find_if(cell.reads.begin(), cell.reads.end(), [&](uint32_t read) {
            return instructions_[read].core == reader.core &&
                   instructions_[read].pipe == reader.pipe;
        });
        if (mine == cell.reads.end()) {
            cell.reads.push_back(current_);
        } else {
            *mine = current_;
        }
    }
}

void Sanitizer::WriteGm(int tensor, uint64_t first, uint64_t bytes) {
    GmShadow& shadow = gm_[static_cast<size_t>(tensor)];
    if (bytes == 0) return;
    std::fill_n(shadow.written.begin() + static_cast<int64_t>(first), bytes, uint8_t{1});
    if (!races()) return;
    for (uint64_t i = first / kGmCell; i <= (first + bytes - 1) / kGmCell; ++i) {
        GmCell& cell = shadow.cells[i];
        const auto where = [&] {
            return Range(i * kGmCell, kGmCell,
                         "GM tensor '" + tensors_[static_cast<size_t>(tensor)].name + "'");
        };
        if (!Ordered(cell.write, false)) RequireOrder(cell.write, true, true, where(), false);
        for (const uint32_t read : cell.reads) {
            if (!Ordered(read, false)) RequireOrder(read, false, true, where(), false);
        }
        cell.reads.clear();
        cell.write = current_;
    }
}

void Sanitizer::Allocate(uint32_t core, const Local& local) {
    auto& written = cores_[core].buffers[static_cast<uint32_t>(local.buffer)].written;
    std::fill(written.begin() + local.begin, written.begin() + local.end, uint8_t{0});
}

void Sanitizer::SetEvent(uint32_t core, TracePipe source, int event, int id) {
    Issue(core, source);
    cores_[core].events.emplace_back(event * kEventIds + id, Complete(core, source));
}

void Sanitizer::WaitEvent(uint32_t core, TracePipe destination, int event, int id) {
    CoreShadow& shadow = cores_[core];
    const int key = event * kEventIds + id;
    const auto found = std::find_if(shadow.events.begin(), shadow.events.end(),
                                    [&](const auto& entry) { return entry.first == key; });
    Issue(core, destination);
    Join(shadow.known[static_cast<uint32_t>(destination)], found->second);
    if (destination == TracePipe::kS) ++shadow.scalar_version;
    shadow.events.erase(found);
}

void Sanitizer::Barrier(uint32_t core, TracePipe pipe) {
    CoreShadow& shadow = cores_[core];
    if (pipe != TracePipe::kAll) {
        const auto index = static_cast<uint32_t>(pipe);
        shadow.known[index][Slot(core, pipe)] = shadow.issued[index];
        return;
    }
    Clock all = Complete(core, TracePipe::kS);
    for (uint32_t index = 1; index < kPipes; ++index) {
        Join(all, Complete(core, static_cast<TracePipe>(index)));
    }
    for (Clock& known : shadow.known) Join(known, all);
    ++shadow.scalar_version;
}

void Sanitizer::CrossSet(uint32_t core, TracePipe pipe, int id) {
    Issue(core, pipe);
    cores_[core].sets[static_cast<size_t>(id)].push_back(Complete(core, pipe));
}

void Sanitizer::CrossSignal(const std::vector<size_t>& members,
                            const std::vector<size_t>& signalled, int id) {
    const auto flag = static_cast<size_t>(id);
    Clock clock(cores_.size() * kPipes, 0);
    for (const size_t member : members) {
        auto& sets = cores_[member].sets[flag];
        Join(clock, sets.front());
        sets.pop_front();
    }
    for (const size_t core : signalled) cores_[core].signals[flag].push_back(clock);
}

// Holds all later instructions of the core (CrossCoreWaitFlag).
void Sanitizer::CrossWait(uint32_t core, int id) {
    CoreShadow& shadow = cores_[core];
    auto& signals = shadow.signals[static_cast<size_t>(id)];
    for (Clock& known : shadow.known) Join(known, signals.front());
    signals.pop_front();
    ++shadow.scalar_version;
}

}  // namespace twin
