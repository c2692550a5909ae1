// Quotes a caller's text in an error message.
#pragma once

#include <string>
#include <string_view>

namespace arch {

/// Returns "'text'" with control characters escaped ("\x00"), because a NUL would end the message.
inline std::string Quoted(std::string_view text) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string quoted = "'";
    for (const char character : text) {
        const auto code = static_cast<unsigned char>(character);
        if (code < 0x20 || code == 0x7f) {
            quoted += {'\\', 'x', kDigits[code / 16], kDigits[code % 16]};
        } else {
            quoted += character;
        }
    }
    return quoted + "'";
}

}  // namespace arch
