// The part of the Python module that models time.
#pragma once

#include <pybind11/pybind11.h>

void BindTiming(pybind11::module_& m);
