// What twin::Error holds, and the table of its codes.
#include <set>
#include <string>

#include "twin/codes.h"
#include "twin_fixture.h"

using namespace fixture;
using AscendC::DataCopy;
using AscendC::Duplicate;
using AscendC::Muls;
using AscendC::PipeBarrier;
using AscendC::RoundMode;

namespace {

template <typename Kernel>
twin::Error Caught(twin::LaunchConfig config, const Kernel& kernel) {
    config.sanitize = twin::SanitizeMode::kFull;
    try {
        twin::Launch(config, kernel);
    } catch (const twin::Error& error) {
        return error;
    }
    throw std::logic_error("the kernel is clean");
}

/// core, pipe, instruction, writes, where, "[first, end)" and "[first, end)" of the conflict.
std::string Line(const twin::Access& access) {
    const auto range = [](uint64_t first, uint64_t bytes) {
        return " [" + std::to_string(first) + ", " + std::to_string(first + bytes) + ")";
    };
    return access.core + " " + access.pipe + " " + access.instruction +
           (access.writes ? " writes " : " reads ") + access.where +
           range(access.first_byte, access.bytes) +
           range(access.conflict_first, access.conflict_bytes);
}

}  // namespace

TEST(codes_are_told_apart_and_have_a_line_each) {
    std::set<std::string> seen;
    for (const auto& [code, summary] : twin::kErrorCodes) {
        CHECK(seen.insert(code).second);
        CHECK_EQ(twin::FindErrorCode(code)->code, std::string(code));
        const std::string line = summary;
        CHECK(line.size() >= 20 && line.size() <= 90);
        CHECK_EQ(line.find('\n'), std::string::npos);
    }
    CHECK(twin::FindErrorCode("no-such-code") == nullptr);
}

TEST(an_error_of_an_unknown_code_cannot_be_made) {
    CHECK_THROWS_WITH(twin::Error("no-such-code", "kernel", "AIC 0", "file", 1, "text"),
                      std::logic_error, "'no-such-code' is not in kErrorCodes");
}

TEST(a_race_names_both_accesses_and_what_would_order_them) {
    std::vector<float> in(128, 1.0F);
    int load = 0;
    int use = 0;
    const twin::Error error = Caught(Config(KernelKind::kAivOnly, {Input("in", in)}), [&] {
        TPipe pipe;
        const auto other = Allocate<kUb, float>(pipe, 64);
        const auto ub = Allocate<kUb, float>(pipe, 128);
        Duplicate(ub, 1.0F, 128);
        PipeBarrier<PIPE_ALL>();
        load = __LINE__ + 1;
        DataCopy(ub, Gm(in), 64);
        use = __LINE__ + 1;
        Muls(other, ub[32], 2.0F, 64);
    });
    CHECK_EQ(error.code, std::string("pipe-race"));
    CHECK_EQ(error.kernel, std::string("golden"));
    CHECK_EQ(error.core, std::string("AIV 0"));
    CHECK_EQ(error.file, std::string(__FILE__));
    CHECK_EQ(error.line, use);
    CHECK_EQ(error.ordered_by, std::string("SetFlag<MTE2_V> and WaitFlag<MTE2_V>"));
    CHECK_EQ(error.accesses.size(), size_t{2});
    CHECK_EQ(Line(error.accesses[0]), std::string("AIV 0 V Muls reads UB [384, 640) [384, 512)"));
    CHECK_EQ(Line(error.accesses[1]),
             std::string("AIV 0 MTE2 DataCopy writes UB [256, 512) [384, 512)"));
    CHECK_EQ(error.accesses[0].line, use);
    CHECK_EQ(error.accesses[1].line, load);
    CHECK_EQ(error.accesses[1].file, std::string(__FILE__));
    const std::string what = error.what();
    const std::string first = std::string(__FILE__) + ":" + std::to_string(load);
    const std::string second = std::string(__FILE__) + ":" + std::to_string(use);
    CHECK_EQ(what,
             "twin: pipe-race: Muls on V reads bytes [384, 512) of UB; nothing orders it "
             "after DataCopy on MTE2 of AIV 0 at " +
                 first +
                 ", which writes them (SetFlag<MTE2_V> and WaitFlag<MTE2_V> would) "
                 "[kernel golden, AIV 0, " +
                 second + "]\n  AIV 0, V: Muls at " + second +
                 " reads bytes [384, 640) of UB\n  AIV 0, MTE2: DataCopy at " + first +
                 " writes bytes [256, 512) of UB");
}

