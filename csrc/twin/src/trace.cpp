// The serialised form of a trace (twin/trace_format.h).
#include <cstring>

#include "twin/launch.h"

namespace twin {

namespace {

template <typename T>
void Append(std::string& out, const T& value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

void AppendText(std::string& out, const std::string& text) {
    out.append(text.c_str(), text.size() + 1);
}

}  // namespace

std::string Trace::Serialise() const {
    TraceHeader header{};
    header.magic = kTraceMagic;
    header.version = kTraceVersion;
    header.core_count = static_cast<uint32_t>(cores.size());
    header.aic_count = aic_count;
    header.tensor_count = static_cast<uint32_t>(tensors.size());
    header.site_count = static_cast<uint32_t>(sites.size());
    for (const auto& core : cores) header.record_count += core.size();

    std::string out;
    out.reserve(sizeof(header) + header.record_count * sizeof(TraceRecord) + 65536);
    Append(out, header);
    uint64_t first = 0;
    for (const auto& core : cores) {
        Append(out, TraceCore{first, core.size()});
        first += core.size();
    }
    for (const auto& tensor : tensors) {
        Append(out, TraceTensor{reinterpret_cast<uintptr_t>(tensor.data), tensor.bytes,
                                tensor.writable ? 1u : 0u, 0});
    }
    for (const auto& core : cores) {
        out.append(reinterpret_cast<const char*>(core.data()), core.size() * sizeof(TraceRecord));
    }
    for (const auto& site : sites) AppendText(out, site);
    for (const auto& tensor : tensors) AppendText(out, tensor.name);
    AppendText(out, kernel);
    AppendText(out, chip);
    return out;
}

}  // namespace twin
