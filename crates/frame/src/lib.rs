//! Board frames: little-endian typed columns, keyframe and delta, CRC32C.
