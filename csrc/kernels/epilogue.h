// Finishes a product's sums on the vector cores beside the cube core that made them:
// dequantisation, a bias, rounding to T.
//
// A cube core's columns are read by its own vector cores alone, so that these wait for that cube
// core instead of for all of them. They deal out its rows, or the columns of a single row, and take
// them in steps that alternate between two slots: sums are loaded while the step before is
// computed, and results stored while the next one is.
#pragma once

#include "arch/dav_c220.h"
#include "kernel_operator.h"
#include "kernels/copy_rows.h"
#include "kernels/dequantiser.h"
#include "kernels/events.h"
#include "kernels/gemm_tiles.h"
#include "kernels/partition.h"
#include "kernels/vector_math.h"
#include "plan/o_proj_plan.h"
#include "plan/ub_bytes.h"

namespace kernels {

template <typename T, bool kQuantised>
class Epilogue {
public:
    __aicore__ inline void Open(AscendC::TPipe* pipe, const OProjAddresses& addresses,
                                const OProjPlan& plan, uint32_t core) {
        pipe_ = pipe;
        has_bias_ = addresses.bias != 0;
        bias_float_ = plan.bias_float != 0;
        row_stride_ = plan.o_proj.n;
        step_columns_ = plan.step_columns;
        step_rows_ = plan.step_rows;
        loaded_ = 0;
        done_ = 0;
        part_ = 0;
        Deal(plan, core);
        bias_gm_ = Gm(addresses.bias);
        sums_gm_.SetGlobalBuffer(
            reinterpret_cast<__gm__ float*>(addresses.workspace + plan.workspace_sums));
        scales_gm_.SetGlobalBuffer(
            reinterpret_cast<__gm__ float*>(addresses.workspace + plan.workspace_scales));
        out_gm_.SetGlobalBuffer(reinterpret_cast<__gm__ T*>(addresses.out));
        const plan::EpilogueUb bytes{step_columns_, step_rows_};
        pipe->InitBuffer(sums_, kSlots * bytes.Sums());
        pipe->InitBuffer(out_, kSlots * bytes.Out());
        pipe->InitBuffer(bias_, bytes.Bias());
        pipe->InitBuffer(landing_, bytes.Landing());
        in_events_.Open(pipe);
        out_events_.Open(pipe);
        if (kQuantised) {
            dynamic_ = Dynamic(plan.format);
            pipe->InitBuffer(token_scales_, kSlots * bytes.TokenScales());
            dequantiser_.Open(pipe, step_columns_);
            dequantiser_.Bind(plan.format, addresses.quant, Gm(addresses.workspace), row_stride_,
                              Gm(addresses.workspace));
        }
    }

    // Loads the scales and biases of the first columns. They do not depend on the sums.
    __aicore__ inline void LoadColumns() {
        if (steps_ > 0) LoadColumns(0);
    }

    // Once the sums are complete: asks for all of them. Of more than two steps this finishes all
    // but the last two.
    __aicore__ inline void LoadSums() {
        while (loaded_ < steps_) {
            if (loaded_ - done_ == kSlots) FinishStep();
            LoadStep();
        }
    }

    // Finishes what LoadSums has left.
    __aicore__ inline void Finish() {
        while (done_ < steps_) FinishStep();
        in_events_.Close(pipe_);
        out_events_.Close(pipe_);
    }

private:
    static constexpr uint32_t kSlots = plan::EpilogueUb::kSlots;

    // A step: rows of some columns, `part` of the core's columns.
    struct Step {
        uint32_t part;
        uint32_t row;
        uint32_t rows;
        uint32_t column;
        uint32_t columns;
    };

    // Selects this core's rows and columns out of its cube core's.
    __aicore__ inline void Deal(const OProjPlan& plan, uint32_t core) {
        constexpr uint32_t kShares = arch::DavC220::kAivPerAic;
        TileCursor cursor;
        cursor.Open(plan.o_proj, core / kShares, plan.vector_cores / kShares);
        row_ = cursor.RowBegin();
        row_end_ = cursor.RowEnd();
        column_ = cursor.ColumnBegin(plan.o_proj);
        column_end_ = cursor.ColumnEnd(plan.o_proj);
        const uint32_t share = core % kShares;
        const uint32_t rows = row_end_ - row_;
        const uint32_t first_row = row_;
        if (rows > 1) {
            row_ = first_row + ShareBegin(rows, kShares, share);
            row_end_ = first_row + ShareBegin(rows, kShares, share + 1);
        } else {
            const uint32_t first = column_;
            const uint32_t strips = (column_end_ - first) / kStrip;
            column_ = first + ShareBegin(strips, kShares, share) * kStrip;
            column_end_ = first + ShareBegin(strips, kShares, share + 1) * kStrip;
        }
        row_steps_ = CeilDiv(row_end_ - row_, step_rows_);
        steps_ = row_steps_ * CeilDiv(column_end_ - column_, step_columns_);
    }

