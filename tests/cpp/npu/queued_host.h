// A framework for npu::AclDevice whose queue the test carries out when it likes.
#pragma once

#include <acl/acl.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "acl_double.h"
#include "npu/acl_device.h"

class QueuedHost : public npu::Host {
public:
    /// What the test sees of the host that the device owns.
    struct View {
        aclrtStream current = reinterpret_cast<aclrtStream>(uintptr_t{0x100});
        std::vector<std::pair<std::string, std::function<void()>>> queue;
        struct Kept {
            const at::Tensor* tensors;
            size_t count;
            aclrtStream stream;
        };
        std::vector<Kept> kept;
        uintptr_t sides = 0;

        void Drain() {
            for (auto& [name, work] : std::exchange(queue, {})) work();
        }
    };

    explicit QueuedHost(View& view) : view_(view) {}

    int8_t TensorType() const override { return 0; }
    aclrtStream CurrentStream() override { return view_.current; }
    aclrtStream SideStreamFor(aclrtStream) override {
        const auto stream = reinterpret_cast<aclrtStream>(0x200 + view_.sides);
        acl_double::NameStream(stream, "side" + std::to_string(view_.sides++));
        return stream;
    }
    void Enqueue(const char* name, std::function<void()> work) override {
        view_.queue.emplace_back(name, std::move(work));
    }
    void KeepFor(const at::Tensor* tensors, size_t count, aclrtStream stream) override {
        view_.kept.push_back({tensors, count, stream});
    }
    bool IsStoredNz(const at::Tensor&) override { return false; }

private:
    View& view_;
};
