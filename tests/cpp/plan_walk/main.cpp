// Walks plans of models, read from the standard input, until there are enough products.
//
//     plan_walk --products 5000000 [--seed 1] [--faults 20] < models
//
// A pass has every model, tensor parallelism, number of tokens and chip once; what else decides a
// plan is drawn anew in every pass. Exits with 1 where a plan breaks a rule.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <string>

#include "arch/chip.h"
#include "plan_walk/machine.h"
#include "plan_walk/walk.h"

namespace {

using walk::Cores;
using walk::Draws;

constexpr uint32_t kMaxTp = 64;
/// One plan of so many runs on all cores.
constexpr uint64_t kWholeEvery = 16;
/// Tokens of plans on all cores: beyond, one takes as long as a hundred others.
constexpr uint32_t kMaxWholeTokens = 256;
/// Of batches of more tokens than this a pass has one in kLargeEvery.
constexpr uint32_t kLargeTokens = 1024;
constexpr uint64_t kLargeEvery = 8;

struct Options {
    uint64_t products = 0;
    uint64_t seed = 1;
    uint64_t faults = 20;  ///< at which the walk ends
};

struct Totals {
    walk::Walked walked;
    uint64_t plans = 0;
    uint64_t refused = 0;
    uint64_t whole = 0;
    uint64_t faults = 0;
    std::map<std::string, uint64_t> codes;
};

/// At and around every edge of a tile: of fractals, of rows of a tile, of blocks of them.
std::vector<uint32_t> TokenCounts() {
    std::vector<uint32_t> tokens;
    for (uint32_t count = 1; count <= 160; ++count) tokens.push_back(count);
    for (uint32_t edge = 256; edge <= plan::kMaxTokens; edge += 128) {
        for (const uint32_t count : {edge - 1, edge, edge + 1}) {
            if (count <= plan::kMaxTokens) tokens.push_back(count);
        }
    }
    return tokens;
}

uint64_t Mixed(uint64_t a, uint64_t b) {
    uint64_t mixed = (a ^ (b + 0x9E3779B97F4A7C15)) * 0xBF58476D1CE4E5B9;
    return mixed ^ mixed >> 29;
}

class PlanWalk {
public:
    PlanWalk(std::vector<walk::Model> models, const Options& options)
        : models_(std::move(models)), options_(options) {}

    void Run() {
        for (uint64_t pass = 0; !Enough(); ++pass) Pass(pass);
    }
    const Totals& totals() const { return totals_; }

private:
    struct Place {
        size_t model;  ///< beyond the models: a drawn one
        uint32_t tp;
        uint32_t tokens;
        size_t chip;
    };

    bool Enough() const {
        return totals_.walked.products >= options_.products || totals_.faults >= options_.faults;
    }

    void Pass(uint64_t pass) {
        std::vector<Place> places;
        const std::vector<uint32_t> tokens = TokenCounts();
        for (size_t model = 0; model <= models_.size(); ++model) {
            for (uint32_t tp = 1; tp <= kMaxTp; tp *= 2) {
                if (model < models_.size() && models_[model].heads % tp != 0) continue;
                for (const uint32_t count : tokens) {
                    for (size_t chip = 0; chip < arch::Chips().size(); ++chip) {
                        places.push_back({model, tp, count, chip});
                    }
                }
            }
        }
        Draws order(Mixed(options_.seed, pass));
        for (size_t i = places.size(); i > 1; --i) std::swap(places[i - 1], places[order.Below(i)]);
        for (size_t i = 0; i < places.size() && !Enough(); ++i) {
            if (places[i].tokens > kLargeTokens && !order.OneIn(kLargeEvery)) continue;
            Visit(places[i], Mixed(Mixed(options_.seed, pass), i + 1));
        }
    }

