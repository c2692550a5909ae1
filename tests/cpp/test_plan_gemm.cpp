// The tiles of products, by hand: as large as the buffers of a core and the shape allow.
#include <cstdint>
#include <vector>

#include "check.h"
#include "plan/plan_gemm.h"

namespace {

using plan::WeightLayout;

plan::GemmProblem Problem(uint32_t m, uint32_t n, uint32_t k, WeightLayout layout,
                          bool int8 = false) {
    plan::GemmProblem problem;
    problem.name = "gemm";
    problem.m = m;
    problem.n = n;
    problem.k = k;
    problem.int8 = int8;
    problem.cores = 24;
    problem.a_row_stride = k;
    problem.c_row_stride = n;
    problem.layout = layout;
    return problem;
}

struct Tiles {
    uint32_t m, n, k, a_depth, l0_k, l0c_slots, b_stride;
    uint32_t c_tiles = 1;
};

void CheckTiles(const plan::GemmProblem& problem, const Tiles& expected) {
    const GemmPlan plan = plan::PlanGemm(problem);
    CHECK_EQ(plan.tile_m, expected.m);
    CHECK_EQ(plan.tile_n, expected.n);
    CHECK_EQ(plan.tile_k, expected.k);
    CHECK_EQ(plan.a_depth, expected.a_depth);
    CHECK_EQ(plan.l0_k, expected.l0_k);
    CHECK_EQ(plan.l0c_slots, expected.l0c_slots);
    CHECK_EQ(plan.b_stride, expected.b_stride);
    CHECK_EQ(plan.c_tiles, expected.c_tiles);
}

}  // namespace

// 64 KiB of weights: rows of 512 bytes, which [n, k] has along the depth. A of 120 KiB, or of 76
// for more than 64 rows; 32 KiB of each in L0, 64 of sums.
TEST(tiles_are_as_large_as_the_buffers) {
    // 128 columns of 256; all of A.
    CheckTiles(Problem(16, 7168, 1024, WeightLayout::kOutIn), {16, 128, 256, 1024, 128, 1, 1024});
    CheckTiles(Problem(16, 7168, 1024, WeightLayout::kOutInNz), {16, 128, 256, 1024, 128, 1, 7168});
    // [k, n] the other way round; tiles of 256 columns.
    CheckTiles(Problem(16, 7168, 1024, WeightLayout::kInOut), {16, 256, 128, 1024, 64, 1, 7168});
    CheckTiles(Problem(16, 7168, 1024, WeightLayout::kInOutNz), {16, 256, 128, 1024, 64, 1, 1024});
    // Twice as many elements of int8.
    CheckTiles(Problem(16, 24 * 512, 1024, WeightLayout::kInOut, true),
               {16, 512, 128, 1024, 64, 1, 24 * 512});
    // Pieces of A: 122,880 bytes are 3,840 elements of 16 rows, 15 tiles of the weight; 960 of 64
    // are three.
    CheckTiles(Problem(1, 7168, 16384, WeightLayout::kOutIn), {1, 128, 256, 3840, 128, 1, 16384});
    CheckTiles(Problem(50, 7168, 16384, WeightLayout::kOutIn), {50, 128, 256, 768, 128, 1, 16384});
    // 77,824 of 80 rows are 486: one tile. Sums of 80 rows leave 204 columns of 256.
    CheckTiles(Problem(65, 7168, 512, WeightLayout::kInOut), {65, 192, 160, 480, 80, 1, 7168});
    // Tiles of 128 rows, sums of 128 columns; of A no more than 64 KiB to a tile of the weight.
    CheckTiles(Problem(300, 7168, 512, WeightLayout::kInOut),
               {128, 128, 256, 256, 128, 1, 7168, 2});
    // A core has no more than its share, and a product no more than it is: the depth of a tile is
    // 64 KiB over them, or all there is.
    CheckTiles(Problem(16, 24 * 32, 7168, WeightLayout::kOutIn),
               {16, 32, 1024, 3072, 512, 1, 7168});
    CheckTiles(Problem(16, 16, 48, WeightLayout::kOutIn), {16, 16, 48, 48, 48, 1, 48});
    // A part of a fused weight, whose rows are its own.
    plan::GemmProblem part = Problem(16, 128, 7168, WeightLayout::kOutInNz);
    part.stored_n = 192;
    CHECK_EQ(plan::PlanGemm(part).b_stride, 192u);
}

