#include "sanitizer.h"

#include <algorithm>

#include "core.h"
#include "ordering.h"

namespace twin {

namespace {

std::string Range(uint64_t first, uint64_t end, const std::string& where) {
    return "bytes [" + std::to_string(first) + ", " + std::to_string(end) + ") of " + where;
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
                     const std::vector<std::array<uint32_t, kShadowBuffers>>& capacity,
                     const Order* without)
    : mode_(mode),
      tensors_(tensors),
      clocks_(races() ? capacity.size() : 0, without),
      cores_(capacity.size()),
      gm_(tensors.size()),
      instructions_(1) {
    for (size_t core = 0; core < cores_.size(); ++core) {
        for (uint32_t buffer = 0; buffer < kShadowBuffers; ++buffer) {
            LocalShadow& shadow = cores_[core].buffers[buffer];
            shadow.written.assign(capacity[core][buffer], 0);
            if (races()) shadow.accesses = Shadow(capacity[core][buffer]);
        }
    }
    for (size_t i = 0; i < tensors.size(); ++i) {
        // Reads of a tensor that the kernel may not write cannot conflict.
        if (!tensors[i].writable && tensors[i].initialised) continue;
        if (!tensors[i].initialised) gm_[i].written.assign(tensors[i].bytes, 0);
        gm_[i].watched = races() && tensors[i].writable;
        if (gm_[i].watched) gm_[i].accesses = Shadow(tensors[i].bytes);
    }
    // An op that works in place registers the same memory as an input and as an output.
    for (size_t i = 0; i < tensors.size(); ++i) {
        if (tensors[i].writable) continue;
        for (size_t j = 0; j < tensors.size(); ++j) {
            if (!tensors[j].writable) continue;
            const Overlap common = Common(tensors[i], 0, tensors[i].bytes, tensors[j]);
            if (common.bytes == 0) continue;
            gm_[i].aliases.push_back(j);
            if (!tensors[i].initialised || gm_[j].written.empty()) continue;
            std::fill_n(gm_[j].written.begin() + static_cast<int64_t>(common.first), common.bytes,
                        uint8_t{1});
        }
    }
}

void Sanitizer::Begin(uint32_t core, TracePipe pipe, const char* name, const Site& site,
                      Product product) {
    const uint32_t time = races() ? clocks_.Begin(core, pipe) : 0;
    current_ = static_cast<uint32_t>(instructions_.size());
    last_ordered_ = 0;
    instructions_.push_back(
        {core, pipe, product, time, name, site, 0, static_cast<uint32_t>(extents_.size())});
}

bool Sanitizer::Ordered(uint32_t earlier, bool same_l0c) const {
    if (earlier == 0) return true;
    if (earlier == current_ && clocks_.Holds(Order::kItself)) return true;
    const Instruction& a = instructions_[earlier];
    const Instruction& b = instructions_[current_];
    if (same_l0c && a.product != Product::kNone && b.product == Product::kAccumulating &&
        a.core == b.core && clocks_.Holds(Order::kAccumulation)) {
        return true;
    }
    return Joins(earlier) || clocks_.Ordered(b.core, b.pipe, a.core, a.pipe, a.time);
}

bool Sanitizer::Joins(uint32_t earlier) const {
    const uint8_t update = instructions_[current_].update;
    return update != 0 && instructions_[earlier].update == update && clocks_.Holds(Order::kAtomic);
}

void Sanitizer::Touch(Shadow* accesses, uint32_t memory, uint64_t first, uint64_t bytes,
                      bool write) {
    const auto mine = extents_.begin() + instructions_[current_].first_extent;
    const auto known = std::find_if(mine, extents_.end(), [&](const Extent& extent) {
        return extent.memory == memory && extent.write == write;
    });
    if (known == extents_.end()) {
        extents_.push_back({memory, write, first, first + bytes});
    } else {
        known->first = std::min(known->first, first);
        known->end = std::max(known->end, first + bytes);
    }
    if (accesses == nullptr) return;
    struct {
        Sanitizer& self;
        uint32_t memory;
        bool write;
        bool l0c;

        uint32_t current() const { return self.current_; }
        uint32_t Reader(uint32_t instruction) const {
            const Instruction& reader = self.instructions_[instruction];
            return reader.core * kPipes + static_cast<uint32_t>(reader.pipe);
        }
        // A cache: the pieces of an instruction mostly follow the same earlier instruction.
        bool Ordered(uint32_t earlier) const {
            if (earlier == self.last_ordered_) return true;
            if (!self.Ordered(earlier, l0c)) return false;
            if (!l0c) self.last_ordered_ = earlier;
            return true;
        }
        bool Joins(uint32_t instruction) const { return self.Joins(instruction); }
        void Conflict(uint32_t earlier, bool wrote, uint64_t first, uint64_t bytes) {
            const Instruction& a = self.instructions_[earlier];
            const Instruction& b = self.instructions_[self.current_];
            const char* code = a.core != b.core   ? "core-race"
                               : a.pipe == b.pipe ? "missing-barrier"
                                                  : "pipe-race";
            self.Find({code, memory, write, earlier, wrote, first, first + bytes});
        }
    } rules{*this, memory, write, memory == static_cast<uint32_t>(TraceBuffer::kL0c)};
    accesses->Touch(first, bytes, write, rules);
}

/// Keeps the first finding of an instruction. A later one is dropped, unless it continues the byte
/// range of the first.
void Sanitizer::Find(const Finding& finding) {
    if (!finding_) {
        finding_ = finding;
    } else if (finding.memory == finding_->memory && finding.write == finding_->write &&
               finding.earlier == finding_->earlier &&
               finding.earlier_write == finding_->earlier_write && finding.first == finding_->end) {
        finding_->end = finding.end;
    }
}

void Sanitizer::RequireWritten(const uint8_t* written, uint64_t bytes, uint64_t first,
                               uint32_t memory, bool write) {
    const uint8_t* end = written + bytes;
    const uint8_t* hole = std::find(written, end, 0);
    if (hole == end) return;
    const uint64_t start = first + static_cast<uint64_t>(hole - written);
    const auto length = static_cast<uint64_t>(std::find(hole, end, 1) - hole);
    Find({"uninitialised", memory, write, 0, false, start, start + length});
}

std::string Sanitizer::MemoryName(uint32_t memory) const {
    if (memory < kShadowBuffers) return BufferName(static_cast<TraceBuffer>(memory));
    return "GM tensor '" + tensors_[memory - kShadowBuffers].name + "'";
}

Access Sanitizer::Describe(uint32_t instruction, bool write, const Finding& finding) const {
    const Instruction& of = instructions_[instruction];
    const bool last = instruction + 1 == instructions_.size();
    const auto end =
        last ? extents_.end() : extents_.begin() + instructions_[instruction + 1].first_extent;
    const auto extent =
        std::find_if(extents_.begin() + of.first_extent, end, [&](const Extent& candidate) {
            return candidate.memory == finding.memory && candidate.write == write;
        });
    return {Current().machine->CoreName(of.core),
            PipeName(of.pipe),
            of.name,
            of.site.file,
            of.site.line,
            write,
            MemoryName(finding.memory),
            extent->first,
            extent->end - extent->first,
            finding.first,
            finding.end - finding.first};
}

void Sanitizer::End() {
    if (!finding_) return;
    const Finding finding = *finding_;
    finding_.reset();
    const Instruction& b = instructions_[current_];
    const std::string subject = std::string(b.name) + " on " + PipeName(b.pipe);
    const std::string bytes = Range(finding.first, finding.end, MemoryName(finding.memory));
    std::vector<Access> accesses = {Describe(current_, finding.write, finding)};
    std::string message;
    std::string ordered_by;
    if (finding.earlier == 0) {
        message = subject + " uses " + bytes + ", which nothing has written";
    } else {
        const Instruction& a = instructions_[finding.earlier];
        accesses.push_back(Describe(finding.earlier, finding.earlier_write, finding));
        ordered_by = OrderingRule(a.pipe, b.pipe, a.core == b.core);
        message = subject + (finding.write ? " writes " : " reads ") + bytes +
                  "; nothing orders it after " + a.name + " on " + PipeName(a.pipe) + " of " +
                  accesses[1].core + " at " + a.site.file + ":" + std::to_string(a.site.line) +
                  ", which " + (finding.earlier_write ? "writes" : "reads") + " them (" +
                  ordered_by + " would)";
    }
    const std::string core = accesses[0].core;
    throw Error(finding.code, Current().machine->config().name, core, b.site.file, b.site.line,
                message, std::move(accesses), std::move(ordered_by));
}

Sanitizer::LocalShadow& Sanitizer::Of(const Local& local) {
    return cores_[instructions_[current_].core].buffers[static_cast<uint32_t>(local.buffer)];
}

void Sanitizer::TouchLocal(const Local& local, int64_t first, int64_t bytes, bool write) {
    Touch(races() ? &Of(local).accesses : nullptr, static_cast<uint32_t>(local.buffer),
          static_cast<uint64_t>(static_cast<int64_t>(local.offset) + first),
          static_cast<uint64_t>(bytes), write);
}

void Sanitizer::ReadLocal(const Local& local, int64_t first, int64_t bytes) {
    if (bytes <= 0) return;
    const auto start = static_cast<uint64_t>(static_cast<int64_t>(local.offset) + first);
    RequireWritten(Of(local).written.data() + start, static_cast<uint64_t>(bytes), start,
                   static_cast<uint32_t>(local.buffer));
    TouchLocal(local, first, bytes, false);
}

void Sanitizer::WriteLocal(const Local& local, int64_t first, int64_t bytes) {
    if (bytes <= 0) return;
    TouchLocal(local, first, bytes, true);
    const int64_t start = static_cast<int64_t>(local.offset) + first;
    std::fill_n(Of(local).written.begin() + start, bytes, uint8_t{1});
}

void Sanitizer::MoveLocal(const Local& dst, int64_t dst_first, const Local& src, int64_t src_first,
                          int64_t bytes) {
    if (bytes <= 0) return;
    TouchLocal(src, src_first, bytes, false);
    TouchLocal(dst, dst_first, bytes, true);
    const auto from = Of(src).written.begin() + static_cast<int64_t>(src.offset) + src_first;
    std::copy_n(from, bytes,
                Of(dst).written.begin() + static_cast<int64_t>(dst.offset) + dst_first);
}

uint8_t* Sanitizer::Written(const Local& local, int64_t first) {
    return Of(local).written.data() + static_cast<int64_t>(local.offset) + first;
}

void Sanitizer::ReadGm(int tensor, uint64_t first, uint64_t bytes) {
    GmShadow& shadow = gm_[static_cast<size_t>(tensor)];
    for (const size_t other : shadow.aliases) {
        const Overlap common =
            Common(tensors_[static_cast<size_t>(tensor)], first, bytes, tensors_[other]);
        ReadGm(static_cast<int>(other), common.first, common.bytes);
    }
    // The checks of the aliases are enough: the kernel may have written the bytes as the output.
    if (!shadow.aliases.empty() || bytes == 0) return;
    const auto memory = kShadowBuffers + static_cast<uint32_t>(tensor);
    if (!shadow.written.empty()) {
        RequireWritten(shadow.written.data() + first, bytes, first, memory);
    }
    Touch(shadow.watched ? &shadow.accesses : nullptr, memory, first, bytes, false);
}

void Sanitizer::WriteGm(int tensor, uint64_t first, uint64_t bytes) {
    if (bytes == 0) return;
    GmShadow& shadow = gm_[static_cast<size_t>(tensor)];
    if (!shadow.written.empty()) {
        std::fill_n(shadow.written.begin() + static_cast<int64_t>(first), bytes, uint8_t{1});
    }
    Touch(shadow.watched ? &shadow.accesses : nullptr,
          kShadowBuffers + static_cast<uint32_t>(tensor), first, bytes, true);
}

void Sanitizer::UpdateGm(int tensor, uint64_t first, uint64_t bytes, uint8_t update) {
    if (bytes == 0) return;
    const auto& written = gm_[static_cast<size_t>(tensor)].written;
    if (!written.empty()) {
        RequireWritten(written.data() + first, bytes, first,
                       kShadowBuffers + static_cast<uint32_t>(tensor), true);
    }
    instructions_[current_].update = update;
    WriteGm(tensor, first, bytes);
}

void Sanitizer::Allocate(uint32_t core, const Local& local) {
    auto& written = cores_[core].buffers[static_cast<uint32_t>(local.buffer)].written;
    std::fill(written.begin() + local.begin, written.begin() + local.end, uint8_t{0});
}

}  // namespace twin
