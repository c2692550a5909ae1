// Units in which planners count.
#pragma once

#include <cstdint>

namespace plan {

/// Columns of a fractal of 16-bit elements: shapes are multiples of it.
constexpr uint32_t kStrip = 16;
/// A fp32 vector instruction handles this many elements per repeat.
constexpr uint32_t kLanes = 64;
/// Pieces in which a row goes through the dynamic quantiser, at most: their largest magnitudes fit
/// one repeat, 8 bytes apart. And elements of one, at most: as many magnitudes fit one repeat.
constexpr uint32_t kMostQuantisedPieces = kLanes / 2;
constexpr uint32_t kMostQuantisedPiece = kLanes * kLanes;
constexpr uint32_t kMostQuantisedWidth = kMostQuantisedPieces * kMostQuantisedPiece;
/// Block of UB and L1: addresses and lengths of copies are multiples of it. Bytes.
constexpr uint32_t kBlockBytes = 32;
/// GM buffers inside a workspace start at multiples of the L2 line. Bytes.
constexpr uint32_t kGmAlignment = 512;
/// Most rows of a token batch: the chunk of a prefill step.
constexpr uint32_t kMostTokens = 8192;
/// Bytes of bf16 and fp16.
constexpr uint32_t kHalfBytes = 2;

/// Units that it takes to hold `value`.
constexpr uint64_t CeilDiv(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit; }
/// Up to a multiple of `unit`.
constexpr uint64_t RoundUp(uint64_t value, uint64_t unit) { return CeilDiv(value, unit) * unit; }

}  // namespace plan
