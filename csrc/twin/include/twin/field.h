// Fields of instruction parameters. A field is narrower than the numbers that kernels compute for
// it, and here it reports a number that it cannot hold.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "twin/detail.h"

namespace twin {

template <typename T, typename Name>
class Field;

/// A number that is to be stored in a field, and the line of the kernel that stores it.
class Number {
public:
    template <typename V,
              std::enable_if_t<std::is_arithmetic_v<V> || std::is_enum_v<V>, bool> = true>
    constexpr Number(V value, Site site_in = Site::Here()) : bits(BitsOf(value)), site(site_in) {
        if constexpr (std::is_signed_v<V>) negative = value < 0;
    }
    template <typename T, typename Name>
    constexpr Number(const Field<T, Name>& field, Site site_in = Site::Here())
        : bits(field.value()), site(site_in) {}

    uint64_t bits;  ///< two's complement
    bool negative = false;
    Site site;

private:
    template <typename V>
    static constexpr uint64_t BitsOf(V value) {
        if constexpr (std::is_floating_point_v<V>) {
            return static_cast<uint64_t>(static_cast<int64_t>(value));
        } else {
            return static_cast<uint64_t>(value);
        }
    }
};

/// Reports a number that a field cannot hold. Outside of a launch nothing is reported, and the
/// field keeps the low bits, as it does in the toolkits.
void ReportFieldOverflow(const char* field, const Number& number, uint64_t limit);

/// A field of a parameter struct. It holds a T; assigning a number that a T would truncate is
/// reported. `Name::kText` is the field's name.
template <typename T, typename Name>
class Field {
    static_assert(std::is_unsigned_v<T>, "fields of the hardware have no sign");
    static constexpr uint64_t kLimit = std::numeric_limits<T>::max();

public:
    explicit constexpr Field(const Number& number) : value_(static_cast<T>(number.bits)) {
        if (number.negative || number.bits > kLimit)
            ReportFieldOverflow(Name::kText, number, kLimit);
    }
    constexpr Field& operator=(const Number& number) { return *this = Field(number); }

    constexpr operator T() const { return value_; }
    constexpr T value() const { return value_; }

private:
    T value_;
};

}  // namespace twin

/// Declares the field `name` of `Struct`, of unsigned type `type` and with the default `initial`.
#define ASCEND_TWIN_FIELD(Struct, type, name, initial)          \
    struct name##Field {                                        \
        static constexpr const char* kText = #Struct "." #name; \
    };                                                          \
    ::twin::Field<type, name##Field> name { ::twin::Number(initial) }
