// Where tensors of GM and local buffers end, and what a report of an access beyond says.
#include <cstdint>
#include <string>
#include <vector>

#include "twin_fixture.h"

using namespace fixture;
using AscendC::DataCopy;
using AscendC::DataCopyExtParams;
using AscendC::DataCopyPad;
using AscendC::DataCopyPadExtParams;

// ---- out of bounds: GM ----

// A report names the tensor, what was touched and how large the tensor is.
TEST(gm_reads_end_with_the_tensor) {
    std::vector<uint8_t> data(100);
    AivBreaks("out-of-bounds", {"weights", "128", "100", "golden", "AIV 0"},
              {Input("weights", data)}, [&] {
                  TPipe pipe;
                  DataCopy(Allocate<kUb, uint8_t>(pipe, 128), Gm(data), 128);
              });
    AivBreaks("out-of-bounds", {"weights", "101", "100"}, {Input("weights", data)}, [&] {
        TPipe pipe;
        DataCopyPad(Allocate<kUb, uint8_t>(pipe, 128), Gm(data)[96],
                    DataCopyExtParams(1, 5, 0, 0, 0), DataCopyPadExtParams<uint8_t>());
    });
    AicBreaks("out-of-bounds", {"weights", "128", "100"}, {Input("weights", data)}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kL1, uint8_t>(pipe, 128), Gm(data), 128);
    });
}

// The last of three blocks ends one byte beyond the tensor: 3 x 4 bytes and two gaps of 44.
TEST(gm_gaps_count_for_the_end) {
    std::vector<uint8_t> data(99);
    AivBreaks("out-of-bounds", {"x", "100", "99"}, {Input("x", data)}, [&] {
        TPipe pipe;
        DataCopyPad(Allocate<kUb, uint8_t>(pipe, 128), Gm(data), DataCopyExtParams(3, 4, 44, 0, 0),
                    DataCopyPadExtParams<uint8_t>());
    });
    AivBreaks("out-of-bounds", {"x", "100", "99"}, {Output("x", data)}, [&] {
        TPipe pipe;
        DataCopyPad(Gm(data), Allocate<kUb, uint8_t>(pipe, 128), DataCopyExtParams(3, 4, 0, 44, 0));
    });
}

// ND2NZ reads nValue rows: row 1 of 8 halves at element 24 ends at byte 64.
TEST(gm_rows_of_nd2nz_end_with_the_tensor) {
    std::vector<uint16_t> exact(32);
    std::vector<uint16_t> tight(31);
    const auto kernel = [](std::vector<uint16_t>& data) {
        TPipe pipe;
        DataCopy(Allocate<kL1, uint16_t>(pipe, 32), Gm(data), Nd2Nz(1, 2, 8, 0, 24, 2, 1, 0));
    };
    OnAic({Input("x", exact)}, [&] { kernel(exact); });
    AicBreaks("out-of-bounds", {"x", "64", "62"}, {Input("x", tight)}, [&] { kernel(tight); });
}

// Two tensors side by side in one allocation: the end of the first is not the start of the second.
TEST(gm_tensors_side_by_side_are_apart) {
    std::vector<uint8_t> memory(128);
    const GmTensor first = {"first", memory.data(), 64, false};
    const GmTensor second = {"second", memory.data() + 64, 64, false};
    AivBreaks("out-of-bounds", {"first", "96", "64"}, {first, second}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kUb, uint8_t>(pipe, 64), Gm(memory)[32], 64);
    });
}

TEST(gm_outside_all_tensors_is_refused) {
    std::vector<uint8_t> data(128);
    const GmTensor middle = {"middle", data.data() + 64, 32, true};
    AivBreaks("out-of-bounds", {}, {middle}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kUb, uint8_t>(pipe, 32), Gm(data), 32);
    });
    AivBreaks("out-of-bounds", {}, {middle}, [&] {
        TPipe pipe;
        DataCopy(Gm(data)[96], Allocate<kUb, uint8_t>(pipe, 32), 32);
    });
    // An index below zero wraps to a huge offset and comes back below the tensor.
    AivBreaks("out-of-bounds", {}, {middle}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kUb, uint8_t>(pipe, 32), Gm(data)[64][static_cast<uint64_t>(-32)], 32);
    });
}

