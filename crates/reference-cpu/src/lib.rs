//! reference-cpu
