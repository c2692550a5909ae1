#include "ops/prefetch_request.h"

namespace ops {

namespace {

ArgumentName WeightName(size_t index) { return {"prefetch", index}; }

}  // namespace

void CheckPrefetch(const ArgumentChecks& check, const PrefetchArguments& prefetch) {
    check.RequireValue(prefetch.weights.size() <= plan::kMaxPrefetchRegions, "prefetch",
                       Text("at most ", plan::kMaxPrefetchRegions, " tensors"),
                       prefetch.weights.size());
    for (size_t i = 0; i < prefetch.weights.size(); ++i) {
        // The dispatcher does not consider the tensors of an optional list, so the dispatch keys
        // that refuse other tensors (ops/refusals.cpp) do not see these.
        check.Strided(WeightName(i), prefetch.weights[i]);
        check.Resolved(WeightName(i), prefetch.weights[i]);
        check.Device(WeightName(i), prefetch.weights[i]);
        check.Contiguous(WeightName(i), prefetch.weights[i]);
    }
    if (prefetch.bytes) {
        check.RequireValue(*prefetch.bytes >= 0, "prefetch_bytes", "0 or more bytes",
                           *prefetch.bytes);
    }
    if (!prefetch.passing_bytes.has_value()) return;
    const at::IntArrayRef passing = *prefetch.passing_bytes;
    check.RequireValue(
        passing.size() == prefetch.weights.size(), "prefetch_passing_bytes",
        Text("a number for each of the ", prefetch.weights.size(), " tensors of 'prefetch'"),
        passing.size());
    for (size_t i = 0; i < passing.size(); ++i) {
        check.RequireValue(passing[i] >= 0, "prefetch_passing_bytes", "0 or more bytes each",
                           passing[i]);
        // What passes through L2 before an earlier use also passes before a later one.
        check.RequireValue(i == 0 || passing[i] >= passing[i - 1], "prefetch_passing_bytes",
                           Text("no fewer bytes than before the weight that is needed earlier, ",
                                i == 0 ? 0 : passing[i - 1]),
                           passing[i]);
    }
}

plan::PrefetchRegion RegionOf(const at::Tensor& tensor) {
    return {reinterpret_cast<uintptr_t>(tensor.data_ptr()), static_cast<uint64_t>(tensor.nbytes())};
}

plan::PrefetchRequest RequestOf(const PrefetchArguments& prefetch) {
    plan::PrefetchRequest request;
    for (const at::Tensor& tensor : prefetch.weights) request.regions.push_back(RegionOf(tensor));
    if (prefetch.passing_bytes.has_value()) {
        request.passing_bytes.assign(prefetch.passing_bytes->begin(),
                                     prefetch.passing_bytes->end());
    }
    if (prefetch.bytes) request.bytes = static_cast<uint64_t>(*prefetch.bytes);
    return request;
}

void BindPrefetch(LaunchTensors& tensors, const PrefetchArguments& prefetch) {
    for (size_t i = 0; i < prefetch.weights.size(); ++i) {
        tensors.Prefetch(WeightName(i), prefetch.weights[i]);
    }
}

}  // namespace ops
