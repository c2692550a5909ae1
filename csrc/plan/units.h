// Units of the hardware and of the blocks, which planners and kernels read.
#pragma once

#include <cstdint>

namespace plan {

/// Rows of a fractal of any type, and its columns of 16-bit elements; shapes are multiples of it.
constexpr uint32_t kStrip = 16;
/// An fp32 vector instruction processes this many elements per repeat.
constexpr uint32_t kLanes = 64;
/// Limits of the dynamic quantiser, which processes a row in pieces. The maxima of all pieces, 8
/// bytes apart, fit one repeat; so do the maxima of all repeats of a piece of a row of several.
constexpr uint32_t kMaxQuantisedPieces = kLanes / 2;
constexpr uint32_t kMaxQuantisedPiece = kLanes * kLanes;
/// The longest row of which the quantiser makes one piece.
constexpr uint32_t kMaxQuantisedRow = 2 * kMaxQuantisedPiece;
constexpr uint32_t kMaxQuantisedWidth = kMaxQuantisedPieces * kMaxQuantisedPiece;
/// Bytes of a row of a fractal, and of a block of UB and L1; addresses and lengths of copies are
/// multiples of it.
constexpr uint32_t kBlockBytes = 32;
constexpr uint32_t kFractalBytes = kStrip * kBlockBytes;
/// fp32 elements of a block.
constexpr uint32_t kBlockFloats = kBlockBytes / 4;
/// Tiles of sums between a cube core and the vector cores of its group (lab/kernels/sums_ring.h).
constexpr uint32_t kSumsRingSlots = 2;
/// Most columns of a tile of sums that vector cores finish beside their cube core: its rows are at
/// most 255 blocks apart, for vector instructions.
constexpr uint32_t kMaxTileColumns = 1984;
/// Up to so many of these tiles are dequantised for W_UK first, and once more to be rotated.
constexpr uint32_t kFewTiles = 4;
/// A product of fewer pairs of fractals that adds to the sums of the one before it waits for it by
/// a barrier (Mmad, synchronisation note).
constexpr uint32_t kSmallProduct = 10;
/// Bytes of an L2 line; GM buffers inside a workspace start at multiples of it.
constexpr uint32_t kGmAlignment = 512;
/// Maximum number of rows of a token batch: the chunk of a prefill step.
constexpr uint32_t kMaxTokens = 8192;
/// Elements of a head that are rotated.
constexpr uint32_t kRopeDim = 64;
/// Bytes of an element of bf16 or fp16, and of fp32.
constexpr uint32_t kHalfBytes = 2;
constexpr uint32_t kFloatBytes = 4;

}  // namespace plan
