//! host-io