    void Visit(const Place& place, uint64_t seed) {
        Draws draws(seed);
        const arch::Chip& chip = arch::Chips()[place.chip];
        walk::Model model;
        uint32_t tp = place.tp;
        if (place.model < models_.size()) {
            model = models_[place.model];
        } else {
            model = walk::DrawModel(draws);
            tp = 1;
        }
        const std::string name = model.name + " TP" + std::to_string(tp);
        const Cores cores = place.tokens <= kMaxWholeTokens && draws.OneIn(kWholeEvery)
                                ? Cores::kAll
                                : Cores::kSome;

        walk::PrologCase prolog = walk::DrawProlog(model, tp, place.tokens, chip, draws);
        walk::PlacePrefetch(prolog.prefetch);
        Try(name, prolog, cores, draws, [&] { return walk::PlanProlog(prolog); });
        walk::OProjCase o_proj = walk::DrawOProj(model, tp, place.tokens, chip, draws);
        walk::PlacePrefetch(o_proj.prefetch);
        Try(name, o_proj, cores, draws, [&] { return walk::PlanOProj(o_proj); });
        if (draws.OneIn(4)) {
            const walk::MatmulCase matmul =
                walk::DrawMatmul(std::min(place.tokens, 2048u), chip, draws);
            Try(name, matmul, cores, draws, [&] { return walk::PlanMatmul(matmul); });
        }
        if (draws.OneIn(8)) {
            const walk::PrefetchCase prefetch = walk::DrawPrefetch(chip, draws);
            Guard(name, prefetch, [&] { return walk::Walk(prefetch, cores, draws); });
        }
        if (draws.OneIn(16)) {
            const walk::CopyCase copy = walk::DrawCopy(chip, draws);
            Guard(name, copy, [&] { return walk::Walk(copy, cores, draws); });
        }
        if (cores == Cores::kAll) ++totals_.whole;
    }

    template <typename Case, typename Plan>
    void Try(const std::string& name, const Case& drawn, Cores cores, Draws& draws,
             const Plan& make) {
        Guard(name, drawn, [&] {
            const auto plan = make();
            return walk::Walk(drawn, plan, cores, draws);
        });
    }

    template <typename Case, typename Body>
    void Guard(const std::string& name, const Case& drawn, const Body& body) {
        ++totals_.plans;
        try {
            totals_.walked += body();
        } catch (const std::invalid_argument&) {
            ++totals_.refused;  // no plan: the op refuses it too
        } catch (const std::exception& error) {
            ++totals_.faults;
            const std::string what = error.what();
            ++totals_.codes[what.substr(0, what.find(':'))];
            std::printf("%s\n    %s: %s\n", error.what(), name.c_str(), walk::Text(drawn).c_str());
        }
    }

    std::vector<walk::Model> models_;
    Options options_;
    Totals totals_;
};

uint64_t Number(const char* text) {
    char* end = nullptr;
    const uint64_t value = std::strtoull(text, &end, 10);
    if (*text == '\0' || *end != '\0') throw std::runtime_error("no number: " + std::string(text));
    return value;
}

Options Parse(int count, char** arguments) {
    Options options;
    const std::map<std::string, uint64_t*> known = {{"--products", &options.products},
                                                    {"--seed", &options.seed},
                                                    {"--faults", &options.faults}};
    for (int i = 1; i < count; i += 2) {
        const auto option = known.find(arguments[i]);
        if (option == known.end() || i + 1 == count)
            throw std::runtime_error(std::string("unknown option or no value: ") + arguments[i]);
        *option->second = Number(arguments[i + 1]);
    }
    if (options.products == 0) throw std::runtime_error("expected --products above 0");
    return options;
}

}  // namespace

int main(int count, char** arguments) {
    try {
        const Options options = Parse(count, arguments);
        const auto start = std::chrono::steady_clock::now();
        PlanWalk plans(walk::ReadModels(std::cin), options);
        plans.Run();
        const double minutes =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / 60;
        const Totals& totals = plans.totals();
        std::printf(
            "seed %llu: %llu products of %llu plans, %llu plans refused; %llu core runs, "
            "%.3g instructions, all cores of %llu layers; %llu faults; %.1f minutes\n",
            static_cast<unsigned long long>(options.seed),
            static_cast<unsigned long long>(totals.walked.products),
            static_cast<unsigned long long>(totals.plans),
            static_cast<unsigned long long>(totals.refused),
            static_cast<unsigned long long>(totals.walked.core_runs),
            static_cast<double>(totals.walked.instructions),
            static_cast<unsigned long long>(totals.whole),
            static_cast<unsigned long long>(totals.faults), minutes);
        for (const auto& [code, faults] : totals.codes)
            std::printf("  %s: %llu\n", code.c_str(), static_cast<unsigned long long>(faults));
        return totals.faults == 0 ? 0 : 1;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "plan_walk: %s\n", error.what());
        return 2;
    }
}
