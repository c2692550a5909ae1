// A minimal test harness.
//
//     TEST(adds) { CHECK_EQ(1 + 1, 2); }
//
// A failed check prints where it stands and the values, and the test goes on. A test that checks
// nothing fails. check_main.cpp has the main function.
#pragma once

#include <cmath>
#include <exception>
#include <iterator>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace check {

struct Test {
    const char* name;
    void (*run)();
};

/// The tests of this executable in the order of the source.
std::vector<Test>& Registry();

/// Counts a check; prints `message` with its place when it does not hold.
void Report(bool holds, const char* file, int line, const std::string& message);

struct Registration {
    Registration(const char* name, void (*run)()) { Registry().push_back({name, run}); }
};

template <typename T, typename = void>
struct IsStreamable : std::false_type {};
template <typename T>
struct IsStreamable<
    T, std::void_t<decltype(std::declval<std::ostream&>() << std::declval<const T&>())>>
    : std::true_type {};

template <typename T, typename = void>
struct IsRange : std::false_type {};
template <typename T>
struct IsRange<T, std::void_t<decltype(std::begin(std::declval<const T&>()))>> : std::true_type {};

template <typename T>
std::string Show(const T& value) {
    std::ostringstream out;
    out.precision(17);
    if constexpr (std::is_same_v<T, bool>) {
        out << (value ? "true" : "false");
    } else if constexpr (std::is_arithmetic_v<T>) {
        out << +value;  // 8-bit integers as numbers
    } else if constexpr (std::is_enum_v<T>) {
        out << +static_cast<std::underlying_type_t<T>>(value);
    } else if constexpr (IsStreamable<T>::value) {
        out << value;
    } else if constexpr (IsRange<T>::value) {
        out << "{";
        const char* separator = "";
        for (const auto& element : value) {
            out << std::exchange(separator, ", ") << Show(element);
        }
        out << "}";
    } else {
        out << "<" << sizeof(T) << " bytes>";
    }
    return out.str();
}

/// a == b by value: integers of different signedness compare as the numbers they are.
template <typename A, typename B>
bool Equal(const A& a, const B& b) {
    if constexpr (std::is_integral_v<A> && std::is_integral_v<B>) {
        if constexpr (std::is_signed_v<A> && std::is_unsigned_v<B>) {
            return a >= 0 && static_cast<std::make_unsigned_t<A>>(a) == b;
        } else if constexpr (std::is_unsigned_v<A> && std::is_signed_v<B>) {
            return Equal(b, a);
        } else {
            return a == b;
        }
    } else {
        return a == b;
    }
}

template <typename A, typename B>
void CheckEqual(const A& a, const B& b, const char* file, int line, const char* text) {
    const bool holds = Equal(a, b);
    Report(holds, file, line, holds ? "" : text + (": " + Show(a)) + " vs " + Show(b));
}

inline void CheckNear(double a, double b, double tolerance, const char* file, int line,
                      const char* text) {
    const bool holds =
        a == b || std::abs(a - b) <= tolerance;  // == for infinities; NaN never holds
    Report(
        holds, file, line,
        holds ? "" : text + (": " + Show(a)) + " vs " + Show(b) + ", tolerance " + Show(tolerance));
}

template <typename Exception, typename Function>
void CheckThrowsWith(const Function& function, const std::string& expected, const char* file,
                     int line, const char* text) {
    try {
        function();
    } catch (const Exception& error) {
        const std::string what = error.what();
        const bool holds = what.find(expected) != std::string::npos;
        Report(holds, file, line, text + (": \"" + expected) + "\" is not in \"" + what + "\"");
        return;
    } catch (const std::exception& error) {
        Report(false, file, line, text + std::string(": another exception: ") + error.what());
        return;
    }
    Report(false, file, line, text + std::string(": no exception"));
}

}  // namespace check

#define TEST(name)                                                            \
    static void Test_##name();                                                \
    static const check::Registration registration_##name(#name, Test_##name); \
    static void Test_##name()

#define CHECK(...) \
    check::Report(static_cast<bool>(__VA_ARGS__), __FILE__, __LINE__, "CHECK(" #__VA_ARGS__ ")")

#define CHECK_EQ(a, b) check::CheckEqual((a), (b), __FILE__, __LINE__, "CHECK_EQ(" #a ", " #b ")")

#define CHECK_NEAR(a, b, tolerance) \
    check::CheckNear((a), (b), (tolerance), __FILE__, __LINE__, "CHECK_NEAR(" #a ", " #b ")")

/// `expression` throws an Exception whose what() contains `expected`.
#define CHECK_THROWS_WITH(expression, Exception, expected)                                \
    check::CheckThrowsWith<Exception>([&] { static_cast<void>(expression); }, (expected), \
                                      __FILE__, __LINE__,                                 \
                                      "CHECK_THROWS_WITH(" #expression ", " #Exception ")")
