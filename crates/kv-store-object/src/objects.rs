//! Objects as the transfer layer reaches them.

use std::ops::Range;

use bytes::Bytes;
use object_store::path::Path;
use transfer::{Backend, Remote, TransferError};

use crate::bucket::Bucket;
use crate::error::ObjectError;
use crate::inventory::to_io;
use crate::tier::ObjectConfig;

/// Objects of a bucket below a prefix, by HTTP. Names are paths: no one leaves the prefix.
pub struct ObjectBackend(Bucket);

impl ObjectBackend {
    /// Objects of the bucket that `config` names; what it says of records and caps does not matter here.
    ///
    /// # Errors
    /// [`ObjectError::Runtime`].
    pub fn new(config: &ObjectConfig) -> Result<Self, ObjectError> {
        Bucket::new(config).map(ObjectBackend)
    }

    fn refuse(&self, remote: &Remote, reason: &str) -> TransferError {
        TransferError::Remote {
            backend: self.name().to_owned(),
            remote: remote.to_string(),
            reason: reason.to_owned(),
        }
    }

    fn path(&self, remote: &Remote) -> Result<(Path, u64), TransferError> {
        let Remote::Object { key, offset } = remote else {
            return Err(self.refuse(remote, "it has objects only"));
        };
        let is_below = !key.is_empty() && !key.starts_with('/') && !key.ends_with('/');
        let path = is_below.then(|| self.0.path_of(key)).flatten();
        let reason = "the name must be a path of non-empty parts, without . and ..";
        path.map(|path| (path, *offset)).ok_or_else(|| self.refuse(remote, reason))
    }
}

impl Backend for ObjectBackend {
    fn name(&self) -> &str {
        "OBJ"
    }

    fn read(&self, remote: &Remote, out: &mut [u8]) -> Result<(), TransferError> {
        let (path, offset) = self.path(remote)?;
        if out.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(out.len() as u64);
        let end = end.ok_or_else(|| self.refuse(remote, "no object is so long"))?;
        let range: Range<u64> = offset..end;
        let failed = |error| failed("read", remote, error);
        let found = self.0.fetch_range_at(path, range).map_err(failed)?;
        if found.len() != out.len() {
            return Err(self.refuse(remote, "the object ends before the range does"));
        }
        out.copy_from_slice(&found);
        Ok(())
    }

    fn write(&self, remote: &Remote, bytes: &[u8]) -> Result<(), TransferError> {
        let (path, offset) = self.path(remote)?;
        if offset != 0 {
            return Err(self.refuse(remote, "an object is written whole, from 0 on"));
        }
        let put = self.0.put_at(path, Bytes::copy_from_slice(bytes));
        put.map_err(|error| failed("write", remote, error))
    }
}

fn failed(action: &str, remote: &Remote, error: object_store::Error) -> TransferError {
    let error = to_io(error);
    TransferError::Io {
        what: format!("cannot {action} {remote}"),
        kind: error.kind(),
        message: error.to_string(),
    }
}
