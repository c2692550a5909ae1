// Building blocks of the small kernels. Private to the checks and to the tests of the twin.
#pragma once

#include <cstdint>

#include "kernel_operator.h"

namespace twin::checks {

using AscendC::GlobalTensor;
using AscendC::HardEvent;
using AscendC::LocalTensor;
using AscendC::TPipe;
using AscendC::TPosition;

constexpr auto kUb = TPosition::VECCALC;
constexpr auto kL1 = TPosition::A1;
constexpr auto kL0a = TPosition::A2;
constexpr auto kL0b = TPosition::B2;
constexpr auto kL0c = TPosition::CO1;

/// Number of elements of most tensors in UB here, which is 256 bytes of float.
constexpr uint32_t kCount = 64;

constexpr uint32_t kBytes = kCount * sizeof(float);

constexpr half kHalfOne{0x3C00};

using InQueue = AscendC::TQue<TPosition::VECIN, 1>;
using OutQueue = AscendC::TQue<TPosition::VECOUT, 1>;

/// A queue that has its memory already: `buffers` buffers of kCount floats each.
template <typename Queue>
struct Ready : Queue {
    explicit Ready(TPipe& pipe, uint8_t buffers = 1) {
        pipe.InitBuffer(static_cast<Queue&>(*this), buffers, kBytes);
    }
};

/// Allocates `count` elements of the pipe's memory at `position`. They are unwritten.
template <TPosition position, typename T>
LocalTensor<T> Allocate(TPipe& pipe, uint32_t count) {
    AscendC::TBuf<position> buffer;  // the tensor may outlive it, since the pipe owns the memory
    pipe.InitBuffer(buffer, count * static_cast<uint32_t>(sizeof(T)));
    return buffer.template Get<T>();
}

inline LocalTensor<float> Ub(TPipe& pipe) { return Allocate<kUb, float>(pipe, kCount); }

/// Sets an event and waits for it, if `on`.
template <HardEvent event>
void Sync(bool on = true, int id = 0) {
    if (!on) return;
    AscendC::SetFlag<event>(id);
    AscendC::WaitFlag<event>(id);
}

inline void All() { AscendC::PipeBarrier<PIPE_ALL>(); }

/// Allocates kCount floats in UB and fills them with ones, complete on return.
inline LocalTensor<float> Ones(TPipe& pipe) {
    const auto ub = Ub(pipe);
    AscendC::Duplicate(ub, 1.0F, kCount);
    All();
    return ub;
}

/// The buffers of a cube core for one product of `rows` x 16 by 16 x 16. A and B are loaded from
/// the same L1 buffer.
struct Cube {
    TPipe pipe;
    LocalTensor<half> l1, l0a, l0b;
    LocalTensor<float> l0c;

    explicit Cube(uint32_t rows = 16)
        : l1(Allocate<kL1, half>(pipe, rows * 16)),
          l0a(Allocate<kL0a, half>(pipe, rows * 16)),
          l0b(Allocate<kL0b, half>(pipe, 256)),
          l0c(Allocate<kL0c, float>(pipe, rows * 16)) {}
};

inline AscendC::LoadData2DParams Fractals(uint32_t count = 1) {
    AscendC::LoadData2DParams params;
    params.repeatTimes = static_cast<uint8_t>(count);
    params.srcStride = 1;
    return params;
}

inline AscendC::MmadParams Shape(uint16_t m, uint16_t n, uint16_t k, bool initialise = true) {
    AscendC::MmadParams params;
    params.m = m;
    params.n = n;
    params.k = k;
    params.cmatrixInitVal = initialise;
    return params;
}

/// Stores `rows` x 16 elements of L0C to contiguous rows of 16 elements.
inline AscendC::FixpipeParamsV220 StoreRows(uint16_t rows) {
    AscendC::FixpipeParamsV220 params;
    params.nSize = 16;
    params.mSize = rows;
    params.srcStride = static_cast<uint16_t>((rows + 15) / 16 * 16);
    params.dstStride = 16;
    return params;
}

/// Fills L0C with a product of 16 x 16, complete on return.
inline void FillL0c(Cube& cube, const GlobalTensor<half>& in) {
    AscendC::DataCopy(cube.l1, in, 256);
    All();
    AscendC::LoadData(cube.l0a, cube.l1, Fractals());
    AscendC::LoadData(cube.l0b, cube.l1, Fractals());
    All();
    AscendC::Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(16, 16, 16));
    All();
}

}  // namespace twin::checks
