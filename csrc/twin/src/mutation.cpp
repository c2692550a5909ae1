#include "mutation.h"

#include "core.h"

namespace twin {

Mutator::Mutator(CallLog* log, const Mutation* mutation, size_t cores)
    : log_(log != nullptr ? log : &own_log_), mutation_(mutation), cores_(cores) {}

MetCall Mutator::Add(const Key& key, const std::string& kind, const Site& site, const Site& last) {
    const std::string after = last.line == 0 ? last.file : Where(last);
    const auto& noted = *log_->calls.emplace(CallSite{kind, Where(site)}, after).first;
    MetCall met{&noted.first};
    if (mutation_ != nullptr && mutation_->calls.count(noted.first) > 0) {
        met.left_out = mutation_->kind == MutationKind::kLeaveOut;
        met.weakened = mutation_->kind == MutationKind::kWeaken;
    }
    return known_[key] = met;
}

void Mutator::Met(const CallSite* set, const CallSite* wait) {
    if (set != nullptr && wait != nullptr && set != wait) log_->met.emplace(*set, *wait);
}

void Mutator::CrossSet(size_t core, const CallSite* set, int id) {
    cores_[core].sets[static_cast<size_t>(id)].push_back(set);
}

void Mutator::CrossSignal(const std::vector<size_t>& members, const std::vector<size_t>& signalled,
                          int id) {
    const auto flag = static_cast<size_t>(id);
    std::vector<const CallSite*> sets;
    for (const size_t member : members) {
        sets.push_back(cores_[member].sets[flag].front());
        cores_[member].sets[flag].pop_front();
    }
    for (const size_t core : signalled) cores_[core].signals[flag].push_back(sets);
}

void Mutator::CrossWait(size_t core, const CallSite* wait, int id) {
    auto& signals = cores_[core].signals[static_cast<size_t>(id)];
    for (const CallSite* set : signals.front()) Met(set, wait);
    signals.pop_front();
}

uint64_t Rounded(const char* name, uint64_t up, uint64_t none, uint64_t down, Site site) {
    const Core& core = Current();
    Mutator* mutator = core.machine->mutator();
    if (mutator == nullptr) return up;
    const MetCall met =
        mutator->Meet(name, 0, site, core.last_instruction, [&] { return std::string(name); });
    if (down != none) mutator->CanWeaken(met.call);
    return met.left_out ? none : met.weakened ? down : up;
}

}  // namespace twin
