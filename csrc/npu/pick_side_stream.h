// Chooses a stream of a framework's pool as a side stream.
#pragma once

namespace npu {

/// Returns a stream that `next` takes from a pool, which hands out its streams in turn. It is never
/// one for which `is_main` holds. It is one for which `is_side` already holds only if all streams
/// seem to be side streams; two main streams then share it. The pool has at least two streams.
template <class Next, class IsMain, class IsSide>
auto PickSideStream(Next next, IsMain is_main, IsSide is_side) {
    constexpr int kMaxTries = 64;  // torch_npu's pool has 32
    auto stream = next();
    for (int tries = 1; is_main(stream) || (is_side(stream) && tries < kMaxTries); ++tries) {
        stream = next();
    }
    return stream;
}

}  // namespace npu
