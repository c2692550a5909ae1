// Which stream of a framework's pool becomes a side stream.
#pragma once

namespace npu {

/// A stream that `next` takes from a pool, which hands its streams out in turn. Never one that
/// `is_main`, and none that `is_side` already unless it looks as if all were: two streams then
/// share one. The pool has two streams or more.
template <class Next, class IsMain, class IsSide>
auto PickSideStream(Next next, IsMain is_main, IsSide is_side) {
    constexpr int kMostTries = 64;  // torch_npu's pool has 32
    auto stream = next();
    for (int tries = 1; is_main(stream) || (is_side(stream) && tries < kMostTries); ++tries) {
        stream = next();
    }
    return stream;
}

}  // namespace npu
