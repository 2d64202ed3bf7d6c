//! KV chunks as objects of an S3 bucket: a tier of `kv-store`, in a crate of its own because HTTP and TLS are ten times
//! what the store itself is.
#![forbid(unsafe_code)]

mod open;
mod tier;

pub use open::{OpenError, open};
pub use tier::{ObjectConfig, ObjectError, ObjectTier};
