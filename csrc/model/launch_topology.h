// Which cores of a launch belong together, and how its flags are told apart.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "model/trace_reader.h"

namespace model {

constexpr uint32_t kCrossFlags = 16;
constexpr size_t kPipes = 7;  ///< all of twin::TracePipe but kAll

/// The cores of a launch, numbered as in TraceFile::cores.
class LaunchTopology {
public:
    explicit LaunchTopology(const TraceFile& trace)
        : cores_(static_cast<uint32_t>(trace.cores.size())), aic_count_(trace.aic_count) {}

    uint32_t cores() const { return cores_; }
    bool IsAic(uint32_t core) const { return core < aic_count_; }
    /// AIV 2i and 2i + 1 belong to AIC i; without AICs every AIV is a block.
    uint32_t Block(uint32_t core) const {
        if (IsAic(core)) return core;
        const uint32_t aiv = core - aic_count_;
        return aic_count_ > 0 ? aiv / 2 : aiv;
    }
    /// Whether `other` is in the group of `core` for flags of `mode`: a flag becomes a signal once
    /// every core of the group has set it.
    bool SetsTogether(uint32_t core, uint32_t other, uint32_t mode) const {
        return IsAic(core) == IsAic(other) && (mode == 0 || Block(core) == Block(other));
    }
    /// Whether `other` receives that signal: modes 0 and 1 signal the group itself, mode 2 signals
    /// the cores of the other type in the same block.
    bool Signals(uint32_t core, uint32_t other, uint32_t mode) const {
        if (mode != 2) return SetsTogether(core, other, mode);
        return IsAic(core) != IsAic(other) && Block(core) == Block(other);
    }

private:
    uint32_t cores_;
    uint32_t aic_count_;
};

/// A key that is different for all events of a core, made of source pipe, destination pipe and id.
inline uint32_t EventKey(const twin::TraceRecord& record) {
    return (record.args[0] * 8 + record.args[1]) * 8 + record.args[2];
}

/// Returns `id`. Throws std::invalid_argument for a flag that does not exist.
inline uint32_t CheckedFlag(uint32_t id) {
    if (id >= kCrossFlags)
        throw std::invalid_argument("trace: cross-core flag " + std::to_string(id));
    return id;
}

}  // namespace model