// From 65 rows and a depth of 1024 on, a share of up to 176 columns is one tile, which takes both
// slots of sums.
TEST(a_share_that_fits_l0c_is_one_tile) {
    const auto problem = [](uint32_t m, uint32_t columns, uint32_t k) {
        return Problem(m, 24 * columns, k, WeightLayout::kOutIn);
    };
    CheckTiles(problem(128, 176, 1024), {128, 176, 256, 256, 80, 2, 1024});
    CheckTiles(problem(65, 144, 1024), {65, 144, 256, 256, 112, 2, 1024});
    for (const plan::GemmProblem& smaller :
         {problem(128, 192, 1024), problem(128, 176, 1008), problem(64, 176, 1024)}) {
        CheckTiles(smaller, {smaller.m, 128, 256, smaller.m > 64 ? 256u : 768u, 128, 1, smaller.k});
    }
    // The depth that counts is a core's.
    plan::GemmProblem shared = problem(128, 88, 2032);
    shared.depth_shares = 2;
    CHECK_EQ(plan::PlanGemm(shared).l0c_slots, 1u);
    shared.k = shared.a_row_stride = 2048;
    CHECK_EQ(plan::PlanGemm(shared).l0c_slots, 2u);
}

// From 129 rows on, two tiles of columns for each piece of A, if a core has that many in one batch;
// all pairs of tiles are of the same width.
TEST(many_rows_take_two_tiles_in_turns) {
    const auto problem = [](uint32_t columns, WeightLayout layout, bool int8 = false) {
        return Problem(129, 24 * columns, 1024, layout, int8);
    };
    CheckTiles(problem(128, WeightLayout::kOutIn), {128, 128, 256, 256, 128, 1, 1024});
    CheckTiles(problem(144, WeightLayout::kOutIn), {128, 80, 256, 256, 128, 1, 1024, 2});
    CheckTiles(problem(256, WeightLayout::kOutIn), {128, 128, 256, 256, 128, 1, 1024, 2});
    // 352 columns are 192 and 160.
    CheckTiles(problem(352, WeightLayout::kOutInNz), {128, 96, 256, 256, 128, 1, 24 * 352, 2});
    // Rows of 256 bytes stay as long as they are.
    CheckTiles(problem(352, WeightLayout::kInOut), {128, 128, 256, 256, 128, 1, 24 * 352, 2});
    CheckTiles(problem(352, WeightLayout::kInOutNz, true), {128, 96, 512, 512, 256, 1, 1024, 2});
    plan::GemmProblem heads = problem(128, WeightLayout::kInOut);
    heads.batches = 24;
    heads.n = 128;
    CHECK_EQ(plan::PlanGemm(heads).c_tiles, 1u);
    heads.n = 256;
    CHECK_EQ(plan::PlanGemm(heads).c_tiles, 2u);
    heads.m = 128;
    CHECK_EQ(plan::PlanGemm(heads).c_tiles, 1u);
}

TEST(products_that_no_plan_can_be_made_for) {
    const auto refuses = [](auto change, const char* text) {
        plan::GemmProblem problem = Problem(4, 64, 64, WeightLayout::kOutIn);
        change(problem);
        CHECK_THROWS_WITH(plan::PlanGemm(problem), std::invalid_argument, text);
    };
    refuses([](auto& p) { p.m = 0; }, "gemm: rows must be positive, got 0");
    refuses([](auto& p) { p.n = 0; }, "output columns must be a positive multiple of 16, got 0");
    refuses([](auto& p) { p.k = 0; }, "depth must be a positive multiple of 16, got 0");
    refuses([](auto& p) { p.k = 24; }, "depth must be a positive multiple of 16, got 24");
    refuses([](auto& p) { p.k = 65536; },
            "the stride of the weight must be at most 65535 units of 2 bytes, got 65536");
    refuses([](auto& p) { p.n = 65536, p.layout = WeightLayout::kOutInNz; },
            "the stride of the weight must be at most 65535 units of a row, got 65536");
    plan::GemmProblem int8 = Problem(4, 131072, 64, WeightLayout::kInOut, true);
    CHECK_THROWS_WITH(plan::PlanGemm(int8), std::invalid_argument, "units of 2 bytes, got 65536");
    int8.n = int8.c_row_stride = 131040;
    CHECK_EQ(plan::PlanGemm(int8).b_stride, 131040u);
}

