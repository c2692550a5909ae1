#include "ops/cache.h"

#include <ATen/ATen.h>

#include <string>
#include <unordered_set>

#include "plan/units.h"

namespace ops {

namespace {

int64_t FractalWidth(at::ScalarType dtype) {
    return plan::kBlockBytes / static_cast<int64_t>(c10::elementSize(dtype));
}

}  // namespace

bool CacheIsNz(const at::Tensor& cache) {
    return cache.sym_size(3) == FractalWidth(cache.scalar_type());
}

c10::SymInt CacheBlockSize(const at::Tensor& cache) {
    return cache.sym_size(CacheIsNz(cache) ? 2 : 1);
}

void CheckCache(const ArgumentChecks& check, const char* name, const at::Tensor& cache,
                const at::Tensor& like, const c10::SymInt& width, at::ScalarType dtype) {
    check.Device(name, cache);
    check.DType(name, cache, {dtype});
    check.Rank(name, cache, {4});
    const auto blocks = like.sym_size(0);
    const auto block_size = CacheBlockSize(like);
    const int64_t c0 = FractalWidth(dtype);
    const bool nz = CacheIsNz(cache);
    if (nz) {
        check.Shape(name, cache, {blocks, width / c0, block_size, c0});
    } else {
        check.Shape(name, cache, {blocks, block_size, 1, width});
    }
    // The stride of a dimension of size 1 is ignored, as torch does for contiguity.
    const auto dense = [&](int64_t dim, const c10::SymInt& stride) {
        return cache.sym_size(dim) <= 1 || cache.sym_stride(dim) == stride;
    };
    const bool dense_rows = nz ? dense(3, 1) && dense(2, c0) && dense(1, block_size * c0)
                               : dense(3, 1) && dense(1, width);
    const bool apart = blocks <= 1 || cache.sym_stride(0) >= block_size * width;
    check.Require(dense_rows && apart, name,
                  "dense rows within a block (only dimension 0 may be strided)",
                  Text("strides ", ShapeText(cache.sym_strides())));
}

CachePlan MakeCachePlan(const at::Tensor& cache, int64_t width) {
    const bool nz = CacheIsNz(cache);
    CachePlan plan{};
    plan.block_stride = static_cast<uint64_t>(cache.stride(0));
    plan.block_size = static_cast<uint32_t>(cache.size(nz ? 2 : 1));
    plan.row_stride = static_cast<uint32_t>(nz ? cache.size(3) : width);
    plan.layout =
        static_cast<uint32_t>(nz ? plan::CacheLayout::kFractalNz : plan::CacheLayout::kRowMajor);
    plan.type =
        static_cast<uint32_t>(cache.scalar_type() == at::kChar ? plan::ElementType::kInt8
                                                               : plan::ElementType::kActivation);
    return plan;
}

void CheckLatentCache(const ArgumentChecks& check, const LatentCacheArguments& caches,
                      const c10::SymInt& kv_lora, int64_t rope, at::ScalarType dtype) {
    const bool int8 = caches.int8();
    if (int8) {
        check.Require(!caches.joint(), "rope_cache",
                      "a cache of its own where the latent cache is int8", "None");
        check.Dense("kv_cache_scale", *caches.kv_cache_scale, {1}, {at::kFloat});
    }
    // This check precedes that of the cache's dtype, which depends on whether there is a scale.
    check.Require(int8 == (caches.kv_cache.scalar_type() == at::kChar), "kv_cache_scale",
                  int8 ? "None unless 'kv_cache' is int8" : "a tensor beside an int8 'kv_cache'",
                  int8 ? "a tensor" : "None");
    const c10::SymInt width = caches.joint() ? kv_lora + rope : kv_lora;
    CheckCache(check, "kv_cache", caches.kv_cache, caches.kv_cache, width,
               int8 ? at::kChar : dtype);
    if (!caches.joint()) {
        CheckCache(check, "rope_cache", *caches.rope_cache, caches.kv_cache, rope, dtype);
    }
}

LatentCachePlan MakeLatentCachePlan(const LatentCacheArguments& caches, int64_t kv_lora,
                                    int64_t rope) {
    LatentCachePlan plan{};
    plan.joint = caches.joint() ? 1 : 0;
    plan.latent = MakeCachePlan(caches.kv_cache, caches.joint() ? kv_lora + rope : kv_lora);
    plan.rope = caches.joint() ? plan.latent : MakeCachePlan(*caches.rope_cache, rope);
    return plan;
}

uint64_t CacheColumnOffset(const at::Tensor& cache, int64_t column) {
    const int64_t rows = CacheIsNz(cache) ? cache.size(2) : 1;
    return static_cast<uint64_t>(column * rows) * cache.element_size();
}

void CheckSlots(const ArgumentChecks& check, const at::Tensor& slot_mapping,
                const at::Tensor& cache) {
    const int64_t rows = cache.size(0) * cache.size(CacheIsNz(cache) ? 2 : 1);
    const at::Tensor slots = slot_mapping.to(at::kLong);
    const auto values = slots.accessor<int64_t, 1>();
    std::unordered_set<int64_t> seen;
    for (int64_t i = 0; i < values.size(0); ++i) {
        const int64_t slot = values[i];
        const Text at_index(slot, " at index ", i);
        check.RequireValue(slot >= -1 && slot < rows, "slot_mapping",
                           Text("-1 or a slot below ", rows), at_index);
        check.RequireValue(slot < 0 || seen.insert(slot).second, "slot_mapping", "distinct slots",
                           Text(at_index, " again"));
    }
}

}  // namespace ops
