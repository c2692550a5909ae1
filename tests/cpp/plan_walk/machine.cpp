#include "plan_walk/machine.h"

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>

#include "plan_walk/state.h"

namespace walk {

namespace {

constexpr int kAddressBits = 40;       ///< of a tensor
constexpr uint32_t kMaxFlagSets = 15;  // CrossCoreSetFlag, constraints
constexpr int kFlags = 16;

size_t IndexOf(uint64_t address) { return (address >> kAddressBits) - 1; }

}  // namespace

void Fail(const char* code, const char* format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    throw Fault(code, text);
}

uint32_t Machine::UbBytes() const {
    return state_->allocated[static_cast<int>(twin::TraceBuffer::kUb)];
}

Machine::Machine() : state_(new State) {}
Machine::~Machine() { delete state_; }

uint64_t Machine::Add(const std::string& name, uint64_t bytes, bool writable) {
    if (bytes == 0) return 0;
    const uint64_t address = AddSpace();
    tensors_.back().push_back({name, address, address + bytes, writable});
    return address;
}

uint64_t Machine::AddSpace() {
    tensors_.emplace_back();
    return static_cast<uint64_t>(tensors_.size()) << kAddressBits;
}

void Machine::AddPart(uint64_t space, uint64_t size, const std::string& name, uint64_t offset,
                      uint64_t bytes) {
    if (bytes > size || offset > size - bytes) {
        Fail("workspace", "%s takes bytes [%llu, %llu) of a workspace of %llu", name.c_str(),
             static_cast<unsigned long long>(offset),
             static_cast<unsigned long long>(offset + bytes),
             static_cast<unsigned long long>(size));
    }
    std::vector<Region>& parts = tensors_[IndexOf(space)];
    const Region part = {name, space + offset, space + offset + bytes, true};
    for (const Region& other : parts) {
        if (part.begin < other.end && other.begin < part.end) {
            Fail("workspace", "%s at byte %llu overlaps %s at byte %llu of %llu bytes",
                 name.c_str(), static_cast<unsigned long long>(offset), other.name.c_str(),
                 static_cast<unsigned long long>(other.begin - space),
                 static_cast<unsigned long long>(other.end - other.begin));
        }
    }
    parts.push_back(part);
}

void Machine::SetSlots(uint64_t address, uint32_t slot_bytes, std::vector<int64_t> slots) {
    slots_address_ = address;
    slot_bytes_ = slot_bytes;
    slots_ = std::move(slots);
}

bool Machine::IsSlots(uint64_t address) const {
    return slots_address_ != 0 && IndexOf(address) == IndexOf(slots_address_);
}

uint64_t Machine::SlotIndex(uint64_t address) const {
    return (address - slots_address_) / slot_bytes_;
}

int64_t Machine::SlotAt(uint64_t index) const {
    if (index >= slots_.size()) {
        Fail("out-of-bounds", "slot %llu is read of a batch of %zu tokens",
             static_cast<unsigned long long>(index), slots_.size());
    }
    return slots_[index];
}

void Machine::Expect(const std::string& region, Port port, uint64_t bytes, uint32_t unit) {
    for (const std::vector<Region>& tensor : tensors_) {
        for (const Region& part : tensor) {
            if (part.name != region) continue;
            Count count;
            count.expected = {region, port, bytes, unit};
            count.begin = part.begin;
            count.units.resize((part.end - part.begin + unit - 1) / unit);
            counts_.push_back(std::move(count));
            return;
        }
    }
    throw std::logic_error("no region is called " + region);
}

void Machine::RequireExpected() const {
    constexpr const char* kPorts[] = {"the fixpipe", "stores", "loads"};
    for (const Count& count : counts_) {
        const char* port = kPorts[static_cast<int>(count.expected.port)];
        if (count.twice) {
            Fail("share", "%s: byte %llu is touched twice by %s", count.expected.region.c_str(),
                 static_cast<unsigned long long>(count.first_twice), port);
        }
        if (count.touched != count.expected.bytes) {
            Fail("share", "%s: expected %llu bytes by %s of all cores, got %llu",
                 count.expected.region.c_str(),
                 static_cast<unsigned long long>(count.expected.bytes), port,
                 static_cast<unsigned long long>(count.touched));
        }
    }
}

void Machine::Touch(const char* instruction, uint64_t address, uint64_t bytes, uint64_t count,
                    uint64_t stride, Port port) {
    const uint64_t end = address + (count - 1) * stride + bytes;
    const size_t index = IndexOf(address);
    const Region* found = nullptr;
    if (index < tensors_.size()) {
        for (const Region& region : tensors_[index]) {
            if (address >= region.begin && end <= region.end) found = &region;
        }
    }
    if (found == nullptr) {
        std::string near;
        if (index < tensors_.size()) {
            for (const Region& region : tensors_[index]) {
                near += " " + region.name + " [" +
                        std::to_string(region.begin & ((uint64_t{1} << kAddressBits) - 1)) + ", " +
                        std::to_string(region.end & ((uint64_t{1} << kAddressBits) - 1)) + ")";
            }
        }
        const uint64_t base = static_cast<uint64_t>(index + 1) << kAddressBits;
        Fail("out-of-bounds",
             "%s touches bytes [%llu, %llu) of GM, which no tensor has as a whole:%s", instruction,
             static_cast<unsigned long long>(address - base),
             static_cast<unsigned long long>(end - base), near.c_str());
    }
    if (port != Port::kLoad && !found->writable) {
        Fail("write-to-input", "%s writes to %s", instruction, found->name.c_str());
    }
    for (Count& counted : counts_) {
        if (counted.begin != found->begin || counted.expected.port != port) continue;
        const uint32_t unit = counted.expected.unit;
        for (uint64_t i = 0; i < count; ++i) {
            const uint64_t first = address + i * stride - counted.begin;
            for (uint64_t at = first / unit; at < (first + bytes + unit - 1) / unit; ++at) {
                if (counted.units[at] && !counted.twice) {
                    counted.twice = true;
                    counted.first_twice = at * unit;
                }
                counted.units[at] = true;
            }
        }
        counted.touched += count * bytes;
    }
}

std::vector<FlagCall> Machine::Run(const CoreId& core, const std::function<void()>& kernel) {
    State& state = *state_;
    state.Start(core);
    SetRunning(this);
    try {
        kernel();
        state.RequireOver();
    } catch (const Fault& fault) {
        instructions_ += state.instructions;
        SetRunning(nullptr);
        throw Fault(fault.code, std::string(fault.what() + fault.code.size() + 2) + " (" +
                                    (core.aic ? "AIC " : "AIV ") + std::to_string(core.block) +
                                    ", " + state.site.file + ":" + std::to_string(state.site.line) +
                                    ")");
    }
    SetRunning(nullptr);
    instructions_ += state.instructions;
    return state.flags;
}

void RequireFlagsMeet(const std::vector<FlagCall>& aic, const std::vector<FlagCall>& aiv) {
    // Flags of mode 2 reach the other side; each side counts its own.
    std::array<std::array<uint32_t, kFlags>, 2> counters{};
    const std::array<const std::vector<FlagCall>*, 2> calls = {&aic, &aiv};
    std::array<size_t, 2> next{};
    for (bool moved = true; moved;) {
        moved = false;
        for (size_t side = 0; side < 2; ++side) {
            while (next[side] < calls[side]->size()) {
                const FlagCall& call = (*calls[side])[next[side]];
                if (call.set) {
                    uint32_t& counter = counters[call.mode == 2 ? 1 - side : side][call.flag];
                    if (++counter > kMaxFlagSets) {
                        Fail("cross-core-counter", "flag %u is set %u times ahead of its waits",
                             call.flag, counter);
                    }
                } else {
                    uint32_t& counter = counters[side][call.flag];
                    if (counter == 0) break;
                    --counter;
                }
                ++next[side];
                moved = true;
            }
        }
    }
    for (size_t side = 0; side < 2; ++side) {
        if (next[side] < calls[side]->size()) {
            Fail("deadlock", "an %s waits for flag %u, its call %zu of %zu, which nobody sets",
                 side == 0 ? "AIC" : "AIV", (*calls[side])[next[side]].flag, next[side] + 1,
                 calls[side]->size());
        }
        for (int flag = 0; flag < kFlags; ++flag) {
            if (counters[side][flag] != 0) {
                Fail("unpaired-cross-core-flag",
                     "flag %d of an %s is set %u times more than it is "
                     "waited for",
                     flag, side == 0 ? "AIC" : "AIV", counters[side][flag]);
            }
        }
    }
}

void RequireSameBarriers(const std::vector<FlagCall>& one, const std::vector<FlagCall>& other) {
    const auto barriers = [](const std::vector<FlagCall>& calls) {
        return std::count_if(calls.begin(), calls.end(),
                             [](const FlagCall& call) { return call.set && call.mode == 0; });
    };
    if (barriers(one) != barriers(other)) {
        Fail("deadlock", "an AIC comes to %lld barriers of all AICs, another one to %lld",
             static_cast<long long>(barriers(one)), static_cast<long long>(barriers(other)));
    }
}

}  // namespace walk
