//! The code objects that `build.rs` compiled and embedded: one per variant and architecture.

use crate::result::{Error, Result};

/// A compiled variant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodeObjectRow {
    /// What it computes: `rms_norm`.
    pub op: &'static str,
    /// How: `rms_norm_v1_naive`. The name of its source file, of its Cargo feature (with `-`), and the
    /// beginning of its kernels' names.
    pub variant: &'static str,
    /// For what: `gfx942`.
    pub arch: &'static str,
    /// The ELF file.
    pub bytes: &'static [u8],
}

const ROWS: &[CodeObjectRow] = include!(concat!(env!("OUT_DIR"), "/code_objects.rs"));

/// Every row. Empty if there was no hipcc when this was built.
#[must_use]
pub fn rows() -> &'static [CodeObjectRow] {
    ROWS
}

/// The code object of `variant` for the architecture `arch`.
///
/// # Errors
///
/// If the build made none, with what to do about it.
pub fn code_object(variant: &str, arch: &str) -> Result<&'static CodeObjectRow> {
    find(ROWS, variant, arch)
}

fn find<'a>(rows: &'a [CodeObjectRow], variant: &str, arch: &str) -> Result<&'a CodeObjectRow> {
    if rows.is_empty() {
        return Err(Error::NoKernels { variant: variant.to_owned() });
    }
    let of_variant = || rows.iter().filter(|row| row.variant == variant);
    if let Some(row) = of_variant().find(|row| row.arch == arch) {
        return Ok(row);
    }
    let archs: Vec<_> = of_variant().map(|row| row.arch.to_owned()).collect();
    if archs.is_empty() {
        let mut variants: Vec<_> = rows.iter().map(|row| row.variant.to_owned()).collect();
        variants.dedup();
        return Err(Error::NoVariant { variant: variant.to_owned(), variants });
    }
    Err(Error::NoArch { variant: variant.to_owned(), arch: arch.to_owned(), archs })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: CodeObjectRow =
        CodeObjectRow { op: "add", variant: "add_v1_naive", arch: "gfx942", bytes: b"" };

    #[test]
    fn a_missing_row_says_what_to_do() {
        assert_eq!(find(&[ROW], "add_v1_naive", "gfx942").unwrap(), &ROW);
        let told = |rows: &[CodeObjectRow], variant, arch| {
            find(rows, variant, arch).unwrap_err().to_string()
        };
        let nothing = told(&[], "add_v1_naive", "gfx942");
        assert!(nothing.contains("cargo xtask hip-toolchain"), "{nothing}");
        let other_arch = told(&[ROW], "add_v1_naive", "gfx950");
        assert!(
            other_arch.contains("KVASIR_HIP_ARCHS") && other_arch.contains("gfx942"),
            "{other_arch}"
        );
        let other_variant = told(&[ROW], "add_v2_wide", "gfx942");
        assert!(
            other_variant.contains("add-v2-wide") && other_variant.contains("add_v1_naive"),
            "{other_variant}"
        );
    }
}
