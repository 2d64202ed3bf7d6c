//! Why bytes are not a code object that can be used.

use thiserror::Error;

/// Why bytes are not a code object that can be used.
#[derive(Clone, PartialEq, Eq, Error, Debug)]
#[non_exhaustive]
pub enum Error {
    /// Neither ELF nor an offload bundle.
    #[error("this is neither a code object nor an offload bundle: it begins with {0:02x?}")]
    UnknownContainer(Vec<u8>),
    /// The ELF file is damaged, or is not one of AMD's.
    #[error("not a readable code object: {0}")]
    Elf(String),
    /// Compiled for something else.
    #[error("the code object is for {found}, not for gfx942: compile with --offload-arch=gfx942")]
    Target {
        /// The processor that it is for.
        found: String,
    },
    /// An older or newer code-object version.
    #[error(
        "ELF ABI version {0} is not known (1 to 4 are: code object versions 3 to 6): compile with \
         -mcode-object-version=5"
    )]
    Version(u8),
    /// The offload bundle is damaged.
    #[error("not a readable offload bundle: {0}")]
    Bundle(String),
    /// The bundle holds nothing for this device.
    #[error("no code object for {wanted} among [{}]: compile with --offload-arch=gfx942", found.join(", "))]
    NoEntry {
        /// The device.
        wanted: String,
        /// The identifiers of the bundle's entries.
        found: Vec<String>,
    },
    /// A size beyond what is reasonable.
    #[error("{what}: {num_bytes} bytes, and {limit} are allowed")]
    TooLarge {
        /// What is so large.
        what: &'static str,
        /// Its size.
        num_bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A relocation that cannot be applied.
    #[error("relocation at {offset:#x}: {reason}")]
    Relocation {
        /// The address that it changes, relative to the load address.
        offset: u64,
        /// Why not.
        reason: String,
    },
    /// A kernel descriptor that hardware would not accept.
    #[error("kernel descriptor of {kernel}: {reason}")]
    Descriptor {
        /// The kernel.
        kernel: String,
        /// Why not.
        reason: String,
    },
    /// The metadata note is damaged or does not fit the code.
    #[error("code-object metadata: {0}")]
    Metadata(String),
}
