//! RoPE frequencies for every scaling method.
