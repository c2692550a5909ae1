// A cache of plans: decode asks for the same few plans again and again.
#pragma once

#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>

namespace plan {

/// The fields of a problem, concatenated: two problems are equal if their keys are.
class PlanKey {
public:
    PlanKey() { text_.reserve(kExpectedBytes); }

    /// Appends fields one by one, since padding bytes between fields have no defined value.
    template <typename... Fields>
    PlanKey& Add(const Fields&... fields) {
        static_assert(((std::is_arithmetic_v<Fields> || std::is_enum_v<Fields>) && ...));
        size_t end = text_.size();
        text_.resize(end + (sizeof(Fields) + ...));
        ((std::memcpy(text_.data() + end, &fields, sizeof(Fields)), end += sizeof(Fields)), ...);
        return *this;
    }
    const std::string& text() const { return text_; }

private:
    static constexpr size_t kExpectedBytes = 512;  // more than any problem

    std::string text_;
};

/// Holds at most kMaxPlans plans and is emptied when it is full. Thread-safe.
template <typename Plan>
class PlanCache {
public:
    static constexpr size_t kMaxPlans = 8192;  // a model of 64 layers at 128 batch sizes

    template <typename Make>
    Plan Find(const PlanKey& key, const Make& make) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            const auto found = plans_.find(key.text());
            if (found != plans_.end()) return found->second;
        }
        Plan plan = make();
        const std::lock_guard<std::mutex> lock(mutex_);
        if (plans_.size() >= kMaxPlans) plans_.clear();
        plans_.emplace(key.text(), plan);
        ++made_;
        return plan;
    }

    /// Number of plans made since the process began, which is the number of cache misses.
    uint64_t made() {
        const std::lock_guard<std::mutex> lock(mutex_);
        return made_;
    }

private:
    std::mutex mutex_;
    uint64_t made_ = 0;
    std::unordered_map<std::string, Plan> plans_;
};

}  // namespace plan
