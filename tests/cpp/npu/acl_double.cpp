#include "acl_double.h"

#include <deque>
#include <map>
#include <utility>

#include "captures.h"

namespace acl_double {

namespace {

struct Function {
    std::string kernel;
};

struct State {
    std::vector<std::string> calls;
    std::vector<Launch> launches;
    std::map<aclrtStream, std::string> streams;
    Captures captures;
    std::map<std::string, std::pair<aclError, std::string>> failures;
    std::string message;
    std::string soc_name = "Ascend910_9391";
    int32_t device = 0;
    bool no_soc = false;
    bool recording = true;
};

State& TheState() {
    static State state;
    return state;
}

// Handles are addresses of these; they are never given up, as a runtime's are not in these tests.
std::deque<Function>& Functions() {
    static std::deque<Function> functions;
    return functions;
}

/// The list of arguments that is being put together; the runtime has one for each thread.
struct Arguments {
    Function* function = nullptr;
    std::vector<std::vector<char>> values;
    bool finished = false;
};

Arguments& TheArguments() {
    static thread_local Arguments arguments;
    return arguments;
}

std::string NameOf(aclrtStream stream) {
    const auto found = TheState().streams.find(stream);
    return found == TheState().streams.end() ? "?" : found->second;
}

std::string NameOfEvent(aclrtEvent event) {
    return "event " + std::to_string(reinterpret_cast<uintptr_t>(event));
}

/// The error that the test asked for.
aclError Result(const char* function) {
    State& state = TheState();
    if (state.failures.empty()) return ACL_SUCCESS;
    const auto found = state.failures.find(function);
    if (found == state.failures.end()) return ACL_SUCCESS;
    const auto [code, message] = found->second;
    state.failures.erase(found);
    state.message = message;
    return code;
}

void Record(const std::string& call) {
    if (TheState().recording) TheState().calls.push_back(call);
}

/// A call for a stream: now, or when the graph is replayed.
void Record(aclrtStream stream, const std::string& call) {
    if (!TheState().captures.Keep(stream, call)) Record(call);
}

/// A captured graph; its handle is its address.
struct Graph {
    std::vector<std::string> calls;
    bool destroyed = false;
};

std::deque<Graph>& Graphs() {
    static std::deque<Graph> graphs;
    return graphs;
}

size_t& Events() {
    static size_t events = 0;
    return events;
}

int Mode(const aclrtLaunchKernelCfg* config) {
    for (size_t i = 0; config != nullptr && i < config->numAttrs; ++i) {
        const aclrtLaunchKernelAttr& attribute = config->attrs[i];
        if (attribute.id == ACL_RT_LAUNCH_KERNEL_ATTR_SCHEM_MODE) return attribute.value.schemMode;
    }
    return 0;
}

}  // namespace

const std::vector<std::string>& Calls() { return TheState().calls; }
const std::vector<Launch>& Launches() { return TheState().launches; }
size_t EventCount() { return Events(); }
void Reset() { TheState() = State(); }
void NameStream(aclrtStream stream, const std::string& name) { TheState().streams[stream] = name; }
void SetDevice(int32_t device) { TheState().device = device; }
void SetRecording(bool recording) { TheState().recording = recording; }

void SetSocName(const char* name) {
    TheState().no_soc = name == nullptr;
    TheState().soc_name = name == nullptr ? "" : name;
}

void FailNext(const std::string& function, aclError code, const std::string& message) {
    TheState().failures[function] = {code, message};
}

}  // namespace acl_double

using namespace acl_double;

