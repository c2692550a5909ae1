#include "model/prefetch_account.h"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <utility>

#include "arch/chip.h"
#include "arch/dav_c220.h"
#include "model/device_memory.h"
#include "model/happens_before.h"
#include "model/l2_state.h"

namespace model {

namespace {

using twin::TraceOp;

constexpr uint32_t kUnit = 32;  // GM bytes accounted as one: the block size of all transfers

enum class Fate : uint8_t {
    kNone,
    kRead,        // read by its consumer, no prefetch so far
    kPrefetched,  // prefetched, not read so far
    kLanded,      // every read so far came after the prefetch and found the unit in L2
    kMissed       // a read did not
};

struct Unit {
    uint32_t core = 0;    ///< vector core that prefetched it; 0 where a cube core did
    uint32_t load = 0;    ///< number of the load among the loads of that vector core, else 0
    uint32_t launch = 0;  ///< launch of the load, or of the last read if nothing prefetched it
    Fate fate = Fate::kNone;
};

struct Weight {
    int64_t last_reader = -1;  ///< number of the last launch whose cube cores read it
    std::vector<Unit> units;
};

template <typename Visit>
void ForUnits(const twin::TraceRecord& record, Visit visit) {
    for (uint32_t block = 0; block < record.block_count; ++block) {
        const uint64_t start = record.gm_offset + block * record.block_stride;
        const uint64_t last = start + record.block_bytes - 1;
        for (uint64_t unit = start / kUnit; unit <= last / kUnit; ++unit) visit(unit);
    }
}

bool HasProducts(const TraceFile& launch) {
    for (const auto& core : launch.cores) {
        for (const twin::TraceRecord& record : core) {
            if (record.op == TraceOp::kMmad) return true;
        }
    }
    return false;
}

class Accountant {
public:
    Accountant(const std::vector<TraceFile>& launches, const std::vector<std::string>& weights)
        : launches_(launches), l2_(uint64_t{arch::FindChip(launches[0].chip).l2_mib} << 20) {
        DeviceMemory memory;
        for (TraceFile& launch : launches_) memory.Place(launch);
        for (const std::string& name : weights) {
            bool found = false;
            for (const TraceFile& launch : launches_) {
                const int tensor = launch.FindTensor(name);
                if (tensor < 0) continue;
                found = true;
                weights_[Place(launch.tensors[tensor])].units.resize(
                    launch.tensors[tensor].bytes / kUnit + 1);
            }
            if (!found) {
                const char* which = launches_.size() == 1 ? "the trace has no" : "no trace has a";
                throw std::invalid_argument(std::string("account_prefetch: ") + which +
                                            " tensor '" + name + "'");
            }
        }
    }

    PrefetchAccount Run() {
        for (launch_ = 0; launch_ < launches_.size(); ++launch_) {
            const TraceFile& launch = launches_[launch_];
            tensors_.clear();
            multiplies_ = HasProducts(launch);
            for (const TraceTensorInfo& tensor : launch.tensors) {
                const auto weight = weights_.find(Place(tensor));
                tensors_.push_back(weight == weights_.end() ? nullptr : &weight->second);
            }
            Replay(launch, [this](const ReplayedInstruction& instruction) { Visit(instruction); });
        }
        for (const auto& [place, weight] : weights_) {
            for (const Unit& unit : weight.units) Count(weight, unit);
        }
        account_.planned += account_.duplicated;
        account_.unused += account_.duplicated;
        return account_;
    }

private:
    using Address = std::pair<uint64_t, uint64_t>;  ///< address, size in bytes

    static Address Place(const TraceTensorInfo& tensor) { return {tensor.address, tensor.bytes}; }

    void Visit(const ReplayedInstruction& instruction) {
        const twin::TraceRecord& record = instruction.record;
        if (record.tensor == twin::kNoTensor) return;
        Weight* weight = tensors_[record.tensor];
        if (weight != nullptr && record.op == TraceOp::kLoad) {
            const bool prefetch = instruction.load_index > 0 || !multiplies_;
            if (!prefetch) weight->last_reader = launch_;
            ForUnits(record, [&](uint64_t index) {
                Unit& unit = weight->units[index];
                if (prefetch) {
                    Prefetch(unit, instruction);
                } else {
                    Consume(unit, Line(record, index), instruction);
                }
            });
        }
        uint64_t touched = UINT64_MAX;
        ForUnits(record, [&](uint64_t unit) {
            const uint64_t line = Line(record, unit);
            if (line == touched) return;
            touched = line;
            L2Access access;
            l2_.Read(line, arch::DavC220::kL2LineBytes, kNoTransfer, access);
        });
    }

    /// Address of the L2 line that holds a unit of the record's tensor.
    uint64_t Line(const twin::TraceRecord& record, uint64_t unit) const {
        const uint64_t address = launches_[launch_].tensors[record.tensor].address + unit * kUnit;
        return address / arch::DavC220::kL2LineBytes * arch::DavC220::kL2LineBytes;
    }

    void Prefetch(Unit& unit, const ReplayedInstruction& instruction) {
        if (unit.fate == Fate::kNone || unit.fate == Fate::kRead) {
            // The replay visited a read in this launch before this prefetch, so nothing orders the
            // read after the prefetch: the prefetch came too late for it.
            const bool missed = unit.fate == Fate::kRead && unit.launch == launch_;
            const uint32_t aics = launches_[launch_].aic_count;
            unit = {instruction.core < aics ? 0 : instruction.core - aics, instruction.load_index,
                    launch_, missed ? Fate::kMissed : Fate::kPrefetched};
        } else {
            account_.duplicated += kUnit;
        }
    }

    void Consume(Unit& unit, uint64_t line, const ReplayedInstruction& instruction) {
        if (unit.fate == Fate::kNone || unit.fate == Fate::kRead) {
            unit.fate = Fate::kRead;
            unit.launch = launch_;
        }
        if (unit.fate == Fate::kRead || unit.fate == Fate::kMissed) return;
        const bool ordered = unit.launch < launch_ || instruction.known[unit.core] >= unit.load;
        unit.fate = ordered && l2_.Contains(line) ? Fate::kLanded : Fate::kMissed;
    }

    void Count(const Weight& weight, const Unit& unit) {
        if (unit.fate == Fate::kNone || unit.fate == Fate::kRead) return;
        account_.planned += kUnit;
        if (weight.last_reader < int64_t{unit.launch}) {
            account_.pending += kUnit;
        } else if (unit.fate == Fate::kLanded) {
            account_.landed += kUnit;
        } else {
            account_.unused += kUnit;
        }
    }

    std::vector<TraceFile> launches_;
    std::map<Address, Weight> weights_;
    std::vector<Weight*> tensors_;  ///< for each tensor of the current launch; null if no weight
    uint32_t launch_ = 0;
    bool multiplies_ = false;  ///< whether the current launch has products
    L2State l2_;
    PrefetchAccount account_;
};

}  // namespace

PrefetchAccount AccountPrefetch(const std::vector<TraceFile>& launches,
                                const std::vector<std::string>& weights) {
    if (launches.empty()) {
        throw std::invalid_argument("account_prefetch: expected one or more launches, got none");
    }
    for (const TraceFile& launch : launches) {
        if (launch.chip != launches[0].chip) {
            throw std::invalid_argument("account_prefetch: expected launches of one chip, got '" +
                                        launches[0].chip + "' and '" + launch.chip + "'");
        }
    }
    return Accountant(launches, weights).Run();
}

}  // namespace model