// One storage can be an input and an output of a launch: a write belongs to the output, in either
// order.
TEST(gm_writes_go_to_the_writable_one_of_tensors_that_share_bytes) {
    std::vector<uint8_t> data(64, 7);
    for (const bool output_first : {true, false}) {
        std::vector<twin::GmTensor> tensors = {Output("cache", data), Input("region", data)};
        if (!output_first) std::swap(tensors[0], tensors[1]);
        OnAiv(tensors, [&] {
            TPipe pipe;
            const auto ub = Allocate<kUb, uint8_t>(pipe, 64);
            DataCopy(ub, Gm(data), 64);
            DataCopy(Gm(data), ub, 64);
            CHECK(true);
        });
    }
}

TEST(gm_writes_need_a_writable_tensor) {
    std::vector<uint8_t> data(64, 7);
    AivBreaks("write-to-input", {"weights"}, {Input("weights", data)}, [&] {
        TPipe pipe;
        DataCopy(Gm(data), Allocate<kUb, uint8_t>(pipe, 64), 64);
    });
    AivBreaks("write-to-input", {"weights"}, {Input("weights", data)}, [&] {
        TPipe pipe;
        DataCopyPad(Gm(data), Allocate<kUb, uint8_t>(pipe, 64), DataCopyExtParams(1, 1, 0, 0, 0));
    });
    CHECK_EQ(data, Repeat<uint8_t>(64, 7));
}

// 数据结构/GlobalTensor/SetGlobalBuffer: bufferSize is the number of elements the tensor holds.
TEST(gm_tensor_with_a_size_ends_there) {
    std::vector<uint16_t> data(64);
    AivBreaks("out-of-bounds", {"SetGlobalBuffer", "32", "'x'"}, {Input("x", data)}, [&] {
        TPipe pipe;
        GlobalTensor<uint16_t> gm;
        gm.SetGlobalBuffer(data.data(), 16);
        const auto ub = Allocate<kUb, uint16_t>(pipe, 32);
        DataCopy(ub, gm, 16);
        DataCopy(ub, gm, 32);
    });
}

// ---- out of bounds: local buffers ----

// The end of a TBuf counts, though UB goes on and the next TBuf lies there.
TEST(local_writes_end_with_the_allocation) {
    std::vector<uint8_t> data(128);
    AivBreaks("out-of-bounds", {"UB", "96", "64"}, {Input("x", data)}, [&] {
        TPipe pipe;
        const auto first = Allocate<kUb, uint8_t>(pipe, 64);
        const auto second = Allocate<kUb, uint8_t>(pipe, 64);
        DataCopy(second, Gm(data), 64);
        DataCopy(first, Gm(data), 96);
    });
    AivBreaks("out-of-bounds", {"UB"}, {Input("x", data)}, [&] {
        TPipe pipe;
        const auto first = Allocate<kUb, uint8_t>(pipe, 64);
        static_cast<void>(Allocate<kUb, uint8_t>(pipe, 64));
        DataCopy(first[64], Gm(data), 32);
    });
    AicBreaks("out-of-bounds", {"L1"}, {Input("x", data)}, [&] {
        TPipe pipe;
        const auto first = Allocate<kL1, uint8_t>(pipe, 64);
        static_cast<void>(Allocate<kL1, uint8_t>(pipe, 64));
        DataCopy(first, Gm(data), 96);
    });
}

TEST(local_reads_end_with_the_allocation) {
    std::vector<uint8_t> data(128);
    AivBreaks("out-of-bounds", {"UB", "96", "64"}, {Output("x", data)}, [&] {
        TPipe pipe;
        const auto first = Allocate<kUb, uint8_t>(pipe, 64);
        static_cast<void>(Allocate<kUb, uint8_t>(pipe, 64));
        DataCopy(Gm(data), first, 96);
    });
}

