#include "plan/cube_program.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "plan/plan_gemm.h"
#include "plan/rounding.h"
#include "plan/units.h"

namespace plan {

namespace {

/// Slots of A in L1, and of L0A and L0B.
constexpr uint32_t kSlots = 2;
constexpr uint32_t kNone = 0xFFFFFFFF;
/// As many tiles at either end of a product are looked at one by one: these are what cores wait
/// for. So many at most count as one in between.
constexpr uint32_t kSingleTiles = 6;
constexpr uint32_t kMostMerged = 16;
/// A share of a product's bytes by which two equal halves of the cores may miss it.
constexpr double kEven = 0.05;

uint32_t Ceil(uint32_t value, uint32_t unit) { return static_cast<uint32_t>(CeilDiv(value, unit)); }

/// The part of a product that a core has.
struct Share {
    uint32_t strip;
    uint32_t strips;
    uint32_t depth;  ///< elements
};

Share ShareOf(const GemmPlan& gemm, uint32_t core, uint32_t cores) {
    const uint32_t strips = gemm.batches * (gemm.n / gemm.strip);
    const uint32_t shares = cores / gemm.row_shares / gemm.depth_shares;
    const uint32_t index = core % shares;
    Share share{};
    share.strip = strips * index / shares;
    share.strips = strips * (index + 1) / shares - share.strip;
    share.depth = gemm.k;
    if (gemm.depth_shares > 1) {
        const uint32_t units = Ceil(gemm.k, gemm.depth_unit);
        const uint32_t group = core / shares / gemm.row_shares;
        const uint32_t begin = units * group / gemm.depth_shares * gemm.depth_unit;
        const uint32_t end = units * (group + 1) / gemm.depth_shares * gemm.depth_unit;
        share.depth = std::min(end, gemm.k) - begin;
    }
    return share;
}

/// Calls `visit` with each run of the share's strips of one batch.
template <typename Visit>
void ForBatches(const GemmPlan& gemm, const Share& share, const Visit& visit) {
    const uint32_t batch = gemm.n / gemm.strip;
    const uint32_t end = share.strip + share.strips;
    for (uint32_t strip = share.strip; strip < end;) {
        const uint32_t next = gemm.batches == 1 ? end : std::min(end, (strip / batch + 1) * batch);
        visit(next - strip);
        strip = next;
    }
}

uint32_t TilesOf(const GemmPlan& gemm, const Share& share) {
    uint32_t tiles = 0;
    ForBatches(gemm, share,
               [&](uint32_t strips) { tiles += Ceil(strips, gemm.tile_n / gemm.strip); });
    return tiles * Ceil(share.depth, gemm.tile_k);
}

/// How often a core reads the rows of its batches, as deep as its share is.
uint32_t LeftReads(const GemmPlan& gemm, const Share& share) {
    const bool kept = gemm.a_depth >= share.depth;
    uint32_t reads = 0;
    ForBatches(gemm, share, [&](uint32_t strips) {
        reads += kept ? 1 : Ceil(strips, gemm.c_tiles * (gemm.tile_n / gemm.strip));
    });
    return reads;
}

/// Two shares of a product, and how many cores have one like each.
struct Extremes {
    std::array<Share, 2> shares;
    std::array<double, 2> cores;
};

/// The shares with most and least to load. Every other core begins with A, so that each of the two
/// stands for half of the cores where that comes to about the bytes of all.
Extremes FindExtremes(const GemmPlan& gemm, uint32_t cores) {
    Extremes found{};
    double most = -1;
    double least = std::numeric_limits<double>::infinity();
    double total = 0;
    for (uint32_t core = 0; core < cores; ++core) {
        const Share share = ShareOf(gemm, core, cores);
        const uint32_t rows =
            share.strips * gemm.strip + LeftReads(gemm, share) * std::min(gemm.m, gemm.tile_m);
        const double loads = static_cast<double>(rows) * share.depth;
        total += loads;
        if (loads > most) {
            most = loads;
            found.shares[0] = share;
        }
        if (loads < least) {
            least = loads;
            found.shares[1] = share;
        }
    }
    const double half = cores / 2.0;
    const double as_uneven = std::abs(half * (most + least) - total);
    const double as_even = std::abs(cores * most - total);
    found.cores[0] = half;
    if (std::min(as_even, as_uneven) > kEven * total) {
        found.cores[0] = (total - cores * least) / (most - least);
    } else if (as_even < as_uneven) {
        found.shares[1] = found.shares[0];
    }
    found.cores[1] = cores - found.cores[0];
    return found;
}

/// Number of tiles along K that count as one, `done` and `left` tiles from the ends of the product.
/// `piece` of them share a piece of A, in which the first is number `offset`.
uint32_t Merged(uint32_t done, uint32_t left, uint32_t piece, uint32_t offset) {
    const uint32_t most = std::min({kMostMerged, done / kSingleTiles, left / kSingleTiles});
    if (piece <= most && offset == 0) return most / piece * piece;
    return std::max(1u, std::min(most, piece - offset));
}

/// Of several tiles of rows each takes the weight's tiles anew, out of L2.
double Passes(const GemmPlan& gemm) {
    return static_cast<double>(CeilDiv(gemm.m, uint64_t{gemm.tile_m} * gemm.row_shares));
}

/// Writes the program of one core.
class Writer {
public:
    /// `from_hbm`: the share of a cold A that misses L2. `weight_first`: whether the core loads a
    /// weight before A, and A before a weight from then on.
    Writer(CubeProgram::Core& core, const GemmBuffers& buffers,
           const std::vector<WalkedProduct>& products, double from_hbm, bool weight_first)
        : core_(core),
          buffers_(buffers),
          products_(products),
          from_hbm_(from_hbm),
          weight_first_(weight_first) {}

