#include "model/fair_share.h"

#include <algorithm>
#include <limits>

namespace model {

void ShareFairly(const std::vector<Demand>& demands, double hbm_rate, double l2_rate,
                 std::vector<double>& rates) {
    const size_t count = demands.size();
    rates.assign(count, 0);
    std::vector<bool> fixed(count, false);
    double level = 0;  // the common rate of all transfers that can still rise
    size_t rising = count;
    while (rising > 0) {
        double hbm = 0;
        double l2 = 0;
        double own = std::numeric_limits<double>::infinity();
        for (size_t i = 0; i < count; ++i) {
            if (fixed[i]) continue;
            hbm += demands[i].hbm;
            l2 += demands[i].l2;
            own = std::min(own, demands[i].max_rate - level);
        }
        const double hbm_step = hbm > 0 ? hbm_rate / hbm : own;
        const double l2_step = l2 > 0 ? l2_rate / l2 : own;
        const double step = std::max(0.0, std::min({own, hbm_step, l2_step}));
        level += step;
        hbm_rate -= step * hbm;
        l2_rate -= step * l2;
        for (size_t i = 0; i < count; ++i) {
            if (fixed[i]) continue;
            const bool full =
                (demands[i].hbm > 0 && hbm_step <= step) || (demands[i].l2 > 0 && l2_step <= step);
            if (!full && demands[i].max_rate > level) continue;
            rates[i] = level;
            fixed[i] = true;
            --rising;
        }
    }
}

}  // namespace model
