// Queues of a vector core.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "twin_sanitizer_fixture.h"

namespace fixture {

using AscendC::TQue;
using AscendC::TQueBind;
using twin::checks::InQueue;
using twin::checks::kBytes;
using twin::checks::OutQueue;

constexpr uint32_t kTiles = 6;

/// GM of a vector kernel that goes tile by tile.
struct Tiles {
    std::vector<float> in = Ramp<float>(kTiles * kCount);
    std::vector<float> out = std::vector<float>(kTiles * kCount, -1.0F);

    twin::LaunchConfig Config() {
        return Full(KernelKind::kAivOnly, {Input("in", in), Output("out", out)});
    }
    std::vector<float> Doubled() const {
        std::vector<float> doubled = in;
        for (float& value : doubled) value *= 2;
        return doubled;
    }
};

/// A misuse that is no matter of the sanitizer: found in every mode.
template <typename Kernel>
void Misuse(const std::string& code, std::initializer_list<std::string> parts, const Kernel& kernel,
            const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    Tiles aiv;
    auto config = aiv.Config();
    for (const auto mode : {twin::SanitizeMode::kOff, twin::SanitizeMode::kFull}) {
        config.sanitize = mode;
        Pair(
            code, parts, config, [&](bool mended, Mark& mark) { kernel(aiv, mended, mark); }, file,
            line);
    }
}

/// One tile, for what happens on the way.
template <typename Queue>
LocalTensor<float> Loaded(Queue& queue, Tiles& aiv) {
    LocalTensor<float> x = queue.template AllocTensor<float>();
    DataCopy(x, Gm(aiv.in), kCount);
    queue.EnQue(x);
    return queue.template DeQue<float>();
}

}  // namespace fixture
