// Dynamic quantisation of the rows of a matrix alone, on the vector cores: the kernel that
// frameworks run before a W8A8 product.
#include "kernel_operator.h"
#include "kernels/events.h"
#include "kernels/partition.h"
#include "kernels/quantiser.h"
#include "kernels/vector_math.h"
#include "lab/kernels/quantise_plan.h"

namespace kernels {

// Each row is loaded once, as a whole, while the one before it is quantised.
template <typename T>
class RowsQuantiser {
public:
    __aicore__ inline void Run(const QuantiseAddresses& addresses, const QuantisePlan& plan) {
        const uint32_t cores = AscendC::GetBlockNum();
        const uint32_t core = AscendC::GetBlockIdx();
        const uint32_t begin = ShareBegin(plan.rows, cores, core);
        const uint32_t end = ShareBegin(plan.rows, cores, core + 1);
        if (begin == end) return;
        width_ = plan.width;
        source_.SetGlobalBuffer(reinterpret_cast<__gm__ T*>(addresses.source));
        pipe_.InitBuffer(landing_, kSlots * width_ * sizeof(T));
        pipe_.InitBuffer(x_, plan.held * sizeof(float));
        landed_.Open(&pipe_);
        quantiser_.Open(&pipe_, plan.held);
        quantiser_.BindDynamic();
        Load(begin);
        for (uint32_t row = begin; row < end; ++row) {
            if (row + 1 < end) Load(row + 1);
            landed_.WaitFull(row % kSlots);
            quantiser_.RowInUb(Landing(row), Gm(addresses.target), Gm(addresses.scales), row,
                               width_, x_.template Get<float>());
            landed_.SetFree(row % kSlots);
        }
        landed_.Close(&pipe_);
    }

private:
    static constexpr uint32_t kSlots = 2;

    __aicore__ inline AscendC::LocalTensor<T> Landing(uint32_t row) {
        return landing_.template Get<T>()[row % kSlots * width_];
    }

    __aicore__ inline void Load(uint32_t row) {
        landed_.WaitFree(row % kSlots);
        AscendC::DataCopy(Landing(row), source_[static_cast<uint64_t>(row) * width_], width_);
        landed_.SetFull(row % kSlots);
    }

    AscendC::TPipe pipe_;
    AscendC::GlobalTensor<T> source_;
    Quantiser<T> quantiser_;
    RingEvents<AscendC::HardEvent::MTE2_V, AscendC::HardEvent::V_MTE2, kSlots> landed_;
    uint32_t width_;
    AscendC::TBuf<AscendC::TPosition::VECIN> landing_;
    AscendC::TBuf<AscendC::TPosition::VECIN> x_;
};

template <typename T>
__aicore__ inline void Quantise(const QuantiseAddresses& addresses, const QuantisePlan& plan) {
    if ASCEND_IS_AIV {
        RowsQuantiser<T> quantiser;
        quantiser.Run(addresses, plan);
    }
}

}  // namespace kernels

extern "C" __global__ __aicore__ void quantise_bf16(QuantiseAddresses addresses,
                                                    QuantisePlan plan) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY);
    kernels::Quantise<bfloat16_t>(addresses, plan);
}

extern "C" __global__ __aicore__ void quantise_fp16(QuantiseAddresses addresses,
                                                    QuantisePlan plan) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY);
    kernels::Quantise<half>(addresses, plan);
}
