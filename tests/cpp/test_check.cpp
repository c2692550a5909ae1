#include <cstdint>
#include <limits>
#include <stdexcept>

#include "check.h"

namespace {

enum class Color : uint8_t { kRed = 7 };

struct Opaque {
    int32_t value;
};

[[noreturn]] void Throw() { throw std::out_of_range("slot 9 of 8"); }

}  // namespace

TEST(equal_compares_integers_as_numbers) {
    CHECK(!check::Equal(-1, std::numeric_limits<uint32_t>::max()));
    CHECK(!check::Equal(std::numeric_limits<uint64_t>::max(), int64_t{-1}));
    CHECK(check::Equal(size_t{3}, 3));
    CHECK(check::Equal(3, size_t{3}));
}

TEST(show_prints_values) {
    CHECK_EQ(check::Show(uint8_t{65}), "65");
    CHECK_EQ(check::Show(true), "true");
    CHECK_EQ(check::Show(0.1f), "0.10000000149011612");
    CHECK_EQ(check::Show(Color::kRed), "7");
    CHECK_EQ(check::Show(std::vector<int8_t>{1, -2}), "{1, -2}");
    CHECK_EQ(check::Show(Opaque{1}), "<4 bytes>");
}

TEST(near_takes_infinities_and_the_tolerance_itself) {
    const double infinity = std::numeric_limits<double>::infinity();
    CHECK_NEAR(infinity, infinity, 0);
    CHECK_NEAR(1.0, 1.5, 0.5);
}

TEST(throws_with_finds_the_text) { CHECK_THROWS_WITH(Throw(), std::out_of_range, "9 of 8"); }
