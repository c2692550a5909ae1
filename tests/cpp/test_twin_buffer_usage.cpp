// What a launch says about its local buffers: TPipe/InitBuffer allocates, ~TPipe hands back.
#include <string>
#include <vector>

#include "twin_fixture.h"

using namespace fixture;

namespace {

using Usage = std::vector<twin::BufferUsage>;

template <typename Kernel>
Usage UsageOf(KernelKind kind, const Kernel& kernel) {
    Usage usage;
    twin::LaunchConfig config = Config(kind, {}, 2);
    config.buffer_usage = &usage;
    try {
        twin::Launch(config, kernel);
    } catch (const twin::Error&) {
    }
    return usage;
}

std::string Text(const Usage& usage) {
    std::string text;
    for (const auto& [buffer, peak, capacity] : usage) {
        text +=
            std::string(buffer) + " " + std::to_string(peak) + "/" + std::to_string(capacity) + " ";
    }
    return text;
}

}  // namespace

TEST(usage_is_the_most_of_any_core_at_once) {
    const Usage usage = UsageOf(KernelKind::kMixAic1Aiv2, [] {
        if ASCEND_IS_AIC {
            TPipe pipe;
            Allocate<TPosition::A1, half>(pipe, 256);
            Allocate<TPosition::A2, half>(pipe, 512);
            Allocate<TPosition::B2, half>(pipe, 1024);
            Allocate<TPosition::CO1, float>(pipe, 256 * (AscendC::GetBlockIdx() + 1));
            return;
        }
        {
            TPipe pipe;
            Allocate<TPosition::VECCALC, float>(pipe, 64);
            Allocate<TPosition::VECIN, float>(pipe, 128 * (1 + AscendC::GetSubBlockIdx()));
        }
        TPipe pipe;
        Allocate<TPosition::VECCALC, float>(pipe, 100);  // 400 bytes
    });
    CHECK_EQ(Text(usage), std::string("UB 1280/188160 L1 512/524032 L0A 1024/65536 "
                                      "L0B 2048/65536 L0C 2048/131072 BT 0/1024 FB 0/2048 "));
}

TEST(buffers_that_no_core_has_have_no_capacity) {
    const Usage usage = UsageOf(KernelKind::kAivOnly, [] {
        TPipe pipe;
        Allocate<TPosition::VECCALC, float>(pipe, 8);
    });
    CHECK_EQ(Text(usage),
             std::string("UB 32/188160 L1 0/0 L0A 0/0 L0B 0/0 L0C 0/0 BT 0/0 FB 0/0 "));
}

TEST(a_launch_that_fails_says_what_it_took) {
    const Usage usage = UsageOf(KernelKind::kAivOnly, [] {
        TPipe pipe;
        Allocate<TPosition::VECCALC, float>(pipe, 1024);
        Allocate<TPosition::VECCALC, float>(pipe, 48 * 1024);
    });
    CHECK_EQ(usage.at(0).peak, 4096);
}