    void Write(const std::vector<Share>& shares) {
        for (uint32_t i = 0; i < products_.size(); ++i) AddTiles(i, shares[i]);
        core_.steps.reserve(tiles_.size());
        core_.loads.reserve(2 * tiles_.size());
        weight_loads_.reserve(tiles_.size());
        if (weight_first_) LoadWeights(buffers_.b_slots - 1);
        for (uint32_t i = 0; i < products_.size(); ++i) {
            const WalkedProduct& product = products_[i];
            if (product.awaits) LoadWeights(i == 0 && !weight_first_ ? 1 : 0);
            if (product.awaits || product.meets) ++gates_;
            begun_ = i;
            Run(i);
            core_.ends.push_back(steps_);
        }
    }

private:
    struct Tile {
        uint32_t product;
        uint32_t number;  ///< within the product
        uint32_t columns;
        uint32_t depths;
        uint32_t slot;         ///< its A is in the slot of this number, counted within the product
        uint32_t left_depths;  ///< depth of the piece of A that is loaded for it, 0: it is there
        bool first;            ///< along K
        bool last;
    };

    void AddTiles(uint32_t product, const Share& share) {
        const GemmPlan& gemm = *products_[product].gemm;
        const uint32_t tile_strips = gemm.tile_n / gemm.strip;
        const uint32_t deep = Ceil(share.depth, gemm.tile_k);
        const uint32_t piece = std::max(1u, gemm.a_depth / gemm.tile_k);
        const uint32_t total = TilesOf(gemm, share);
        const auto rows = static_cast<uint32_t>(RoundUp(std::min(gemm.m, gemm.tile_m), kStrip));
        const bool kept = gemm.a_depth >= share.depth;
        uint32_t done = 0;
        uint32_t number = 0;
        uint32_t slot = 0;
        uint32_t used = kNone;  // bytes of the slot
        firsts_.push_back(static_cast<uint32_t>(tiles_.size()));
        ForBatches(gemm, share, [&](uint32_t strips) {
            bool loaded = false;
            for (uint32_t group = 0; group < strips; group += gemm.c_tiles * tile_strips) {
                const uint32_t width = std::min(strips - group, gemm.c_tiles * tile_strips);
                const uint32_t sides = Ceil(width, tile_strips);
                for (uint32_t k = 0; k < deep;) {
                    const uint32_t merged = std::min(
                        deep - k, Merged(done / sides, (total - done) / sides, piece, k % piece));
                    uint32_t left = 0;
                    if (k % piece == 0 && !(kept && loaded)) {
                        loaded = true;
                        left = std::min(Ceil(merged, piece) * piece * gemm.tile_k,
                                        share.depth - k * gemm.tile_k);
                        const uint32_t bytes =
                            rows * std::min(left, gemm.a_depth) * gemm.element_bytes;
                        const bool next = used == kNone || used + bytes > buffers_.a_slot_bytes;
                        used = next ? bytes : used + bytes;
                        if (next) ++slot;
                    }
                    for (uint32_t side = 0; side < width; side += tile_strips) {
                        tiles_.push_back(
                            {product, number++, std::min(tile_strips, width - side) * gemm.strip,
                             std::min(merged * gemm.tile_k, share.depth - k * gemm.tile_k), slot,
                             side == 0 ? left : 0, k == 0, k + merged == deep});
                    }
                    done += merged * sides;
                    k += merged;
                }
            }
        });
    }

