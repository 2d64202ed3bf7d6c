//! Where what differs between a wave and its twin comes from.

use crate::sanitize::problem::{Problem, Site};
use crate::sanitize::{Kind, register_name};

/// Where a difference comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// What nobody wrote.
    pub what: Source,
    /// The first instruction that read it.
    pub site: Option<Site>,
}

/// Memory or a register.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Register(u16),
    Lds,
    Scratch,
    Device,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Register(index) => f.write_str(&register_name(usize::from(*index))),
            Self::Lds => f.write_str("LDS"),
            Self::Scratch => f.write_str("scratch"),
            Self::Device => f.write_str("device memory"),
        }
    }
}

/// An instruction is decided by something that differs.
pub(super) fn found(what: &str, origin: Option<Origin>, lane: Option<u32>, site: Site) -> Problem {
    let (source, other) = match origin {
        Some(origin) => (origin.what.to_string(), origin.site.filter(|&other| other != site)),
        None => ("something".into(), None),
    };
    let text = format!("{what} {source}, which nobody wrote: initialise it");
    Problem { kind: Kind::Uninitialized, lane, other, text }
}
