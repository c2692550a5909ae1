#include "model/trace_reader.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace model {

namespace {

// No real tensor comes near this size. The limit keeps a corrupt trace from exhausting memory:
// AccountPrefetch keeps a state for every 32 bytes of a weight.
constexpr uint64_t kMaxTensorBytes = uint64_t{8} << 30;

class Reader {
public:
    explicit Reader(const std::string& bytes) : bytes_(bytes) {}

    template <typename T>
    T Take(const char* what) {
        T value;
        std::memcpy(&value, Skip(sizeof(T), what), sizeof(T));
        return value;
    }

    const char* Skip(size_t count, const char* what) {
        if (count > bytes_.size() - at_) {
            throw std::invalid_argument(std::string("trace: ends inside its ") + what + " (" +
                                        std::to_string(bytes_.size()) + " bytes)");
        }
        const char* start = bytes_.data() + at_;
        at_ += count;
        return start;
    }

    std::string TakeText(const char* what) {
        const size_t end = bytes_.find('\0', at_);
        if (end == std::string::npos)
            throw std::invalid_argument(std::string("trace: ends inside its ") + what);
        std::string text = bytes_.substr(at_, end - at_);
        at_ = end + 1;
        // Error texts quote these names, so they have to be text.
        const bool printable =
            std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
        if (!printable) {
            throw std::invalid_argument(std::string("trace: a text among its ") + what +
                                        " is not printable ASCII");
        }
        return text;
    }

    bool AtEnd() const { return at_ == bytes_.size(); }
    size_t left() const { return bytes_.size() - at_; }

private:
    const std::string& bytes_;
    size_t at_ = 0;
};

// A replay uses the fields of a record as indices, so every field is validated here.
void CheckRecord(const TraceFile& file, const twin::TraceRecord& record) {
    using twin::TraceOp;
    using twin::TracePipe;
    if (record.op > TraceOp::kCrossWait || record.pipe > TracePipe::kAll) {
        throw std::invalid_argument("trace: a record has an unknown operation or pipe");
    }
    const bool one_pipe = record.op != TraceOp::kBarrier && record.op != TraceOp::kCrossWait;
    if (one_pipe && record.pipe == TracePipe::kAll) {
        throw std::invalid_argument("trace: a record that works on one pipe names all of them");
    }
    if (record.site >= file.sites.size() ||
        (record.tensor != twin::kNoTensor && record.tensor >= file.tensors.size())) {
        throw std::invalid_argument("trace: a record names a site or tensor that is not in it");
    }
    if (record.tensor == twin::kNoTensor) return;
    const TraceTensorInfo& tensor = file.tensors[record.tensor];
    const uint64_t blocks = record.block_count;
    const bool inside =
        blocks > 0 && record.block_bytes > 0 && record.gm_offset <= tensor.bytes &&
        record.block_bytes <= tensor.bytes - record.gm_offset &&
        (blocks == 1 || (record.block_stride > 0 &&
                         blocks - 1 <= (tensor.bytes - record.gm_offset - record.block_bytes) /
                                           record.block_stride));
    if (!inside)
        throw std::invalid_argument("trace: a record reaches past the end of '" + tensor.name +
                                    "'");
}

}  // namespace

int TraceFile::FindTensor(const std::string& name) const {
    for (size_t i = 0; i < tensors.size(); ++i) {
        if (tensors[i].name == name) return static_cast<int>(i);
    }
    return -1;
}

TraceFile ReadTrace(const std::string& bytes) {
    Reader reader(bytes);
    const auto header = reader.Take<twin::TraceHeader>("header");
    if (header.magic != twin::kTraceMagic)
        throw std::invalid_argument("trace: not a trace (wrong magic)");
    if (header.version != twin::kTraceVersion) {
        throw std::invalid_argument("trace: version " + std::to_string(header.version) +
                                    ", this build reads " + std::to_string(twin::kTraceVersion));
    }
    if (header.aic_count > header.core_count)
        throw std::invalid_argument("trace: more AICs than cores");
    TraceFile file;
    file.aic_count = header.aic_count;
    const size_t fixed = header.core_count * sizeof(twin::TraceCore) +
                         header.tensor_count * sizeof(twin::TraceTensor);
    if (fixed > reader.left() ||
        header.record_count > (reader.left() - fixed) / sizeof(twin::TraceRecord)) {
        throw std::invalid_argument("trace: its header promises more than its " +
                                    std::to_string(bytes.size()) + " bytes hold");
    }
    std::vector<twin::TraceCore> cores;
    uint64_t total = 0;
    for (uint32_t i = 0; i < header.core_count; ++i) {
        cores.push_back(reader.Take<twin::TraceCore>("core table"));
        if (cores.back().first_record != total)
            throw std::invalid_argument("trace: the core table has gaps");
        total += cores.back().record_count;
    }
    if (total != header.record_count)
        throw std::invalid_argument("trace: the core table does not add up");
    for (uint32_t i = 0; i < header.tensor_count; ++i) {
        const auto tensor = reader.Take<twin::TraceTensor>("tensor table");
        file.tensors.push_back({"", tensor.address, tensor.bytes, tensor.writable != 0});
    }
    for (const auto& core : cores) {
        const char* start = reader.Skip(core.record_count * sizeof(twin::TraceRecord), "records");
        std::vector<twin::TraceRecord> records(core.record_count);
        if (!records.empty())
            std::memcpy(records.data(), start, records.size() * sizeof(twin::TraceRecord));
        file.cores.push_back(std::move(records));
    }
    for (uint32_t i = 0; i < header.site_count; ++i) file.sites.push_back(reader.TakeText("sites"));
    for (auto& tensor : file.tensors) {
        tensor.name = reader.TakeText("tensor names");
        if (tensor.bytes > kMaxTensorBytes) {
            throw std::invalid_argument("trace: tensor '" + tensor.name + "' of " +
                                        std::to_string(tensor.bytes) + " bytes; at most " +
                                        std::to_string(kMaxTensorBytes));
        }
    }
    file.kernel = reader.TakeText("kernel name");
    file.chip = reader.TakeText("chip name");
    if (!reader.AtEnd()) throw std::invalid_argument("trace: bytes follow its end");
    for (const auto& core : file.cores) {
        for (const auto& record : core) CheckRecord(file, record);
    }
    return file;
}

}  // namespace model