// 8 tiles of 128 rows and 36 strips for 20 cores: 4 x 5 computes as little as 1 x 20, and loads
// 256 rows and 128 columns, the least. One strip: a tile of rows for each core.
TEST(rows_are_dealt_out_in_the_best_way) {
    const auto shares = [](uint32_t m, uint32_t n, uint32_t k) {
        plan::GemmProblem problem = Problem(m, n, k, WeightLayout::kOutIn);
        problem.cores = 20;
        return plan::BestRowShares(problem);
    };
    CHECK_EQ(shares(1024, 576, 6144), 4u);
    CHECK_EQ(shares(20 * 128, 16, 1024), 20u);
    CHECK_EQ(shares(1, 16, 1024), 1u);
    // Two tiles, the second of one row: both groups would have half of the columns.
    CHECK_EQ(shares(129, 32, 1024), 2u);
}

// Half the columns for each group, and half the depth.
TEST(depth_is_dealt_out_in_the_best_way) {
    const auto shares = [](uint32_t n, uint32_t k, uint32_t most) {
        plan::GemmProblem problem = Problem(16, n, k, WeightLayout::kOutIn);
        return plan::BestDepthShares(problem, most);
    };
    CHECK_EQ(shares(2112, 7168, 2), 2u);
    CHECK_EQ(shares(2112, 7168, 1), 1u);
    // One strip and six tiles of depth: one for each share, or two where only four are allowed,
    // which three of them do as well. Of seven a share has two at least.
    CHECK_EQ(shares(16, 6 * 2048, 24), 6u);
    CHECK_EQ(shares(16, 6 * 2048, 6), 6u);
    CHECK_EQ(shares(16, 6 * 2048, 4), 3u);
    CHECK_EQ(shares(16, 7 * 2048, 24), 4u);
    CHECK_EQ(shares(16, 2048, 24), 1u);
    CHECK_EQ(shares(16, 2064, 24), 2u);
    // Never more than the rows of a tile.
    plan::GemmProblem problem = Problem(129, 2112, 7168, WeightLayout::kOutIn);
    CHECK_EQ(plan::BestDepthShares(problem, 2), 1u);
    problem.m = 128;
    CHECK_EQ(plan::BestDepthShares(problem, 2), 2u);
}

// What the products of a kernel share has room for each of them.
TEST(buffers_of_several_products) {
    // Both slots of sums, beside a product that takes one, and pieces of A of one head: the room in
    // L1 holds four.
    GemmPlan large = plan::PlanGemm(Problem(65, 24 * 144, 1024, WeightLayout::kOutIn));
    plan::GemmProblem heads = Problem(65, 64, 128, WeightLayout::kInOut);
    heads.batches = 16;
    const GemmPlan small = plan::PlanGemm(heads);
    const GemmBuffers buffers = plan::PlanGemmBuffers({large, small});
    CHECK_EQ(buffers.b_slots, 4u);
    CHECK_EQ(buffers.b_slot_bytes, 144u * 256 * 2);
    CHECK_EQ(buffers.l0c_slot_bytes, 23552u);  // 80 x 144 x 4 / 2 = 23,040, rounded up to 1,024
    CHECK_EQ(buffers.a_slot_bytes, 4u * 80 * 128 * 2);
    heads.batches = 2;
    CHECK_EQ(plan::PlanGemmBuffers({plan::PlanGemm(heads)}).a_slot_bytes, 2u * 80 * 128 * 2);
    // Tiles that do not fit a core.
    large.tile_n = 512;
    CHECK_THROWS_WITH(plan::PlanGemmBuffers({large}), std::logic_error, "do not fit a core");
    large.tile_n = 144;
    large.tile_k = 4096;
    CHECK_THROWS_WITH(plan::PlanGemmBuffers({large}), std::logic_error, "do not fit a core");
}
