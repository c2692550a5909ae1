// The functions of the Python module that plan prefetches.
#pragma once

#include <pybind11/pybind11.h>

void BindPlanning(pybind11::module_& m);
