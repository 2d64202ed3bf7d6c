//! Why there is no toolchain, or why it did not do what it was asked.

use std::path::PathBuf;

/// What can go wrong with a toolchain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No hipcc anywhere.
    #[error(
        "no hipcc that targets gfx942 ({}): make one with `cargo xtask hip-toolchain`, or install \
         ROCm 6 or later and set ROCM_PATH or HIPCC",
        looked_at.join("; ")
    )]
    NotFound {
        /// Each place and what was wrong with it.
        looked_at: Vec<String>,
    },
    /// A variable names a hipcc that cannot be used.
    #[error("{variable} names {}, which cannot be used: {why}", path.display())]
    Unusable {
        /// The variable.
        variable: &'static str,
        /// The program that it names.
        path: PathBuf,
        /// What is wrong with it, in its own words where it ran.
        why: String,
    },
    /// The compiler refused a source file.
    #[error("hipcc cannot compile {}:\n{message}", source_path.display())]
    Compile {
        /// The source file.
        source_path: PathBuf,
        /// The compiler's own message.
        message: String,
    },
    /// A program of the toolchain failed to start or to say what was asked.
    #[error("{}: {why}", program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// What happened.
        why: String,
    },
}
