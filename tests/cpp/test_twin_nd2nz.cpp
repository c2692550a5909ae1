// Golden vectors of the copies from GM to L1 that turn ND into NZ, with their limits.
#include <cstdint>
#include <vector>

#include "twin_fixture.h"

using namespace fixture;
using AscendC::DataCopy;
using AscendC::Nd2NzParams;
using AscendC::PipeBarrier;

// ---- 矩阵计算（ISASI）/矩阵计算的搬入/DataCopy（GMToL1随路转换-ND2NZ搬运） ----

// Figure 2: 16 x 23 halves of a 32 column matrix. Two column blocks of 16 x 16; columns 23 to 31
// are zero.
TEST(nd2nz_puts_column_blocks_one_after_the_other_and_zeroes_the_tail) {
    std::vector<uint16_t> from = Ramp<uint16_t>(16 * 32, 1);  // row r, column c: 32 r + c + 1
    OnAic({Input("from", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 528, 0xAA);
        DataCopy(l1, Gm(from), Nd2Nz(1, 16, 23, 0, 32, 16, 1, 0));
        CHECK_EQ(Values(l1, 0, 16), Ramp<uint16_t>(16, 1));          // row 0, columns 0-15
        CHECK_EQ(Values(l1, 16, 16), Ramp<uint16_t>(16, 33));        // row 1, columns 0-15
        CHECK_EQ(Values(l1, 15 * 16, 16), Ramp<uint16_t>(16, 481));  // row 15, columns 0-15
        CHECK_EQ(Values(l1, 256, 16),
                 Of<uint16_t>(17, 18, 19, 20, 21, 22, 23, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        CHECK_EQ(Values(l1, 256 + 15 * 16, 16),
                 Of<uint16_t>(497, 498, 499, 500, 501, 502, 503, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        CHECK_EQ(Values(l1, 512, 16), Repeat<uint16_t>(16, kFill16));
    });
}

// Figure 3: two matrices of 8 x 23, 384 elements apart; in L1 rows lie 2 units apart, column blocks
// 37 units, matrices 320 elements (20 units). A unit is 32 bytes.
TEST(nd2nz_strides_of_rows_column_blocks_and_matrices) {
    std::vector<uint16_t> from = Ramp<uint16_t>(384 + 8 * 32, 1);
    OnAic({Input("from", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 73 * 16, 0xAA);
        DataCopy(l1, Gm(from), Nd2Nz(2, 8, 23, 384, 32, 37, 2, 320));
        const auto unit = [&](uint32_t index) { return Values(l1, index * 16, 16); };
        const auto untouched = Repeat<uint16_t>(16, kFill16);
        CHECK_EQ(unit(0), Ramp<uint16_t>(16, 1));           // matrix 0, row 0
        CHECK_EQ(unit(2), Ramp<uint16_t>(16, 33));          // matrix 0, row 1
        CHECK_EQ(unit(14), Ramp<uint16_t>(16, 225));        // matrix 0, row 7
        CHECK_EQ(unit(20), Ramp<uint16_t>(16, 385));        // matrix 1, row 0
        CHECK_EQ(unit(34), Ramp<uint16_t>(16, 385 + 224));  // matrix 1, row 7
        CHECK_EQ(unit(37), Of<uint16_t>(17, 18, 19, 20, 21, 22, 23, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        CHECK_EQ(unit(51),
                 Of<uint16_t>(241, 242, 243, 244, 245, 246, 247, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        CHECK_EQ(unit(57),
                 Of<uint16_t>(401, 402, 403, 404, 405, 406, 407, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        CHECK_EQ(unit(71),
                 Of<uint16_t>(625, 626, 627, 628, 629, 630, 631, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        for (uint32_t index :
             {1u, 13u, 15u, 16u, 19u, 21u, 35u, 36u, 38u, 52u, 56u, 58u, 70u, 72u}) {
            CHECK_EQ(unit(index), untouched);
        }
    });
}

// Only columns are filled up. Rows up to the next multiple of 16 stay as they were.
TEST(nd2nz_leaves_the_rows_beyond_the_last_alone) {
    std::vector<uint16_t> from = Ramp<uint16_t>(3 * 16, 1);
    OnAic({Input("from", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 256, 0xAA);
        DataCopy(l1, Gm(from), Nd2Nz(1, 3, 16, 0, 16, 16, 1, 0));
        CHECK_EQ(Values(l1, 0, 48), Ramp<uint16_t>(48, 1));
        CHECK_EQ(Values(l1, 48, 208), Repeat<uint16_t>(208, kFill16));
    });
}

// A unit of 32 bytes holds 32 int8 and 8 floats.
TEST(nd2nz_column_blocks_are_32_bytes_of_any_element) {
    std::vector<int8_t> bytes = Ramp<int8_t>(2 * 40);
    OnAic({Input("x", bytes)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, int8_t>(pipe, 128, 0xAA);
        DataCopy(l1, Gm(bytes), Nd2Nz(1, 2, 40, 0, 40, 2, 1, 0));
        CHECK_EQ(Values(l1, 0, 32), Ramp<int8_t>(32));
        CHECK_EQ(Values(l1, 32, 32), Ramp<int8_t>(32, 40));
        CHECK_EQ(Values(l1, 64, 8), Ramp<int8_t>(8, 32));
        CHECK_EQ(Values(l1, 72, 24), Repeat<int8_t>(24, 0));
        CHECK_EQ(Values(l1, 96, 8), Ramp<int8_t>(8, 72));
        CHECK_EQ(Values(l1, 104, 24), Repeat<int8_t>(24, 0));
    });
    std::vector<float> floats = Ramp<float>(2 * 10, 1);
    OnAic({Input("x", floats)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, float>(pipe, 32, 0xAA);
        DataCopy(l1, Gm(floats), Nd2Nz(1, 2, 10, 0, 10, 2, 1, 0));
        CHECK_EQ(Values(l1, 0, 16),
                 Of<float>(1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18));
        CHECK_EQ(Values(l1, 16, 16), Of<float>(9, 10, 0, 0, 0, 0, 0, 0, 19, 20, 0, 0, 0, 0, 0, 0));
    });
}

// int32 and int8 with odd sizes: 5 rows of 13 int32 are two column blocks of 8, the second with 3
// zeros; 3 rows of 65 int8 of 67 are three of 32, the last with 31 zeros.
TEST(nd2nz_of_odd_int32_and_int8) {
    std::vector<int32_t> words = Ramp<int32_t>(5 * 13, -7);
    OnAic({Input("x", words)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, int32_t>(pipe, 2 * 16 * 8, 0xAA);
        DataCopy(l1, Gm(words), Nd2Nz(1, 5, 13, 0, 13, 16, 1, 0));
        for (int row = 0; row < 5; ++row) {
            const auto at = static_cast<size_t>(row) * 8;
            const int first = 13 * row - 7;
            CHECK_EQ(Values(l1, at, 8), Ramp<int32_t>(8, first));
            CHECK_EQ(Values(l1, 128 + at, 8), Of<int32_t>(first + 8, first + 9, first + 10,
                                                          first + 11, first + 12, 0, 0, 0));
        }
        CHECK_EQ(Peek(l1, 40), static_cast<int32_t>(0xAAAAAAAA));
        CHECK_EQ(Peek(l1, 168), static_cast<int32_t>(0xAAAAAAAA));
    });
    std::vector<int8_t> bytes(3 * 67);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<int8_t>(i - 100);
    OnAic({Input("x", bytes)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, int8_t>(pipe, 3 * 16 * 32, 0xAA);
        DataCopy(l1, Gm(bytes), Nd2Nz(1, 3, 65, 0, 67, 16, 1, 0));
        for (size_t row = 0; row < 3; ++row) {
            CHECK_EQ(Values(l1, row * 32, 32), Values(bytes, row * 67, 32));
            CHECK_EQ(Values(l1, 512 + row * 32, 32), Values(bytes, row * 67 + 32, 32));
            CHECK_EQ(Peek(l1, 1024 + row * 32), bytes[row * 67 + 64]);
            CHECK_EQ(Values(l1, 1024 + row * 32 + 1, 31), Repeat<int8_t>(31, 0));
        }
        CHECK_EQ(Peek(l1, 96), static_cast<int8_t>(0xAA));
        CHECK_EQ(Peek(l1, 1024 + 96), static_cast<int8_t>(0xAA));
    });
}

// "ndNum ≠ 1时，当srcNdMatrixStride = 0时，表示重复搬出源矩阵的第一个ND矩阵".
TEST(nd2nz_without_a_matrix_stride_repeats_the_first_matrix) {
    std::vector<uint16_t> from = Ramp<uint16_t>(64, 1);
    OnAic({Input("from", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 112, 0xAA);
        DataCopy(l1, Gm(from), Nd2Nz(2, 2, 16, 0, 16, 2, 1, 48));
        CHECK_EQ(Values(l1, 0, 32), Ramp<uint16_t>(32, 1));
        CHECK_EQ(Values(l1, 32, 16), Repeat<uint16_t>(16, kFill16));
        CHECK_EQ(Values(l1, 48, 32), Ramp<uint16_t>(32, 1));
        CHECK_EQ(Values(l1, 80, 32), Repeat<uint16_t>(32, kFill16));
    });
}

// "ndNum、nValue、dValue任意一个值为0时，该指令不会执行".
TEST(nd2nz_of_nothing_copies_nothing) {
    std::vector<uint16_t> from = Ramp<uint16_t>(64);
    OnAic({Input("from", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 64, 0xAA);
        DataCopy(l1, Gm(from), Nd2Nz(0, 2, 16, 0, 16, 2, 1, 0));
        DataCopy(l1, Gm(from), Nd2Nz(1, 0, 16, 0, 16, 2, 1, 0));
        DataCopy(l1, Gm(from), Nd2Nz(1, 2, 0, 0, 16, 2, 1, 0));
        CHECK_EQ(Values(l1, 0, 64), Repeat<uint16_t>(64, kFill16));
    });
}

// Any GM address, L1 addresses of multiples of 32.
TEST(nd2nz_alignment) {
    std::vector<uint16_t> from = Ramp<uint16_t>(64);
    OnAic({Input("x", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 32);
        DataCopy(l1, GmAt<uint16_t>(from, 3), Nd2Nz(1, 2, 16, 0, 16, 2, 1, 0));
        CHECK_EQ(Peek(l1, 0), 0x0200);
        CHECK_EQ(Peek(l1, 16), 0x1200);
    });
    AicBreaks("misaligned", {"32"}, {Input("x", from)}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kL1, uint16_t>(pipe, 64)[8], Gm(from), Nd2Nz(1, 2, 16, 0, 16, 2, 1, 0));
    });
}

// srcDValue is 16 bits wide: rows 65535 elements apart work, 65536 would arrive as 0.
TEST(nd2nz_row_stride_ends_at_65535) {
    CHECK_EQ(sizeof(Nd2NzParams::srcDValue), 2u);
    std::vector<uint16_t> from = Ramp<uint16_t>(65536 + 16);
    OnAic({Input("x", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 32);
        DataCopy(l1, Gm(from), Nd2Nz(1, 2, 16, 0, 65535, 2, 1, 0));
        CHECK_EQ(Values(l1, 0, 16), Ramp<uint16_t>(16));
        CHECK_EQ(Values(l1, 16, 16), Ramp<uint16_t>(16, 65535));
    });
    AicBreaks("field-overflow", {"Nd2NzParams.srcDValue is 65536"}, {Input("x", from)}, [&] {
        TPipe pipe;
        Nd2NzParams params = Nd2Nz(1, 2, 16, 0, 65535, 2, 1, 0);
        params.srcDValue = 65536;
        DataCopy(Allocate<kL1, uint16_t>(pipe, 32), Gm(from), params);
    });
}

// Table 4: ndNum <= 4095, nValue <= 16384, dstNzC0Stride and dstNzNStride in [1, 16384],
// dstNzMatrixStride <= 16384. Every other value of these calls is in range and in bounds.
TEST(nd2nz_parameter_ranges) {
    std::vector<uint16_t> from(16385 * 16);
    const auto refused = [&](const char* name, const Nd2NzParams& params) {
        AicBreaks("parameter-range", {name}, {Input("x", from)}, [&] {
            TPipe pipe;
            DataCopy(Allocate<kL1, uint16_t>(pipe, 16376 * 16), Gm(from), params);
        });
    };
    refused("ndNum", Nd2Nz(4096, 1, 16, 16, 16, 1, 1, 16));
    refused("nValue", Nd2Nz(1, 16385, 1, 0, 1, 1, 1, 0));
    refused("dstNzC0Stride", Nd2Nz(1, 1, 16, 0, 16, 0, 1, 0));
    refused("dstNzC0Stride", Nd2Nz(1, 1, 16, 0, 16, 16385, 1, 0));
    refused("dstNzNStride", Nd2Nz(1, 1, 16, 0, 16, 1, 0, 0));
    refused("dstNzNStride", Nd2Nz(1, 1, 16, 0, 16, 1, 16385, 0));
    refused("dstNzMatrixStride", Nd2Nz(2, 1, 16, 0, 16, 1, 1, 16385));
}

// The ends of the ranges: 16376 of at most 16384 rows fill what a kernel may take of L1; 65535
// columns of one row are 4096 units.
TEST(nd2nz_at_the_ends_of_its_ranges) {
    std::vector<uint16_t> from = Ramp<uint16_t>(65535, 1);
    OnAic({Input("x", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 16376 * 16, 0xAA);
        DataCopy(l1, Gm(from), Nd2Nz(1, 16376, 1, 0, 1, 16384, 1, 0));
        CHECK_EQ(Values(l1, 16375 * 16, 3), Of<uint16_t>(16376, 0, 0));
        CHECK_EQ(Peek(l1, 16376 * 16 - 1), 0);
        PipeBarrier<PIPE_ALL>();
        DataCopy(l1, Gm(from), Nd2Nz(1, 1, 65535, 0, 65535, 1, 1, 0));
        CHECK_EQ(Peek(l1, 0), 1);
        CHECK_EQ(Values(l1, 65534, 3), Of<uint16_t>(65535, 0, 4097));
    });
}

// "搬运至L1 Buffer的数据不能重叠".
TEST(nd2nz_column_blocks_do_not_overlap) {
    std::vector<uint16_t> from = Ramp<uint16_t>(4 * 64, 1);
    const auto load = [&](uint16_t rows, uint16_t columns, uint16_t c0_stride, uint16_t n_stride) {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 4096);
        DataCopy(l1, Gm(from), Nd2Nz(1, rows, columns, 0, 64, c0_stride, n_stride, 0));
    };
    const std::vector<twin::GmTensor> tensors = {Input("from", from)};
    const std::vector<std::array<uint16_t, 3>> meeting = {
        {4, 3, 1}, {3, 2, 1}, {4, 1, 1}, {4, 6, 3}, {4, 4, 2}};
    for (const auto& [rows, c0, n] : meeting) {
        const std::string strides =
            "dstNzC0Stride is " + std::to_string(c0) + " and dstNzNStride " + std::to_string(n);
        AicBreaks("overlap", {strides.c_str()}, tensors,
                  [&, rows = rows, c0 = c0, n = n] { load(rows, 64, c0, n); });
    }
    // Side by side, between each other, and a single block or row.
    OnAic(tensors, [&] { load(4, 64, 4, 1); });
    OnAic(tensors, [&] { load(4, 64, 1, 4); });
    OnAic(tensors, [&] { load(3, 64, 3, 2); });
    OnAic(tensors, [&] { load(4, 16, 1, 1); });
    OnAic(tensors, [&] { load(1, 64, 1, 1); });
}

// "当dstNzMatrixStride = 0时，表示目的矩阵中搬入的每个NZ矩阵都会覆盖第一个NZ矩阵".
TEST(nd2nz_with_matrix_stride_zero_keeps_the_last_matrix) {
    std::vector<uint16_t> from = Ramp<uint16_t>(64, 1);
    OnAic({Input("from", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 64, 0xAA);
        DataCopy(l1, Gm(from), Nd2Nz(2, 2, 16, 32, 16, 2, 1, 0));
        CHECK_EQ(Values(l1, 0, 32), Ramp<uint16_t>(32, 33));
        CHECK_EQ(Values(l1, 32, 32), Repeat<uint16_t>(32, kFill16));
    });
}
