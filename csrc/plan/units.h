// Hardware units and rounding helpers of the planners.
#pragma once

#include <cstdint>

namespace plan {

/// Columns of a fractal of 16-bit elements; shapes are multiples of it.
constexpr uint32_t kStrip = 16;
/// An fp32 vector instruction processes this many elements per repeat.
constexpr uint32_t kLanes = 64;
/// Limits of the dynamic quantiser, which processes a row in pieces. The maxima of all pieces, 8
/// bytes apart, fit one repeat; so do the maxima of all repeats of a piece.
constexpr uint32_t kMaxQuantisedPieces = kLanes / 2;
constexpr uint32_t kMaxQuantisedPiece = kLanes * kLanes;
constexpr uint32_t kMaxQuantisedWidth = kMaxQuantisedPieces * kMaxQuantisedPiece;
/// Bytes of a block of UB and L1; addresses and lengths of copies are multiples of it.
constexpr uint32_t kBlockBytes = 32;
/// Bytes of an L2 line; GM buffers inside a workspace start at multiples of it.
constexpr uint32_t kGmAlignment = 512;
/// Maximum number of rows of a token batch: the chunk of a prefill step.
constexpr uint32_t kMaxTokens = 8192;
/// Bytes of an element of bf16 or fp16.
constexpr uint32_t kHalfBytes = 2;

/// The number of units needed to hold `value`.
constexpr uint64_t CeilDiv(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit; }
/// `value`, rounded up to a multiple of `unit`.
constexpr uint64_t RoundUp(uint64_t value, uint64_t unit) { return CeilDiv(value, unit) * unit; }

}  // namespace plan
