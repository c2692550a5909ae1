// Checks that the ops' structs of arguments are those of their schemas. This header needs no torch,
// for the Python module.
#pragma once

#include <string>

namespace ops {

/// Checks all ops, for the import of the module. Throws std::invalid_argument, one line that names
/// the op and the argument, for the first difference (ops/arguments.h).
void CheckSchemas();

/// Checks the struct of one op against a schema in torch's notation, for tests. Throws as
/// CheckSchemas does; std::invalid_argument too where there is no such op.
void CheckSchema(const std::string& schema);

}  // namespace ops
