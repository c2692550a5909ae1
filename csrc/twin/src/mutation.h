// Records which synchronisation calls and roundings a launch reaches, and applies mutations to
// them. Private to the twin.
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

/// A call that a core has reached, and how the mutation changes it. Null and false if the launch
/// neither records nor changes calls.
struct MetCall {
    const CallSite* call = nullptr;
    bool left_out = false;
    bool weakened = false;
};

/// The calls of one launch.
class Mutator {
public:
    /// `log` and `mutation` may be null.
    Mutator(CallLog* log, const Mutation* mutation, size_t cores);

    /// Records a call and returns how it is changed. `name` and `detail` distinguish the calls of
    /// one line; `last` is the site of the core's last instruction. `kind` returns the text for
    /// CallSite::kind and is called only the first time.
    template <typename Kind>
    MetCall Meet(const char* name, int detail, const Site& site, const Site& last, Kind&& kind) {
        const Key key{name, detail, site.file, site.line};
        const auto found = known_.find(key);
        return found != known_.end() ? found->second : Add(key, kind(), site, last);
    }

    /// Records that MutationKind::kWeaken has an effect on `call`.
    void CanWeaken(const CallSite* call) { log_->weakened.insert(*call); }
    /// Records that `set` has released `wait`.
    void Met(const CallSite* set, const CallSite* wait);
    void CrossSet(size_t core, const CallSite* set, int id);
    /// Records that the oldest pending sets of `members` have become a signal for `signalled`.
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
