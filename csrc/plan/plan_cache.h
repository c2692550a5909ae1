// Plans that were made before: decode asks for the same few over and over.
#pragma once

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
        (AddOne(fields), ...);
        return *this;
    }
    const std::string& text() const { return text_; }

private:
    template <typename Field>
    void AddOne(const Field& field) {
        static_assert(std::is_arithmetic_v<Field> || std::is_enum_v<Field>);
        char bytes[sizeof(Field)];
        std::memcpy(bytes, &field, sizeof(Field));
        text_.append(bytes, sizeof(Field));
    }

    static constexpr size_t kExpectedBytes = 512;  // more than any problem without a prefetch

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
        return plan;
    }

private:
    std::mutex mutex_;
    std::unordered_map<std::string, Plan> plans_;
};

}  // namespace plan
