// Accesses of several cores that nothing orders.
// Pages: 同步控制/核间同步/{CrossCoreSetFlag(ISASI), CrossCoreWaitFlag(ISASI)}.
#include <cstdint>
#include <string>
#include <vector>

#include "twin_sanitizer_fixture.h"

using namespace fixture;

// The words of a 32-byte block may belong to two cores, and so may the bytes of a word: a transfer
// writes the bytes that it names.
TEST(cores_may_share_a_block_of_gm) {
    Aiv aiv;
    const auto config = aiv.Config(KernelKind::kMixAic1Aiv2);
    const auto kernel = [&](uint32_t bytes, uint32_t apart) {
        return [&, bytes, apart] {
            if ASCEND_IS_AIC
                return;
            TPipe pipe;
            const auto ub = Allocate<kUb, half>(pipe, 16);
            Duplicate(ub, Half(1.0F), 16);
            Sync<HardEvent::V_MTE3>();
            const auto to = GmAt<half>(aiv.out, GetSubBlockIdx() * apart);
            DataCopyPad(to, ub, {1, bytes, 0, 0, 0});
        };
    };
    CHECK_EQ(CodeOf(config, kernel(16, 16)), std::string());
    CHECK_EQ(CodeOf(config, kernel(4, 4)), std::string());
    CHECK_EQ(CodeOf(config, kernel(8, 4)), std::string("core-race"));
}