TEST(an_access_of_strided_pieces_spans_them_and_the_conflict_is_its_first_run) {
    std::vector<float> in(128, 1.0F);
    const twin::Error error = Caught(Config(KernelKind::kAivOnly, {Input("in", in)}), [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, float>(pipe, 128);
        Duplicate(ub, 1.0F, 128);
        PipeBarrier<PIPE_ALL>();
        DataCopy(ub, Gm(in), AscendC::DataCopyParams{3, 1, 0, 2});  // blocks 0, 3 and 6
        Duplicate(ub, 2.0F, 64);                                    // blocks 0 to 7
    });
    CHECK_EQ(Line(error.accesses[0]), std::string("AIV 0 V Duplicate writes UB [0, 256) [0, 32)"));
    CHECK_EQ(Line(error.accesses[1]),
             std::string("AIV 0 MTE2 DataCopy writes UB [0, 224) [0, 32)"));
}

TEST(a_race_of_two_cores_names_the_tensor_and_both_cores) {
    std::vector<float> out(64, 0.0F);
    const twin::Error error = Caught(Config(KernelKind::kMixAic1Aiv2, {Output("out", out)}), [&] {
        if ASCEND_IS_AIC
            return;
        TPipe pipe;
        const auto ub = Allocate<kUb, float>(pipe, 16);
        Duplicate(ub, 1.0F, 16);
        PipeBarrier<PIPE_ALL>();
        DataCopy(Gm(out)[AscendC::GetSubBlockIdx() * 8], ub, 16);
    });
    CHECK_EQ(error.code, std::string("core-race"));
    CHECK_EQ(error.core, std::string("AIV 1"));
    CHECK_EQ(error.ordered_by, std::string("CrossCoreSetFlag<mode, PIPE_MTE3> and "
                                           "CrossCoreWaitFlag"));
    CHECK_EQ(Line(error.accesses[0]),
             std::string("AIV 1 MTE3 DataCopy writes GM tensor 'out' [32, 96) [32, 64)"));
    CHECK_EQ(Line(error.accesses[1]),
             std::string("AIV 0 MTE3 DataCopy writes GM tensor 'out' [0, 64) [32, 64)"));
}

TEST(an_uninitialised_read_has_one_access) {
    std::vector<float> out(64, 0.0F);
    for (const auto mode : {twin::SanitizeMode::kMemory, twin::SanitizeMode::kFull}) {
        auto config = Config(KernelKind::kAivOnly, {Output("out", out)});
        config.sanitize = mode;
        try {
            twin::Launch(config, [&] {
                TPipe pipe;
                const auto ub = Allocate<kUb, float>(pipe, 32);
                Duplicate(ub, 1.0F, 8);
                PipeBarrier<PIPE_ALL>();
                DataCopy(Gm(out), ub, 32);
            });
            CHECK(false);
        } catch (const twin::Error& error) {
            CHECK_EQ(error.code, std::string("uninitialised"));
            CHECK_EQ(error.accesses.size(), size_t{1});
            CHECK_EQ(Line(error.accesses[0]),
                     std::string("AIV 0 MTE3 DataCopy reads UB [0, 128) [32, 128)"));
            CHECK_EQ(error.ordered_by, std::string());
        }
    }
}

TEST(other_errors_have_no_accesses) {
    std::vector<float> in(64, 1.0F);
    const twin::Error error = Caught(Config(KernelKind::kAivOnly, {Input("in", in)}), [&] {
        TPipe pipe;
        DataCopy(Gm(in), Allocate<kUb, float>(pipe, 64), 64);
    });
    CHECK_EQ(error.code, std::string("write-to-input"));
    CHECK(error.accesses.empty());
    CHECK_EQ(error.ordered_by, std::string());
}

// Bytes that nobody wrote are -0.98 here, which Cast refuses: a consequence, not the mistake.
TEST(what_the_sanitizer_finds_comes_before_what_follows_from_it) {
    const auto kernel = [] {
        TPipe pipe;
        const auto from = Allocate<kUb, half>(pipe, 32, 0xBB);
        const auto to = Allocate<kUb, uint8_t>(pipe, 32);
        AscendC::Cast(to, from, RoundMode::CAST_NONE, 32);
    };
    CHECK_EQ(Caught(Config(KernelKind::kAivOnly, {}), kernel).code, std::string("uninitialised"));
    auto off = Config(KernelKind::kAivOnly, {});
    CHECK_THROWS_WITH(twin::Launch(off, kernel), twin::Error, "negative-to-unsigned");
}

TEST(the_twin_works_after_a_finding) {
    std::vector<float> in(64, 1.0F);
    for (int i = 0; i < 20; ++i) {
        const twin::Error error = Caught(Config(KernelKind::kAivOnly, {Input("in", in)}), [&] {
            TPipe pipe;
            const auto ub = Allocate<kUb, float>(pipe, 64);
            DataCopy(ub, Gm(in), 64);
            Muls(ub, ub, 2.0F, 64);
        });
        CHECK_EQ(error.code, std::string("pipe-race"));
        CHECK(TwinWorks());
    }
}
