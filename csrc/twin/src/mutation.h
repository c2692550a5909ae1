// Notes which synchronisation calls and roundings a launch reaches, and what becomes of them.
// Private to the twin.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "twin/detail.h"
#include "twin/mutation.h"

namespace twin {

/// A call as a core meets it; false where a launch neither notes nor changes calls.
struct MetCall {
    const CallSite* call = nullptr;
    bool left_out = false;
    bool weakened = false;
};

class Mutator {
public:
    /// Either may be null.
    Mutator(CallLog* log, const Mutation* mutation, size_t cores);

    /// `detail` and `name` tell apart the calls of one line; `kind` makes the text of
    /// CallSite::kind and is asked once.
    template <typename Kind>
    MetCall Meet(const char* name, int detail, const Site& site, const Site& last, Kind&& kind) {
        const Key key{name, detail, site.file, site.line};
        const auto found = known_.find(key);
        return found != known_.end() ? found->second : Add(key, kind(), site, last);
    }

    /// MutationKind::kWeaken has an effect on `call`.
    void CanWeaken(const CallSite* call) { log_->weakened.insert(*call); }
    /// `wait` has been let through by `set`.
    void Met(const CallSite* set, const CallSite* wait);
    void CrossSet(size_t core, const CallSite* set, int id);
    /// The oldest sets of `members` have become a signal for `signalled`.
    void CrossSignal(const std::vector<size_t>& members, const std::vector<size_t>& signalled,
                     int id);
    void CrossWait(size_t core, const CallSite* wait, int id);

private:
    using Key = std::tuple<const char*, int, const char*, int>;
    struct CoreFlags {
        std::array<std::deque<const CallSite*>, 16> sets;
        std::array<std::deque<std::vector<const CallSite*>>, 16> signals;
    };

    MetCall Add(const Key& key, const std::string& kind, const Site& site, const Site& last);

    CallLog* log_;
    const Mutation* mutation_;
    CallLog own_log_;
    std::map<Key, MetCall> known_;
    std::vector<CoreFlags> cores_;
};

}  // namespace twin
