// The functions of the Python module that run the timing model.
#pragma once

#include <pybind11/pybind11.h>

void BindTiming(pybind11::module_& m);