// DataCopyPad fills 5 bytes up to 32: the fill needs room as well. From UB it reads whole units,
// too.
TEST(local_room_of_a_padded_block_is_32_bytes) {
    std::vector<uint8_t> data(128);
    AivBreaks("out-of-bounds", {"UB"}, {Input("x", data)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, uint8_t>(pipe, 64);
        DataCopyPad(ub[32], Gm(data), DataCopyExtParams(2, 5, 0, 0, 0),
                    DataCopyPadExtParams<uint8_t>());
    });
    AivBreaks("out-of-bounds", {"UB"}, {Input("x", data)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, uint8_t>(pipe, 32);
        DataCopyPad(ub, Gm(data), DataCopyExtParams(1, 32, 0, 0, 0),
                    DataCopyPadExtParams<uint8_t>(true, 0, 1, 0));
    });
}

// ND2NZ: the second column block starts 16 units in; rows 0 and 1 of it need 18 units.
TEST(local_room_of_nd2nz_counts_strides) {
    std::vector<uint16_t> data(64);
    const auto kernel = [&](uint32_t units) {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, units * 16);
        static_cast<void>(Allocate<kL1, uint16_t>(pipe, 16));
        DataCopy(l1, Gm(data), Nd2Nz(1, 2, 17, 0, 32, 16, 1, 0));
    };
    OnAic({Input("x", data)}, [&] {
        kernel(18);
        CHECK(true);
    });
    AicBreaks("out-of-bounds", {"L1"}, {Input("x", data)}, [&] { kernel(17); });
}

TEST(scalar_access_ends_with_the_allocation) {
    AivBreaks("out-of-bounds", {"UB"}, {}, [&] {
        TPipe pipe;
        const auto first = Allocate<kUb, int32_t>(pipe, 8);
        static_cast<void>(Allocate<kUb, int32_t>(pipe, 8));
        first.SetValue(8, 1);
    });
    AivBreaks("out-of-bounds", {"UB"}, {}, [&] {
        TPipe pipe;
        static_cast<void>(Allocate<kUb, int32_t>(pipe, 8));
        const auto second = Allocate<kUb, int32_t>(pipe, 8);
        static_cast<void>(second[static_cast<uint32_t>(-1)].GetValue(0));
    });
}

// An error carries the short name of the rule, kernel, core, file and line of the kernel source.
TEST(errors_carry_code_kernel_core_file_and_line) {
    std::vector<uint8_t> data(64);
    int line = 0;
    try {
        OnGroup({Input("x", data)}, [&] {
            TPipe pipe;
            if ASCEND_IS_AIV {
                const auto ub = Allocate<kUb, uint8_t>(pipe, 128);
                if (AscendC::GetSubBlockIdx() == 1) {
                    line = __LINE__ + 1;
                    DataCopy(ub, Gm(data), 128);
                }
            }
        });
        CHECK(false);
    } catch (const twin::Error& error) {
        CHECK_EQ(error.code, std::string("out-of-bounds"));
        CHECK_EQ(error.kernel, std::string("golden"));
        CHECK_EQ(error.core, std::string("AIV 1"));
        CHECK_EQ(error.file, std::string(__FILE__));
        CHECK_EQ(error.line, line);
        const std::string what = error.what();
        CHECK(what.find("golden") != std::string::npos);
        CHECK(what.find("AIV 1") != std::string::npos);
        CHECK(what.find("test_twin_bounds.cpp:" + std::to_string(line)) != std::string::npos);
    }
    CHECK(TwinWorks());
}

// 数据结构/LocalTensor/operator[]: "offset不能超过原有LocalTensor的size大小". 0x40000000 floats are
// 2^32 bytes: an address computed in 32 bits would be the tensor's own.
TEST(an_offset_of_4_gib_is_not_an_offset_of_zero) {
    std::vector<float> data(8);
    AivBreaks("out-of-bounds", {"UB"}, {Input("x", data)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, float>(pipe, 8);
        const auto beyond = ub[0x40000000];
        const bool seems_inside = beyond.local().offset == ub.local().offset;
        CHECK(!seems_inside);
        if (!seems_inside) DataCopy(beyond, Gm(data), 8);
    });
}
