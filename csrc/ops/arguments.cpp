#include "ops/arguments.h"

#include <torch/csrc/jit/frontend/function_schema_parser.h>

#include <algorithm>
#include <map>
#include <stdexcept>

#include "ops/check_schemas.h"

namespace ops {

namespace {

using ListMembers = std::vector<Member> (*)();

/// What lists the members of each op's struct, by the name of the op with its namespace.
std::map<std::string, ListMembers>& Ops() {
    static std::map<std::string, ListMembers> ops;
    return ops;
}

[[noreturn]] void Refuse(const c10::FunctionSchema& schema, const std::string& argument,
                         const std::string& expected, const std::string& got) {
    throw std::invalid_argument(schema.name() + ": argument '" + argument + "': expected " +
                                expected + ", got " + got);
}

bool IsOptional(const std::string& type) { return !type.empty() && type.back() == '?'; }

bool Fits(const Member& member, const std::string& type) {
    return type == member.type || (member.takes_none && type == std::string(member.type) + "?");
}

}  // namespace

std::vector<Place> FindPlaces(const c10::FunctionSchema& schema,
                              const std::vector<Member>& members) {
    const std::vector<c10::Argument>& arguments = schema.arguments();
    std::vector<Place> places;
    std::vector<bool> taken(arguments.size());
    for (const Member& member : members) {
        const auto found =
            std::find_if(arguments.begin(), arguments.end(),
                         [&](const c10::Argument& a) { return a.name() == member.name; });
        if (found == arguments.end()) {
            Refuse(schema, member.name, "an argument of the schema for the struct's member",
                   "none");
        }
        const std::string type = found->type()->str();
        if (!Fits(member, type)) {
            Refuse(schema, member.name, std::string("type ") + member.type + " in the schema",
                   type);
        }
        const auto index = static_cast<size_t>(found - arguments.begin());
        if (taken[index]) Refuse(schema, member.name, "one member of the struct", "two");
        taken[index] = true;
        places.push_back({static_cast<uint8_t>(index), !IsOptional(type)});
    }
    for (size_t i = 0; i < arguments.size(); ++i) {
        if (!taken[i]) {
            Refuse(schema, arguments[i].name(), "a member of the struct for the schema's argument",
                   "none");
        }
    }
    return places;
}

void AddMembers(const char* op, ListMembers members) {
    Ops()[std::string("ascend_prefetch::") + op] = members;
}

void CheckSchemas() {
    for (const auto& [name, members] : Ops()) {
        FindPlaces(c10::Dispatcher::singleton().findSchemaOrThrow(name.c_str(), "").schema(),
                   members());
    }
}

void CheckSchema(const std::string& schema) {
    const c10::FunctionSchema parsed = torch::jit::parseSchema(schema);
    const auto found = Ops().find(parsed.name());
    if (found == Ops().end()) throw std::invalid_argument("no op " + parsed.name());
    FindPlaces(parsed, found->second());
}

}  // namespace ops
