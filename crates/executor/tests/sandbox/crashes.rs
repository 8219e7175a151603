//! Services that die at bad moments.