    uint32_t End(uint32_t product) const {
        return product + 1 < firsts_.size() ? firsts_[product + 1]
                                            : static_cast<uint32_t>(tiles_.size());
    }

    bool MayLoad() const {
        const uint32_t next = static_cast<uint32_t>(weight_loads_.size());
        if (next == tiles_.size()) return false;
        const Tile& tile = tiles_[next];
        return tile.product <= begun_ || tile.number < products_[tile.product].ahead;
    }

    void LoadWeights(uint32_t spare) {
        while (weight_loads_.size() - steps_ + spare < buffers_.b_slots && MayLoad()) LoadWeight();
    }

    void LoadWeight() {
        const auto number = static_cast<int32_t>(weight_loads_.size());
        const Tile& tile = tiles_[weight_loads_.size()];
        const GemmPlan& gemm = *products_[tile.product].gemm;
        const double bytes = static_cast<double>(tile.columns) * tile.depths * gemm.element_bytes;
        const int32_t behind = std::max(-1, number - static_cast<int32_t>(buffers_.b_slots));
        const double passes = Passes(gemm);
        core_.loads.push_back(
            {passes * bytes, 1 / passes, tile.product, tile.columns, behind, gates_, false});
        weight_loads_.push_back(static_cast<uint32_t>(core_.loads.size() - 1));
    }

    /// Loads what A's slot holds from tile `first` on; returns the first tile of the next slot.
    uint32_t LoadLeft(uint32_t first) {
        const uint32_t product = tiles_[first].product;
        const GemmPlan& gemm = *products_[product].gemm;
        const uint32_t end = End(product);
        uint32_t depths = 0;
        uint32_t tile = first;
        for (; tile < end && tiles_[tile].slot == tiles_[first].slot; ++tile) {
            depths += tiles_[tile].left_depths;
        }
        // A single row is loaded twice (kernels/gemm.h).
        const uint32_t rows = gemm.m == 1 ? 2 : std::min(gemm.m, gemm.tile_m);
        const double bytes = Passes(gemm) * static_cast<double>(rows) * depths * gemm.element_bytes;
        // Where A comes in many pieces, it takes turns with the weights; half of the cores are half
        // a turn behind the others if all of them begin at once.
        const bool turns = tiles_[end - 1].slot > buffers_.b_slots;
        left_loads_[next_slot_] = static_cast<uint32_t>(core_.loads.size());
        core_.loads.push_back({bytes, products_[product].cold ? from_hbm_ : 0, product, 0,
                               left_free_[next_slot_], gates_, products_[product].awaits && turns});
        next_slot_ = 1 - next_slot_;
        return tile;
    }

    void Run(uint32_t product) {
        const uint32_t first = firsts_[product];
        const uint32_t end = End(product);
        if (first == end) {
            LoadWeights(0);
            return;
        }
        uint32_t ahead = loaded_ahead_;  // the first tile whose A has not been asked for
        if (ahead == kNone) ahead = LoadLeft(first);
        loaded_ahead_ = kNone;
        uint32_t slot = 1 - next_slot_;
        LoadWeights(0);
        if (ahead < end) {
            ahead = LoadLeft(ahead);
        } else if (product + 1 < products_.size() && !products_[product + 1].awaits &&
                   end < End(product + 1)) {
            loaded_ahead_ = LoadLeft(end);
        }
        for (uint32_t i = first; i < end; ++i) {
            AddStep(tiles_[i], left_loads_[slot]);
            if (!weight_first_) Release();
            if (i + 1 == end || tiles_[i + 1].slot != tiles_[i].slot) {
                left_free_[slot] = static_cast<int32_t>(i);
                slot = 1 - slot;
                if (ahead < end) ahead = LoadLeft(ahead);
            }
            if (weight_first_) Release();
        }
    }

    void Release() {
        ++steps_;
        if (MayLoad()) LoadWeight();
    }

