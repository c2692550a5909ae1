// LocalTensor and GlobalTensor (数据结构/LocalTensor, 数据结构/GlobalTensor).
#pragma once

#include "ascendc/types.h"

namespace AscendC {

/// A typed view of a local buffer. Every instruction checks that views made by operator[] and
/// ReinterpretCast stay inside the allocation that they came from.
template <typename T>
class LocalTensor {
public:
    using PrimType = T;

    LocalTensor() = default;
    explicit LocalTensor(const twin::Local& local) : local_(local) {}

    LocalTensor operator[](uint32_t offset) const {
        LocalTensor view = *this;
        view.local_.offset += static_cast<uint64_t>(offset) * sizeof(T);
        view.local_.data += static_cast<size_t>(offset) * sizeof(T);
        return view;
    }

    template <typename U>
    LocalTensor<U> ReinterpretCast() const {
        return LocalTensor<U>(local_);
    }

    /// Elements between the start of this view and the end of its allocation.
    uint32_t GetSize() const {
        return static_cast<uint32_t>((local_.end - local_.offset) / sizeof(T));
    }

    T GetValue(uint32_t offset, twin::Site site = twin::Site::Here()) const {
        return *reinterpret_cast<const T*>(
            twin::ScalarAccess((*this)[offset].local_, sizeof(T), false, site));
    }
    void SetValue(uint32_t offset, T value, twin::Site site = twin::Site::Here()) const {
        *reinterpret_cast<T*>(twin::ScalarAccess((*this)[offset].local_, sizeof(T), true, site)) =
            value;
    }

    const twin::Local& local() const { return local_; }

private:
    twin::Local local_;
};

/// A typed view of GM. Accesses are checked against the tensors registered with the launch.
template <typename T>
class GlobalTensor {
public:
    using PrimType = T;

    void SetGlobalBuffer(T* buffer) { global_ = {reinterpret_cast<uint8_t*>(buffer), nullptr}; }
    void SetGlobalBuffer(T* buffer, uint64_t size) {
        global_ = {reinterpret_cast<uint8_t*>(buffer), reinterpret_cast<uint8_t*>(buffer + size)};
    }

    GlobalTensor operator[](uint64_t offset) const {
        GlobalTensor view = *this;
        if (global_.data != nullptr) view.global_.data += offset * sizeof(T);
        return view;
    }

    const twin::Global& global() const { return global_; }

private:
    twin::Global global_;
};

}  // namespace AscendC
