// Plans that were made before: decode asks for the same few over and over.
#pragma once

#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>

namespace plan {

/// The fields of a problem, one after the other: two problems are the same if their keys are.
class PlanKey {
public:
    PlanKey() { text_.reserve(kExpectedBytes); }

    /// Field by field: bytes between fields mean nothing.
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

/// At most kMostPlans; when it is full it starts anew. May be used by several threads.
template <typename Plan>
class PlanCache {
public:
    static constexpr size_t kMostPlans = 8192;  // a model of 64 layers at 128 batch sizes

    template <typename Make>
    Plan Find(const PlanKey& key, const Make& make) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            const auto found = plans_.find(key.text());
            if (found != plans_.end()) return found->second;
        }
        Plan plan = make();
        const std::lock_guard<std::mutex> lock(mutex_);
        if (plans_.size() >= kMostPlans) plans_.clear();
        plans_.emplace(key.text(), plan);
        ++made_;
        return plan;
    }

    /// Plans that were made since the process began: calls that found none.
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
