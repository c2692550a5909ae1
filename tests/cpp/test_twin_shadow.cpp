// Races are found byte by byte: in one block of UB, and in one word of GM. The scalar data cache
// alone writes back more than was written (内存模型/缓存一致性), and kernels here have no scalar
// access to GM.
// Pages: Memory矢量计算/SIMD计算说明/掩码,
//        Memory矢量计算/数据搬运/{DataCopyPad（GMToUB非对齐数据搬运）,
//        DataCopyPad（UBToGM非对齐数据搬运）}.
#include "../../csrc/twin/src/shadow.h"

#include <random>
#include <set>
#include <tuple>

#include "twin_fixture.h"

using namespace fixture;
using AscendC::DataCopy;
using AscendC::DataCopyPad;
using AscendC::Duplicate;
using AscendC::GetSubBlockIdx;
using AscendC::HardEvent;
using AscendC::Muls;
using AscendC::PipeBarrier;
using AscendC::SetFlag;
using AscendC::WaitFlag;

namespace {

/// "" for a clean kernel, else the code and the bytes: "pipe-race [12, 16)".
template <typename Kernel>
std::string Found(const Kernel& kernel, KernelKind kind, std::vector<GmTensor> tensors) {
    twin::LaunchConfig config = Config(kind, std::move(tensors));
    config.sanitize = twin::SanitizeMode::kFull;
    try {
        twin::Launch(config, kernel);
    } catch (const twin::Error& error) {
        const twin::Access& access = error.accesses.at(0);
        return error.code + " [" + std::to_string(access.conflict_first) + ", " +
               std::to_string(access.conflict_first + access.conflict_bytes) + ")";
    }
    return "";
}

/// `use` on a UB of 16 floats, all written and complete.
template <typename Use>
std::string InUb(const Use& use) {
    std::vector<float> gm(16, 1.0F);
    return Found(
        [&] {
            TPipe pipe;
            const auto ub = Allocate<kUb, float>(pipe, 16);
            Duplicate(ub, 1.0F, 16);
            PipeBarrier<PIPE_ALL>();
            use(ub, pipe, gm);
        },
        KernelKind::kAivOnly, {Output("gm", gm)});
}

using Tensor = LocalTensor<float>;
using Data = std::vector<float>;

/// Duplicate of the lanes whose bits are set.
void FillLanes(const Tensor& ub, uint64_t lanes) {
    uint64_t mask[2] = {lanes, 0};
    Duplicate(ub, 2.0F, mask, 1, 1, 8);
}

std::string None() { return ""; }

}  // namespace

TEST(lanes_of_a_block_may_belong_to_two_pipes) {
    const auto lanes_and_scalar = [](uint64_t lanes, uint32_t element) {
        return InUb([=](const Tensor& ub, TPipe&, Data&) {
            FillLanes(ub, lanes);
            ub.SetValue(element, 3.0F);
        });
    };
    CHECK_EQ(lanes_and_scalar(0b1111, 4), None());
    CHECK_EQ(lanes_and_scalar(0b1111, 3), std::string("pipe-race [12, 16)"));
    CHECK_EQ(lanes_and_scalar(0b10101, 1), None());
    CHECK_EQ(lanes_and_scalar(0b10101, 2), std::string("pipe-race [8, 12)"));
    // One reads.
    const auto lanes_and_read = [](uint64_t lanes, uint32_t element) {
        return InUb([=](const Tensor& ub, TPipe&, Data&) {
            FillLanes(ub, lanes);
            static_cast<void>(ub.GetValue(element));
        });
    };
    CHECK_EQ(lanes_and_read(0b1111, 7), None());
    CHECK_EQ(lanes_and_read(0b1111, 0), std::string("pipe-race [0, 4)"));
}

TEST(lanes_of_a_block_may_belong_to_two_vector_instructions) {
    const auto twice = [](uint64_t first, uint64_t second) {
        return InUb([=](const Tensor& ub, TPipe&, Data&) {
            FillLanes(ub, first);
            FillLanes(ub, second);
        });
    };
    CHECK_EQ(twice(0b00001111, 0b11110000), None());
    CHECK_EQ(twice(0b00011111, 0b11110000), std::string("missing-barrier [16, 20)"));
}

