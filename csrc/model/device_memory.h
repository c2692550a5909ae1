// Gives the tensors of a host trace the addresses that they would have on a device.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>

#include "model/trace_reader.h"

namespace model {

/// Gives every tensor an address range of its own, in the order in which the tensors turn up.
/// Addresses are multiples of 512 bytes, and at least 512 bytes separate two tensors, as in
/// torch_npu's allocator (Ascend/pytorch, NPUCachingAllocator.cpp, kMinBlockSize). Host addresses
/// would not do: they are less aligned and differ from run to run, and with them would differ
/// which tensors share a line of L2.
class DeviceMemory {
public:
    /// Returns the same address whenever it is called with the same tensor.
    uint64_t Place(uint64_t address, uint64_t bytes) { return Find({"", address, bytes}); }

    /// Replaces the addresses in `trace`. A tensor that the kernel only reads keeps its place as
    /// long as its host address is the same. A tensor that it writes takes the place of the one of
    /// that name and size that a kernel wrote earlier: a device's allocator reuses the memory,
    /// while it is chance whether the host's does.
    void Place(TraceFile& trace) {
        for (TraceTensorInfo& tensor : trace.tensors) {
            tensor.address = tensor.writable ? Find({tensor.name, 0, tensor.bytes})
                                             : Place(tensor.address, tensor.bytes);
        }
    }

private:
    static constexpr uint64_t kAlignment = 512;

    using Key = std::tuple<std::string, uint64_t, uint64_t>;

    uint64_t Find(const Key& key) {
        const auto [place, added] = places_.try_emplace(key, next_);
        if (added) next_ += (std::get<2>(key) + 2 * kAlignment - 1) / kAlignment * kAlignment;
        return place->second;
    }

    std::map<Key, uint64_t> places_;
    uint64_t next_ = uint64_t{1} << 40;
};

}  // namespace model
