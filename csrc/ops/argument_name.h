// Names of arguments in messages and traces; the text is put together only when it is needed.
#pragma once

#include <cstddef>
#include <ostream>
#include <string>

namespace ops {

class ArgumentName {
public:
    ArgumentName(const char* name) : first_(name) {}  // NOLINT: a name is what it says
    /// Prefix and name are concatenated: "q_b_" and "dequant_scale".
    ArgumentName(const char* prefix, const char* name) : first_(prefix), second_(name) {}
    /// An element of a list, such as "prefetch[3]".
    ArgumentName(const char* list, size_t index) : first_(list), index_(index), in_list_(true) {}

    std::string str() const {
        std::string text = std::string(first_) + second_;
        if (in_list_) text += "[" + std::to_string(index_) + "]";
        return text;
    }

private:
    const char* first_;
    const char* second_ = "";
    size_t index_ = 0;
    bool in_list_ = false;
};

inline std::ostream& operator<<(std::ostream& out, const ArgumentName& name) {
    return out << name.str();
}

}  // namespace ops
