//! KV chunks as objects of an S3 bucket: a tier of `kv-store`, in a crate of its own because HTTP and TLS are ten times
//! what the store itself is.
#![forbid(unsafe_code)]

mod bucket;
mod client;
mod error;
mod inventory;
mod objects;
mod open;
mod pieces;
mod tier;

pub use error::ObjectError;
pub use inventory::BucketInventory;
pub use objects::ObjectBackend;
pub use open::{OpenError, open, store_config};
pub use tier::{ObjectConfig, ObjectTier};