// A load fills its last block: what lies behind the data is written too.
TEST(a_padded_load_writes_the_whole_block) {
    const auto load_and_scalar = [](uint32_t element) {
        return InUb([=](const Tensor& ub, TPipe&, Data& gm) {
            DataCopyPad(ub, Gm(gm), {1, 4, 0, 0, 0}, {false, 0, 0, 0.0F});
            ub.SetValue(element, 3.0F);
        });
    };
    CHECK_EQ(load_and_scalar(8), None());
    CHECK_EQ(load_and_scalar(7), std::string("pipe-race [28, 32)"));
}

// A store drops what fills its last block up: it reads the bytes that it stores.
TEST(a_padded_store_uses_its_own_bytes_only) {
    const auto store_and_scalar = [](uint32_t element) {
        return InUb([=](const Tensor& ub, TPipe&, Data& gm) {
            DataCopyPad(Gm(gm), ub, {1, 12, 0, 0, 0});
            ub.SetValue(element, 3.0F);
        });
    };
    CHECK_EQ(store_and_scalar(3), None());
    CHECK_EQ(store_and_scalar(2), std::string("pipe-race [8, 12)"));
}

// The last to write a byte is another one for each byte.
TEST(each_byte_remembers_who_wrote_it_last) {
    const auto store = [](bool scalar_first) {
        return InUb([=](const Tensor& ub, TPipe&, Data& gm) {
            if (scalar_first) {
                ub.SetValue(2, 3.0F);
                SetFlag<HardEvent::S_MTE3>(0);
                WaitFlag<HardEvent::S_MTE3>(0);
                FillLanes(ub, 0b11000);
            } else {
                FillLanes(ub, 0b11000);
                SetFlag<HardEvent::V_MTE3>(0);
                WaitFlag<HardEvent::V_MTE3>(0);
                ub.SetValue(2, 3.0F);
            }
            DataCopy(Gm(gm), ub, 8);
        });
    };
    CHECK_EQ(store(true), std::string("pipe-race [12, 20)"));
    CHECK_EQ(store(false), std::string("pipe-race [8, 12)"));
}

// A load over a block needs the order of everyone who has read a part of it.
TEST(each_byte_remembers_its_readers) {
    const auto load = [](bool scalar, bool vector) {
        return InUb([=](const Tensor& ub, TPipe& pipe, Data& gm) {
            const auto to = Allocate<kUb, float>(pipe, 16);
            Muls(to, ub, 2.0F, uint64_t{4}, 1, {1, 1, 8, 8});
            static_cast<void>(ub.GetValue(1));
            static_cast<void>(ub.GetValue(6));
            if (scalar) {
                SetFlag<HardEvent::S_MTE2>(0);
                WaitFlag<HardEvent::S_MTE2>(0);
            }
            if (vector) {
                SetFlag<HardEvent::V_MTE2>(0);
                WaitFlag<HardEvent::V_MTE2>(0);
            }
            DataCopy(ub, Gm(gm), 8);
        });
    };
    CHECK_EQ(load(true, true), None());
    CHECK_EQ(load(true, false), std::string("pipe-race [0, 16)"));
    CHECK_EQ(load(false, true), std::string("pipe-race [4, 8)"));
}

// Two results of 2 bytes in one word, by two cores.
TEST(cores_may_write_neighbouring_bytes_of_gm) {
    const auto store = [](uint32_t bytes, uint32_t apart) {
        std::vector<half> gm(32);
        return Found(
            [&] {
                if ASCEND_IS_AIC
                    return;
                TPipe pipe;
                const auto ub = Allocate<kUb, half>(pipe, 16);
                Duplicate(ub, Half(1.0F), 16);
                PipeBarrier<PIPE_ALL>();
                DataCopyPad(GmAt<half>(gm, 2 + GetSubBlockIdx() * apart), ub, {1, bytes, 0, 0, 0});
            },
            KernelKind::kMixAic1Aiv2, {Output("gm", gm)});
    };
    CHECK_EQ(store(2, 2), None());
    CHECK_EQ(store(30, 30), None());
    CHECK_EQ(store(4, 2), std::string("core-race [4, 6)"));
    CHECK_EQ(store(32, 30), std::string("core-race [32, 34)"));
}

