// Where a helper was called from, for a toolkit that wants to know.
//
// A kernel_operator.h may define these: what a helper synchronises or rounds then counts as its
// caller's. On a device they are nothing, and ROUNDED is its second argument.
#pragma once

#include "kernel_operator.h"

#ifndef CALL_SITE
#define CALL_SITE
#define CALL_SITE_PARAMETER
#define AND_CALL_SITE
#define AND_CALL_SITE_PARAMETER
// `up` is right; `none` (not rounded) and `down` are what a mutation test may put in its place.
#define ROUNDED(name, up, none, down) (up)
#endif
