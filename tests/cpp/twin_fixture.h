// Launches a lambda on one core, or one group of cores, of the twin and looks into its buffers.
//
// Expected values in the tests that use this are worked out from the pages of the Ascend C
// documentation (docs/zh/api/SIMD-API/基础API), which every test names, never from the twin.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "kernel_operator.h"
#include "twin/checks/kernel_parts.h"
#include "twin/checks/pair.h"
#include "twin/launch.h"

namespace fixture {

using AscendC::GlobalTensor;
using AscendC::LocalTensor;
using AscendC::TPipe;
using AscendC::TPosition;
using twin::GmTensor;
using twin::KernelKind;
using twin::checks::kL1;
using twin::checks::kUb;
using twin::checks::TwinWorks;

template <typename T>
GmTensor Input(const char* name, std::vector<T>& data) {
    return {name, data.data(), data.size() * sizeof(T), false};
}

template <typename T>
GmTensor Output(const char* name, std::vector<T>& data) {
    return {name, data.data(), data.size() * sizeof(T), true};
}

inline twin::LaunchConfig Config(KernelKind kind, std::vector<GmTensor> tensors,
                                 uint32_t blocks = 1, const char* chip = "Ascend910_9391") {
    twin::LaunchConfig config;
    config.name = "golden";
    config.chip = &arch::FindChip(chip);
    config.kind = kind;
    config.block_count = blocks;
    config.tensors = std::move(tensors);
    return config;
}

template <typename Kernel>
void OnAic(std::vector<GmTensor> tensors, const Kernel& kernel) {
    twin::Launch(Config(KernelKind::kAicOnly, std::move(tensors)), kernel);
}

template <typename Kernel>
void OnAiv(std::vector<GmTensor> tensors, const Kernel& kernel) {
    twin::Launch(Config(KernelKind::kAivOnly, std::move(tensors)), kernel);
}

/// One AIC with its two AIVs.
template <typename Kernel>
void OnGroup(std::vector<GmTensor> tensors, const Kernel& kernel) {
    twin::Launch(Config(KernelKind::kMixAic1Aiv2, std::move(tensors)), kernel);
}

template <typename T>
GlobalTensor<T> Gm(std::vector<T>& data) {
    GlobalTensor<T> tensor;
    tensor.SetGlobalBuffer(data.data());
    return tensor;
}

/// A GM view that starts `bytes` bytes into `data`, aligned or not.
template <typename T, typename U>
GlobalTensor<T> GmAt(std::vector<U>& data, size_t bytes) {
    GlobalTensor<T> tensor;
    tensor.SetGlobalBuffer(reinterpret_cast<T*>(reinterpret_cast<uint8_t*>(data.data()) + bytes));
    return tensor;
}

/// Reads element `index` from the host: scalar access exists for UB only.
template <typename T>
T Peek(const LocalTensor<T>& tensor, size_t index) {
    T value;
    std::memcpy(&value, tensor.local().data + index * sizeof(T), sizeof(T));
    return value;
}

template <typename T>
void Poke(const LocalTensor<T>& tensor, size_t index, T value) {
    std::memcpy(tensor.local().data + index * sizeof(T), &value, sizeof(T));
}

/// Elements [first, first + count).
template <typename T>
std::vector<T> Values(const LocalTensor<T>& tensor, size_t first, size_t count) {
    std::vector<T> values(count);
    std::memcpy(values.data(), tensor.local().data + first * sizeof(T), count * sizeof(T));
    return values;
}

template <typename T>
std::vector<T> Values(const std::vector<T>& data, size_t first, size_t count) {
    return {data.begin() + static_cast<std::ptrdiff_t>(first),
            data.begin() + static_cast<std::ptrdiff_t>(first + count)};
}

/// `count` elements of the pipe's memory at `position`, every byte set to `fill`.
template <TPosition position, typename T>
LocalTensor<T> Allocate(TPipe& pipe, uint32_t count, uint8_t fill = 0) {
    const LocalTensor<T> tensor = twin::checks::Allocate<position, T>(pipe, count);
    std::memset(tensor.local().data, fill, count * sizeof(T));
    return tensor;
}

/// `count` elements of the pipe's memory at `position`; element i is i.
template <TPosition position, typename T>
LocalTensor<T> Numbered(TPipe& pipe, uint32_t count) {
    const LocalTensor<T> tensor = Allocate<position, T>(pipe, count);
    for (uint32_t i = 0; i < count; ++i) Poke(tensor, i, static_cast<T>(i));
    return tensor;
}

/// The copy that turns ND into NZ, with the fields of its parameters in their order.
inline AscendC::Nd2NzParams Nd2Nz(uint16_t matrices, uint16_t rows, uint16_t columns,
                                  uint16_t source_matrix_stride, uint16_t source_row,
                                  uint16_t column_block_stride, uint16_t row_stride,
                                  uint16_t matrix_stride) {
    AscendC::Nd2NzParams params;
    params.ndNum = matrices;
    params.nValue = rows;
    params.dValue = columns;
    params.srcNdMatrixStride = source_matrix_stride;
    params.srcDValue = source_row;
    params.dstNzC0Stride = column_block_stride;
    params.dstNzNStride = row_stride;
    params.dstNzMatrixStride = matrix_stride;
    return params;
}

/// The listed elements; unlike a braced list it can stand in a CHECK.
template <typename T, typename... Elements>
std::vector<T> Of(Elements... elements) {
    return {static_cast<T>(elements)...};
}

/// `value`, `count` times.
template <typename T>
std::vector<T> Repeat(size_t count, T value) {
    return std::vector<T>(count, value);
}

constexpr uint16_t kFill16 = 0xAAAA;  // a buffer filled with 0xAA as 16-bit elements

/// first, first + 1, ...
template <typename T>
std::vector<T> Ramp(size_t count, int first = 0) {
    std::vector<T> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = static_cast<T>(first + static_cast<int>(i));
    return values;
}

/// The half that is `value`, which has to be zero or a normal half without rounding.
inline half Half(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    const uint32_t sign = bits >> 16 & 0x8000;
    if ((bits & 0x7FFFFFFF) == 0) return {static_cast<uint16_t>(sign)};
    const uint32_t exponent = (bits >> 23 & 0xFF) - 127 + 15;
    return {static_cast<uint16_t>(sign | exponent << 10 | (bits >> 13 & 0x3FF))};
}

/// The bfloat16 that is `value`, which must not need rounding.
inline bfloat16_t Bf16(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    return {static_cast<uint16_t>(bits >> 16)};
}

inline float FloatOfBits(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

/// `launch` breaks the rule `code`, the report contains every one of `parts`, and the twin can be
/// used again afterwards.
template <typename Launch>
void Breaks(const std::string& code, std::initializer_list<std::string> parts, const Launch& launch,
            const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    try {
        launch();
        check::Report(false, file, line, "no error; expected " + code);
    } catch (const twin::Error& error) {
        const std::string what = error.what();
        check::Report(error.code == code, file, line,
                      "code " + error.code + ", expected " + code + ": " + what);
        for (const std::string& part : parts) {
            check::Report(what.find(part) != std::string::npos, file, line,
                          "\"" + part + "\" is not in \"" + what + "\"");
        }
    }
    check::Report(TwinWorks(), file, line, "the twin does not work after the error");
}

template <typename Kernel>
void AicBreaks(const std::string& code, std::initializer_list<std::string> parts,
               std::vector<GmTensor> tensors, const Kernel& kernel,
               const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    Breaks(code, parts, [&] { OnAic(std::move(tensors), kernel); }, file, line);
}

template <typename Kernel>
void AivBreaks(const std::string& code, std::initializer_list<std::string> parts,
               std::vector<GmTensor> tensors, const Kernel& kernel,
               const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    Breaks(code, parts, [&] { OnAiv(std::move(tensors), kernel); }, file, line);
}

/// On one group: an AIC with its two AIVs.
template <typename Kernel>
void GroupBreaks(const std::string& code, std::initializer_list<std::string> parts,
                 const Kernel& kernel, const char* file = __builtin_FILE(),
                 int line = __builtin_LINE()) {
    Breaks(code, parts, [&] { OnGroup({}, kernel); }, file, line);
}

}  // namespace fixture