TEST(bytes_of_int8_are_told_apart) {
    std::vector<int8_t> gm(64);
    const auto store = [&](uint32_t apart) {
        return Found(
            [&] {
                if ASCEND_IS_AIC
                    return;
                TPipe pipe;
                const auto ub = Allocate<kUb, int8_t>(pipe, 32);
                Duplicate(ub.ReinterpretCast<int16_t>(), int16_t{1}, 16);
                PipeBarrier<PIPE_ALL>();
                DataCopyPad(Gm(gm)[GetSubBlockIdx() * apart], ub, {1, 3, 0, 0, 0});
            },
            KernelKind::kMixAic1Aiv2, {Output("gm", gm)});
    };
    CHECK_EQ(store(3), None());
    CHECK_EQ(store(2), std::string("core-race [2, 3)"));
}

namespace {

constexpr uint64_t kBytes = 96;
constexpr uint32_t kReaders = 3;

/// (earlier instruction, whether it wrote, byte)
using Conflicts = std::set<std::tuple<uint32_t, bool, uint64_t>>;

/// What Shadow asks about: instruction i is of reader i % kReaders, and what is `ordered` is drawn.
struct Rules {
    uint32_t now = 0;
    const std::vector<bool>* ordered = nullptr;
    Conflicts* found = nullptr;

    uint32_t current() const { return now; }
    uint32_t Reader(uint32_t instruction) const { return instruction % kReaders; }
    bool Joins(uint32_t) const { return false; }
    bool Ordered(uint32_t earlier) const { return earlier == now || (*ordered)[earlier]; }
    void Conflict(uint32_t earlier, bool wrote, uint64_t first, uint64_t bytes) const {
        for (uint64_t byte = first; byte < first + bytes; ++byte) {
            found->insert({earlier, wrote, byte});
        }
    }
};

/// The same with a list for every byte.
struct ByteByByte {
    uint32_t write = 0;
    std::vector<uint32_t> reads;
};

}  // namespace

// A conflict of a byte is told with the first byte of a run at least: runs of one entry that are
// not one piece are told by their first piece.
TEST(cells_agree_with_a_list_for_every_byte) {
    std::mt19937 random(7);
    const auto draw = [&](uint64_t below) { return random() % below; };
    size_t compared = 0;
    for (int round = 0; round < 300; ++round) {
        twin::Shadow shadow(kBytes);
        std::vector<ByteByByte> bytes(kBytes);
        for (uint32_t now = 1; now < 40; ++now) {
            std::vector<bool> ordered(now + 1);
            for (uint32_t i = 0; i <= now; ++i) ordered[i] = draw(4) != 0;
            for (uint64_t piece = 0; piece <= draw(3); ++piece) {
                const bool whole = draw(3) == 0;
                const uint64_t first = whole ? draw(3) * 32 : draw(kBytes);
                const uint64_t count = whole ? 32 : 1 + draw(std::min(kBytes - first, 40UL));
                const bool write = draw(2) == 0;
                Conflicts found;
                Rules rules{now, &ordered, &found};
                shadow.Touch(first, count, write, rules);
                Conflicts expected;
                for (uint64_t byte = first; byte < first + count; ++byte) {
                    auto& [last, reads] = bytes[byte];
                    if (last != 0 && !rules.Ordered(last)) expected.insert({last, true, byte});
                    for (const uint32_t read : reads) {
                        if (write && !rules.Ordered(read)) expected.insert({read, false, byte});
                    }
                    // Of the same reader the last read before this one stays, if unordered.
                    uint32_t before = 0;
                    for (const uint32_t read : reads) {
                        const bool same = read != now && read % kReaders == now % kReaders;
                        if (same) before = std::max(before, read);
                    }
                    const auto gone = [&](uint32_t read) {
                        if (write) return true;
                        if (read % kReaders != now % kReaders) return false;
                        return read != before || rules.Ordered(read);
                    };
                    reads.erase(std::remove_if(reads.begin(), reads.end(), gone), reads.end());
                    if (write) {
                        last = now;
                    } else {
                        reads.push_back(now);
                    }
                }
                ++compared;
                CHECK(std::includes(expected.begin(), expected.end(), found.begin(), found.end()));
                for (const auto& [earlier, wrote, byte] : expected) {
                    // The first byte of the same instruction in the same cell is told.
                    auto lowest = expected.lower_bound({earlier, wrote, byte / 32 * 32});
                    CHECK(found.count(*lowest) == 1);
                }
            }
        }
    }
    CHECK(compared > 10000);
}
