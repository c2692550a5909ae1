// Macros that pass the caller's source location to a helper, for toolkits that report it.
//
// A kernel_operator.h may define them: a synchronisation or rounding inside a helper is then
// attributed to the helper's caller. On a device they expand to nothing, and ROUNDED to its second
// argument.
#pragma once

#include "kernel_operator.h"

#ifndef CALL_SITE
#define CALL_SITE
#define CALL_SITE_PARAMETER
#define AND_CALL_SITE
#define AND_CALL_SITE_PARAMETER
// `up` is the correct value; a mutation test may replace it by `none` (not rounded) or `down`.
#define ROUNDED(name, up, none, down) (up)
#endif
