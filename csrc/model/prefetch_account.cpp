#include "model/prefetch_account.h"

#include <algorithm>
#include <stdexcept>

#include "arch/chip.h"
#include "model/happens_before.h"
#include "model/l2_state.h"
#include "model/trace_reader.h"

namespace model {

namespace {

using twin::TraceOp;
using twin::TracePipe;

constexpr uint32_t kUnit = 32;  // GM bytes that are accounted together: the block of all transfers

enum class Fate : uint8_t {
    kNone,
    kRead,        // by its consumer, no prefetch so far
    kPrefetched,  // not read so far
    kLanded,
    kMissed
};

struct Unit {
    uint32_t core = 0;  ///< vector core that prefetched it
    uint32_t load = 0;  ///< its load
    Fate fate = Fate::kNone;
};

struct Weight {
    bool tracked = false;
    bool consumed = false;
    uint64_t first_line = 0;
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

class Accountant {
public:
    Accountant(const TraceFile& trace, const std::vector<std::string>& weights)
        : trace_(trace),
          weights_(trace.tensors.size()),
          l2_(uint64_t{arch::FindChip(trace.chip).l2_mib} << 20) {
        uint64_t line = 0;
        for (size_t i = 0; i < weights_.size(); ++i) {
            weights_[i].first_line = line;
            line += trace.tensors[i].bytes / arch::kL2LineBytes + 1;
        }
        for (const std::string& name : weights) {
            const int tensor = trace.FindTensor(name);
            if (tensor < 0)
                throw std::invalid_argument("account_prefetch: the trace has no tensor '" + name +
                                            "'");
            weights_[tensor].tracked = true;
            weights_[tensor].units.resize(trace.tensors[tensor].bytes / kUnit + 1);
        }
    }

    PrefetchAccount Run() {
        Replay(trace_, [this](const ReplayedInstruction& instruction) { Visit(instruction); });
        for (const Weight& weight : weights_) {
            for (const Unit& unit : weight.units) {
                if (unit.fate == Fate::kNone || unit.fate == Fate::kRead) continue;
                account_.planned += kUnit;
                if (!weight.consumed) {
                    account_.pending += kUnit;
                } else if (unit.fate == Fate::kLanded) {
                    account_.landed += kUnit;
                } else {
                    account_.unused += kUnit;
                }
            }
        }
        account_.planned += account_.duplicated;
        account_.unused += account_.duplicated;
        return account_;
    }

private:
    void Visit(const ReplayedInstruction& instruction) {
        const twin::TraceRecord& record = instruction.record;
        if (record.tensor == twin::kNoTensor) return;
        Weight& weight = weights_[record.tensor];
        const bool load = record.op == TraceOp::kLoad;
        const bool vector = instruction.load_index > 0;
        if (weight.tracked && load && vector) {
            ForUnits(record, [&](uint64_t unit) { Prefetch(weight.units[unit], instruction); });
        } else if (weight.tracked && load) {
            weight.consumed = true;
            ForUnits(record, [&](uint64_t unit) { Consume(weight, unit, instruction); });
        }
        uint64_t touched = UINT64_MAX;
        ForUnits(record, [&](uint64_t unit) {
            const uint64_t line = weight.first_line + unit * kUnit / arch::kL2LineBytes;
            if (line == touched) return;
            touched = line;
            L2Access access;
            l2_.Read(line * arch::kL2LineBytes, arch::kL2LineBytes, kNoTransfer, access);
        });
    }

    void Prefetch(Unit& unit, const ReplayedInstruction& instruction) {
        if (unit.fate == Fate::kNone || unit.fate == Fate::kRead) {
            // A read that this replay saw earlier was not ordered after the prefetch: it missed it.
            const Fate fate = unit.fate == Fate::kRead ? Fate::kMissed : Fate::kPrefetched;
            unit = {instruction.core - trace_.aic_count, instruction.load_index, fate};
        } else {
            account_.duplicated += kUnit;
        }
    }

    void Consume(Weight& weight, uint64_t index, const ReplayedInstruction& instruction) {
        Unit& unit = weight.units[index];
        if (unit.fate == Fate::kNone) unit.fate = Fate::kRead;
        if (unit.fate == Fate::kRead || unit.fate == Fate::kMissed) return;
        const bool ordered = instruction.known[unit.core] >= unit.load;
        const bool resident = l2_.Contains(weight.first_line * arch::kL2LineBytes + index * kUnit);
        unit.fate = ordered && resident ? Fate::kLanded : Fate::kMissed;
    }

    const TraceFile& trace_;
    std::vector<Weight> weights_;
    L2State l2_;
    PrefetchAccount account_;
};

}  // namespace

PrefetchAccount AccountPrefetch(const std::string& trace, const std::vector<std::string>& weights) {
    const TraceFile file = ReadTrace(trace);
    return Accountant(file, weights).Run();
}

}  // namespace model
