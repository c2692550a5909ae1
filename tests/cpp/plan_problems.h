// Problems of the planners that several tests plan.
#pragma once

#include "plan/plan_prolog.h"

/// The prolog of DeepSeek-V3 on one of `tp` ranks: bf16, row-major, split caches, no indexer.
inline plan::PrologProblem DeepSeekV3(uint32_t tokens, uint32_t tp) {
    plan::PrologProblem problem;
    problem.tokens = tokens;
    problem.hidden_size = 7168;
    problem.heads = 128 / tp;
    problem.q_lora_rank = 1536;
    problem.kv_lora_rank = 512;
    problem.nope_dim = 128;
    problem.rope_dim = 64;
    problem.latent_cache = {{128 * 512, 128, 512, 0, 0}, {128 * 64, 128, 64, 0, 0}, 0};
    return problem;
}
