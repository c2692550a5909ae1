// What a walk goes through: problems of the planners, with what a caller would bring along.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <random>
#include <string>
#include <vector>

#include "arch/chip.h"
#include "lab/kernels/copy_plan.h"
#include "plan/plan_o_proj.h"
#include "plan/plan_prefetch.h"
#include "plan/plan_prolog.h"

namespace walk {

/// Attention dimensions before tensor parallelism, in elements.
struct Model {
    std::string name;
    uint32_t hidden;
    uint32_t heads;
    uint32_t q_lora_rank;  ///< 0: none
    uint32_t kv_lora_rank;
    uint32_t nope_dim;
    uint32_t v_dim;
    uint32_t indexer_heads;  ///< 0: none
    uint32_t indexer_dim;
};

/// A model a line: its name and eight numbers, in the order of Model. Throws std::runtime_error for
/// a line that is none.
std::vector<Model> ReadModels(std::istream& lines);

/// The draws of one case: the same seed gives the same case.
class Draws {
public:
    explicit Draws(uint64_t seed) : engine_(seed) {}
    uint64_t Below(uint64_t bound) { return engine_() % bound; }
    bool OneIn(uint64_t count) { return Below(count) == 0; }
    bool Coin() { return OneIn(2); }
    template <typename T>
    T Of(std::initializer_list<T> values) {
        return *(values.begin() + Below(values.size()));
    }

private:
    std::mt19937_64 engine_;
};

struct PrologCase {
    plan::PrologProblem problem;
    plan::PrefetchRequest prefetch;
    const arch::Chip* chip;
    bool half;          ///< fp16, else bf16
    bool norm_bias;     ///< of both latents
    bool input_offset;  ///< of static quantisation
    bool quant_bias;
    uint32_t cache_blocks;
    bool padding;  ///< some slots are -1
};

struct OProjCase {
    plan::OProjProblem problem;
    plan::PrefetchRequest prefetch;
    const arch::Chip* chip;
    bool half;
    bool input_offset;
    bool quant_bias;
};

struct MatmulCase {
    plan::GemmProblem problem;  ///< with row_shares
    bool half;
};

struct PrefetchCase {
    std::vector<plan::PrefetchRange> ranges;  ///< addresses are offsets until they are bound
    plan::LoadingCores type;
    uint32_t cores;
};

struct CopyCase {
    CopyPlan plan;  ///< its address is the machine's
    bool to_l1;     ///< cube cores, else vector cores
    uint32_t cores;
};

PrologCase DrawProlog(const Model& model, uint32_t tp, uint32_t tokens, const arch::Chip& chip,
                      Draws& draws);
OProjCase DrawOProj(const Model& model, uint32_t tp, uint32_t tokens, const arch::Chip& chip,
                    Draws& draws);
MatmulCase DrawMatmul(uint32_t rows, const arch::Chip& chip, Draws& draws);
PrefetchCase DrawPrefetch(const arch::Chip& chip, Draws& draws);
CopyCase DrawCopy(const arch::Chip& chip, Draws& draws);
/// Dimensions of no known model, within the planners' limits.
Model DrawModel(Draws& draws);

/// One line: every field that decides the plan.
std::string Text(const PrologCase& prolog);
std::string Text(const OProjCase& o_proj);
std::string Text(const MatmulCase& matmul);
std::string Text(const PrefetchCase& prefetch);
std::string Text(const CopyCase& copy);

}  // namespace walk