    __aicore__ inline Step GetStep(uint32_t index) const {
        Step step;
        step.part = index / row_steps_;
        step.row = row_ + index % row_steps_ * step_rows_;
        step.rows = Min(step_rows_, row_end_ - step.row);
        step.column = column_ + step.part * step_columns_;
        step.columns = Min(step_columns_, column_end_ - step.column);
        return step;
    }

    __aicore__ inline void LoadColumns(uint32_t part) {
        const Step step = GetStep(part * row_steps_);
        part_ = part;
        if (kQuantised) dequantiser_.LoadColumns(step.column, step.columns);
        if (!has_bias_) return;
        if (bias_float_) {
            LoadBias(landing_.template Get<float>(), step);
        } else {
            LoadBias(landing_.template Get<T>(), step);
        }
    }

    template <typename P>
    __aicore__ inline void LoadBias(const AscendC::LocalTensor<P>& landing, const Step& step) {
        AscendC::GlobalTensor<P> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ P*>(bias_gm_));
        HandOver<AscendC::HardEvent::V_MTE2>(pipe_);
        AscendC::DataCopy(landing, gm[step.column], step.columns);
        HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
        ToFloat(bias_.template Get<float>(), landing, step.columns);
        AscendC::PipeBarrier<PIPE_V>();
    }

    __aicore__ inline void LoadStep() {
        const Step step = GetStep(loaded_);
        const uint32_t slot = loaded_ % kSlots;
        in_events_.WaitFree(slot);
        LoadRows(Sums<float>(slot),
                 sums_gm_[static_cast<uint64_t>(step.row) * row_stride_ + step.column], step.rows,
                 step.columns, row_stride_);
        if (kQuantised && dynamic_) {
            AscendC::DataCopy(TokenScales(slot), scales_gm_[step.row * kBlockFloats],
                              step.rows * kBlockFloats);
        }
        in_events_.SetFull(slot);
        ++loaded_;
    }

    __aicore__ inline void FinishStep() {
        const Step step = GetStep(done_);
        const uint32_t slot = done_ % kSlots;
        const uint32_t count = step.rows * step.columns;
        if (step.part != part_) LoadColumns(step.part);
        const AscendC::LocalTensor<float> x = Sums<float>(slot);
        in_events_.WaitFull(slot);
        if (kQuantised) {
            dequantiser_.Rows(x, Sums<int32_t>(slot), TokenScales(slot), step.rows);
        }
        if (has_bias_) {
            AddRow(x, bias_.template Get<float>(), step.rows, step.columns);
            AscendC::PipeBarrier<PIPE_V>();
        }
        const AscendC::LocalTensor<T> out =
            out_.template Get<T>()[slot * step_rows_ * step_columns_];
        out_events_.WaitFree(slot);
        FromFloat(out, x, count);
        in_events_.SetFree(slot);
        out_events_.SetFull(slot);
        out_events_.WaitFull(slot);
        StoreRows(out_gm_[static_cast<uint64_t>(step.row) * row_stride_ + step.column], out,
                  step.rows, step.columns, row_stride_);
        out_events_.SetFree(slot);
        ++done_;
    }

    template <typename Sum>
    __aicore__ inline AscendC::LocalTensor<Sum> Sums(uint32_t slot) {
        return sums_.template Get<Sum>()[slot * step_rows_ * step_columns_];
    }

    __aicore__ inline AscendC::LocalTensor<float> TokenScales(uint32_t slot) {
        return token_scales_.template Get<float>()[slot * step_rows_ * kBlockFloats];
    }

    AscendC::TPipe* pipe_;
    bool has_bias_;
    bool bias_float_;
    bool dynamic_;
    uint32_t row_stride_;  // columns of C
    uint32_t step_columns_;
    uint32_t step_rows_;
    uint32_t row_;  // the first row and column of this core
    uint32_t row_end_;
    uint32_t column_;
    uint32_t column_end_;
    uint32_t row_steps_;
    uint32_t steps_;
    uint32_t loaded_;  // steps whose sums have been asked for
    uint32_t done_;
    uint32_t part_;  // whose scales and biases are in UB
    GM_ADDR bias_gm_;
    AscendC::GlobalTensor<float> sums_gm_;
    AscendC::GlobalTensor<float> scales_gm_;
    AscendC::GlobalTensor<T> out_gm_;
    Dequantiser dequantiser_;
    RingEvents<AscendC::HardEvent::MTE2_V, AscendC::HardEvent::V_MTE2, kSlots> in_events_;
    RingEvents<AscendC::HardEvent::V_MTE3, AscendC::HardEvent::MTE3_V, kSlots> out_events_;
    AscendC::TBuf<AscendC::TPosition::VECIN> sums_;
    AscendC::TBuf<AscendC::TPosition::VECIN> token_scales_;
    AscendC::TBuf<AscendC::TPosition::VECIN> landing_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> bias_;
    AscendC::TBuf<AscendC::TPosition::VECOUT> out_;
};

}  // namespace kernels
