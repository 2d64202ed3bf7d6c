//! NIXL's backends: which of them there is here, and what is done where there is none.

use super::place::Address;

/// How bytes get to storage, by NIXL's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Files by system calls.
    Posix,
    /// Objects by HTTP.
    Obj,
    /// Storage to GPU memory, NVIDIA's way, one thread or several.
    Gds,
    /// Fabrics by libfabric.
    Ofi,
    /// Fabrics by UCX.
    Ucx,
}

/// The names a configuration may use.
pub(super) const NAMES: [(&str, Transport); 7] = [
    ("POSIX", Transport::Posix),
    ("OBJ", Transport::Obj),
    ("GDS", Transport::Gds),
    ("GDS_MT", Transport::Gds),
    ("OFI", Transport::Ofi),
    ("LIBFABRIC", Transport::Ofi),
    ("UCX", Transport::Ucx),
];

impl Transport {
    /// Why this transport is not there, and what is done instead; `None` where it is.
    pub(super) fn fallback(self, place: &Address) -> Option<String> {
        let instead = match place {
            Address::Bucket { .. } => "objects are read and written by HTTP, through host memory",
            _ => "files are read and written by system calls, through host memory",
        };
        let reason = match (self, place) {
            (Transport::Obj, Address::Bucket { .. }) => return None,
            (Transport::Posix, Address::Directory(_) | Address::Nfs { .. }) => return None,
            (Transport::Obj, _) => "nixl_backend OBJ keeps objects, and the storage is a directory",
            (Transport::Posix, _) => "nixl_backend POSIX keeps files, and the storage is a bucket",
            (Transport::Gds, _) => {
                "nixl_backend GDS is not there: GPUDirect Storage is NVIDIA's, and its AMD counterpart, hipFile, is not \
                 in this build"
            }
            (Transport::Ofi, _) => "nixl_backend OFI is not there: libfabric is not in this build",
            (Transport::Ucx, _) => "nixl_backend UCX is not there: UCX is not in this build",
        };
        Some(format!("{reason}; {instead}"))
    }
}
