// Which GM lines are in L2: LRU over lines, whole capacity.
#pragma once

#include <cstdint>
#include <list>
#include <unordered_map>

namespace model {

class L2Cache {
public:
    L2Cache(uint64_t capacity_bytes, uint32_t line_bytes) : lines_(capacity_bytes / line_bytes) {}

    bool Contains(uint64_t line) const { return where_.count(line) != 0; }

    /// Reads or writes a line: it becomes the most recently used one.
    void Touch(uint64_t line) {
        const auto found = where_.find(line);
        if (found != where_.end()) {
            order_.splice(order_.begin(), order_, found->second);
            return;
        }
        if (where_.size() == lines_) {
            where_.erase(order_.back());
            order_.pop_back();
        }
        order_.push_front(line);
        where_[line] = order_.begin();
    }

private:
    size_t lines_;
    std::list<uint64_t> order_;  ///< most recent first
    std::unordered_map<uint64_t, std::list<uint64_t>::iterator> where_;
};

}  // namespace model
