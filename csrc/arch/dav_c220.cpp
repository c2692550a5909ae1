#include "arch/dav_c220.h"

#include "arch/architecture.h"

namespace arch {

const Architecture kDavC220 = {
    "dav-c220",
    true,
    DavC220::kAivPerAic,
    DavC220::kUbBytes,
    DavC220::kUsableUbBytes,
    DavC220::kL1Bytes,
    DavC220::kUsableL1Bytes,
    DavC220::kL0aBytes,
    DavC220::kL0bBytes,
    DavC220::kL0cBytes,
    DavC220::kSumsAlignment,
    DavC220::kBiasBytes,
    DavC220::kFixpipeBytes,
    DavC220::kAicInstructionCacheBytes,
    DavC220::kAivInstructionCacheBytes,
    DavC220::kL2LineBytes,
    // 16 x 16 x 16 for 16-bit elements; twice as many for int8.
    {4096, Provenance::kPublished, "ADt mmad"},
    // 302 MB in 202.7 us on 48 vector cores.
    {1.49, Provenance::kPublished, "ADx data_copy"},
    // 302 MB in 214.5 us on 24 cube cores.
    {1.41, Provenance::kPublished, "ADx data_copy"},
    // Measured were a gain with 0.67 x the capacity and a loss with 1.33 x.
    {0.7, Provenance::kDerived, "PL"},
};

}  // namespace arch
