//! What a check says of the instruction at hand.

use super::Kind;

/// An instruction by its place in the code, in words.
pub(super) type Site = u32;

/// What is wrong with the instruction at hand.
#[derive(Debug)]
pub(super) struct Problem {
    pub kind: Kind,
    pub lane: Option<u32>,
    pub other: Option<Site>,
    pub text: String,
}
