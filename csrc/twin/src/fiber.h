// A fiber: code that runs on a stack of its own and can pause and be resumed.
//
// It is built on ucontext. The address sanitizer is told of every switch; otherwise it would report
// accesses to the other stack.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace twin {

class Fiber {
public:
    Fiber() = default;
    ~Fiber() = default;
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    bool started() const { return stack_ != nullptr; }

    /// Runs `body` on a new stack until it pauses or returns. `body` must not throw.
    void Start(size_t stack_bytes, std::function<void()> body) {
        body_ = std::move(body);
        stack_.reset(new char[stack_bytes]);
        getcontext(&own_);
        own_.uc_stack.ss_sp = stack_.get();
        own_.uc_stack.ss_size = stack_bytes;
        own_.uc_link = nullptr;
        // makecontext passes ints only, so the pointer travels in two halves.
        const auto self = reinterpret_cast<uintptr_t>(this);
        makecontext(&own_, reinterpret_cast<void (*)()>(&Fiber::Entry), 2,
                    static_cast<unsigned>(self >> 32), static_cast<unsigned>(self & 0xFFFFFFFFu));
        Resume();
    }

    /// Continues the fiber after its last Pause.
    void Resume() {
        void* fake = nullptr;
        StartSwitch(&fake, stack_.get(), own_.uc_stack.ss_size);
        swapcontext(&caller_, &own_);
        FinishSwitch(fake, nullptr, nullptr);
    }

    /// Returns control to whoever started or resumed the fiber. Called on the fiber itself.
    void Pause() {
        void* fake = nullptr;
        StartSwitch(&fake, caller_stack_, caller_stack_bytes_);
        swapcontext(&own_, &caller_);
        FinishSwitch(fake, &caller_stack_, &caller_stack_bytes_);
    }

private:
    static void Entry(unsigned high, unsigned low) {
        auto* fiber = reinterpret_cast<Fiber*>((static_cast<uintptr_t>(high) << 32) | low);
        FinishSwitch(nullptr, &fiber->caller_stack_, &fiber->caller_stack_bytes_);
        fiber->body_();
        StartSwitch(nullptr, fiber->caller_stack_, fiber->caller_stack_bytes_);
        swapcontext(&fiber->own_, &fiber->caller_);
    }

#if defined(__SANITIZE_ADDRESS__)
    static void StartSwitch(void** fake, const void* stack, size_t bytes) {
        __sanitizer_start_switch_fiber(fake, stack, bytes);
    }
    static void FinishSwitch(void* fake, const void** stack, size_t* bytes) {
        __sanitizer_finish_switch_fiber(fake, stack, bytes);
    }
#else
    static void StartSwitch(void**, const void*, size_t) {}
    static void FinishSwitch(void*, const void**, size_t*) {}
#endif

    std::function<void()> body_;
    std::unique_ptr<char[]> stack_;
    ucontext_t own_{};
    ucontext_t caller_{};
    const void* caller_stack_ = nullptr;
    size_t caller_stack_bytes_ = 0;
};

}  // namespace twin