extern "C" {

const char* aclrtGetSocName() { return TheState().no_soc ? nullptr : TheState().soc_name.c_str(); }

const char* aclGetRecentErrMsg() { return TheState().message.c_str(); }

aclError aclrtGetDevice(int32_t* deviceId) {
    *deviceId = TheState().device;
    return Result("aclrtGetDevice");
}

aclError aclrtCreateEventExWithFlag(aclrtEvent* event, uint32_t flag) {
    static uintptr_t events = 0;
    if (const aclError error = Result("aclrtCreateEventExWithFlag")) return error;
    if (flag != ACL_EVENT_SYNC) return 107000;  // only such events may be waited for by a stream
    *event = reinterpret_cast<aclrtEvent>(++events);
    ++Events();
    return ACL_SUCCESS;
}

aclError aclrtRecordEvent(aclrtEvent event, aclrtStream stream) {
    if (const aclError error = Result("aclrtRecordEvent")) return error;
    const std::string call = "record " + NameOfEvent(event) + " on " + NameOf(stream);
    bool kept = false;
    const aclError error = TheState().captures.Record(event, stream, call, kept);
    if (error == ACL_SUCCESS && !kept) Record(call);
    return error;
}

aclError aclrtStreamWaitEvent(aclrtStream stream, aclrtEvent event) {
    if (const aclError error = Result("aclrtStreamWaitEvent")) return error;
    const std::string call = "wait for " + NameOfEvent(event) + " on " + NameOf(stream);
    bool kept = false;
    const aclError error = TheState().captures.Wait(stream, event, call, kept);
    if (error == ACL_SUCCESS && !kept) Record(call);
    return error;
}

aclError aclrtCmoAsync(void* src, size_t size, aclrtCmoType cmoType, aclrtStream stream) {
    Record(stream, "prefetch " + std::to_string(reinterpret_cast<uintptr_t>(src)) + "+" +
                       std::to_string(size) + " on " + NameOf(stream));
    if (cmoType != ACL_RT_CMO_TYPE_PREFETCH) return 107000;  // the one type that is supported
    return Result("aclrtCmoAsync");
}

aclError aclrtBinaryLoadFromFile(const char* binPath, aclrtBinaryLoadOptions*,
                                 aclrtBinHandle* binHandle) {
    static uintptr_t binaries = 0;
    Record("load " + std::string(binPath) + " on device " + std::to_string(TheState().device));
    *binHandle = reinterpret_cast<aclrtBinHandle>(++binaries);
    return Result("aclrtBinaryLoadFromFile");
}

aclError aclrtBinaryGetFunction(const aclrtBinHandle, const char* kernelName,
                                aclrtFuncHandle* funcHandle) {
    Functions().push_back({kernelName});
    *funcHandle = &Functions().back();
    return Result("aclrtBinaryGetFunction");
}

aclError aclrtKernelArgsInit(aclrtFuncHandle funcHandle, aclrtArgsHandle* argsHandle) {
    TheArguments().function = static_cast<Function*>(funcHandle);
    TheArguments().values.clear();
    TheArguments().finished = false;
    *argsHandle = &TheArguments();
    return Result("aclrtKernelArgsInit");
}

aclError aclrtKernelArgsAppend(aclrtArgsHandle argsHandle, void* param, size_t paramSize,
                               aclrtParamHandle* paramHandle) {
    auto& arguments = *static_cast<Arguments*>(argsHandle);
    *paramHandle = &arguments;
    if (TheState().recording) {
        const char* bytes = static_cast<const char*>(param);
        arguments.values.emplace_back(bytes, bytes + paramSize);
    }
    return Result("aclrtKernelArgsAppend");
}

aclError aclrtKernelArgsFinalize(aclrtArgsHandle argsHandle) {
    static_cast<Arguments*>(argsHandle)->finished = true;
    return Result("aclrtKernelArgsFinalize");
}

aclError aclrtLaunchKernelWithConfig(aclrtFuncHandle funcHandle, uint32_t numBlocks,
                                     aclrtStream stream, aclrtLaunchKernelCfg* cfg,
                                     aclrtArgsHandle argsHandle, void* reserve) {
    const auto& arguments = *static_cast<Arguments*>(argsHandle);
    if (!arguments.finished || arguments.function != funcHandle || reserve != nullptr) {
        return 107000;
    }
    if (TheState().recording) {
        Record(stream, "launch " + arguments.function->kernel + " on " + NameOf(stream));
        TheState().launches.push_back(
            {arguments.function->kernel, numBlocks, stream, Mode(cfg), arguments.values});
    }
    return Result("aclrtLaunchKernelWithConfig");
}

aclError aclmdlRICaptureBegin(aclrtStream stream, aclmdlRICaptureMode) {
    return TheState().captures.Begin(stream);
}

aclError aclmdlRICaptureEnd(aclrtStream stream, aclmdlRI* modelRI) {
    Graph graph;
    const aclError error = TheState().captures.End(stream, graph.calls);
    if (error != ACL_SUCCESS) return error;
    Graphs().push_back(std::move(graph));
    *modelRI = &Graphs().back();
    return ACL_SUCCESS;
}

aclError aclmdlRIExecuteAsync(aclmdlRI modelRI, aclrtStream) {
    const auto& graph = *static_cast<Graph*>(modelRI);
    if (graph.destroyed) return 107000;
    for (const std::string& call : graph.calls) Record(call);
    return ACL_SUCCESS;
}

aclError aclmdlRIDestroy(aclmdlRI modelRI) {
    static_cast<Graph*>(modelRI)->destroyed = true;
    return ACL_SUCCESS;
}

}  // extern "C"