    void AddStep(const Tile& tile, uint32_t left) {
        const WalkedProduct& product = products_[tile.product];
        const GemmPlan& gemm = *product.gemm;
        const double passes = Passes(gemm);
        const uint32_t rows = std::min(gemm.m, gemm.tile_m);
        const uint32_t row_fractals = Ceil(rows, kStrip);
        const uint32_t column_fractals = tile.columns / kStrip;
        CubeProgram::Step step{};
        step.left = left;
        step.weight = weight_loads_[core_.steps.size()];
        step.parts = Ceil(std::min(tile.depths, gemm.tile_k), gemm.l0_k);
        step.moved = product.moves && tile.number == 0 ? std::min(step.parts, kSlots) : 0;
        const double blocks = passes * tile.depths * gemm.element_bytes / kBlockBytes / step.parts;
        step.move_a = blocks * row_fractals * kFractalBytes;
        step.move_b = blocks * column_fractals * kFractalBytes;
        step.multiply = blocks * row_fractals * column_fractals;
        if (tile.last) {
            const uint32_t element = gemm.c_sums != 0 ? kFloatBytes : kHalfBytes;
            step.store = passes * static_cast<double>(rows) * tile.columns * element;
        }
        step.first = tile.first;
        step.serial = rows / kStrip * column_fractals < kSmallProduct;
        step.both_slots = gemm.l0c_slots > 1;
        core_.steps.push_back(step);
    }

    CubeProgram::Core& core_;
    const GemmBuffers& buffers_;
    const std::vector<WalkedProduct>& products_;
    double from_hbm_;
    bool weight_first_;
    std::vector<Tile> tiles_;
    std::vector<uint32_t> firsts_;        ///< of each product, its first tile
    std::vector<uint32_t> weight_loads_;  ///< of each tile
    uint32_t left_loads_[kSlots] = {0, 0};
    int32_t left_free_[kSlots] = {-1, -1};
    uint32_t next_slot_ = 0;
    uint32_t loaded_ahead_ = kNone;
    uint32_t steps_ = 0;
    uint32_t begun_ = 0;
    uint32_t gates_ = 0;
};

}  // namespace

double WeightHbmFactor(const arch::TimingConstants& constants, const GemmPlan& gemm,
                       uint32_t columns) {
    const WeightLayout layout = LayoutOf(gemm);
    const bool deep = DepthIsContiguous(layout);
    if (IsFractal(layout)) {
        const double block = (deep ? columns : gemm.tile_k) * kBlockBytes;
        return arch::HbmFactor(constants, arch::LoadKind::kToL1, block);
    }
    const double row = (deep ? gemm.tile_k : columns) * gemm.element_bytes;
    return arch::HbmFactor(constants, arch::LoadKind::kNd2Nz, row);
}

uint32_t MostTiles(const GemmPlan& gemm, uint32_t cores) {
    uint32_t most = 0;
    for (uint32_t core = 0; core < cores; ++core) {
        most = std::max(most, TilesOf(gemm, ShareOf(gemm, core, cores)));
    }
    return most;
}

CubeProgram::CubeProgram(const GemmBuffers& buffers, uint32_t cores,
                         std::vector<WalkedProduct> products)
    : products_(std::move(products)), slots_(buffers.b_slots) {
    std::array<std::vector<Share>, 2> shares;
    for (const WalkedProduct& product : products_) {
        const Extremes found = FindExtremes(*product.gemm, cores);
        for (size_t i = 0; i < cores_.size(); ++i) {
            shares[i].push_back(found.shares[i]);
            cores_[i].stands_for.push_back(found.cores[i]);
        }
        tiles_.push_back(MostTiles(*product.gemm, cores));
    }
    // A cold A comes from HBM once, and is read again by cores with other columns.
    const GemmPlan& first = *products_.front().gemm;
    double reads = 0;
    for (size_t i = 0; i < cores_.size(); ++i) {
        reads += cores_[i].stands_for.front() * LeftReads(first, shares[i].front());
    }
    const double from_hbm = std::min(1.0, first.batches * first.depth_shares / reads);
    for (size_t i = 0; i < cores_.size(); ++i) {
        Writer(cores_[i], buffers, products_, from_hbm, i != 0).Write(shares[i]);
    }
}

bool CubeProgram::EndsBefore(size_t left) const {
    uint64_t tiles = 0;
    for (size_t i = tiles_.size() - left; i < tiles_.size(); ++i) tiles += tiles_[i];
    return tiles <= slots_;
}

}  // namespace plan
