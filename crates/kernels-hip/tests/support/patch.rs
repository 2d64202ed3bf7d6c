//! Kernels with something changed.

use std::fs;
use std::path::Path;

use hip_toolchain::Toolchain;
use mutation::{Edit, copy_with};

/// A change.
#[derive(Clone, Copy, Debug)]
pub enum Patch<'a> {
    /// None.
    None,
    /// Of a file below `kernels/`.
    Text(Edit<'a>),
    /// Every wait for loads and LDS is gone from the machine code.
    NoWaits,
}

/// `s_waitcnt` and `s_nop 0`: the upper halves are the opcodes.
const WAIT_OPCODE: u32 = 0xbf8c;
const NOP: u32 = 0xbf80_0000;

/// A variant's own file, below `kernels/`.
pub fn source(variant: &str) -> String {
    let op = variant.split("_v").next().unwrap_or_default();
    format!("{op}/{variant}.hip")
}

impl Patch<'_> {
    /// Compiles the variant with the change, and with `narrow`, a text and what replaces it, in its own file.
    pub fn compile(
        self,
        toolchain: &Toolchain,
        variant: &str,
        narrow: Option<(&str, &str)>,
        object: &Path,
    ) -> Result<(), String> {
        let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
        let own = source(variant);
        let folder = object.with_extension("source");
        let mut files = vec![own.clone()];
        for header in fs::read_dir(kernels.join("include")).map_err(|error| error.to_string())? {
            let name = header.map_err(|error| error.to_string())?.file_name();
            files.push(format!("include/{}", name.to_string_lossy()));
        }
        let narrow = narrow.map(|(find, replace)| Edit { file: &own, find, replace });
        let change = if let Patch::Text(edit) = self { Some(edit) } else { None };
        let edits: Vec<Edit<'_>> = change.into_iter().chain(narrow).collect();
        copy_with(&edits, &kernels, &files, &folder)?;
        let include = format!("-I{}", folder.join("include").display());
        toolchain
            .compile(&folder.join(&own), "gfx942", &["-O3", &include], object)
            .map_err(|error| error.to_string())?;
        if let Patch::NoWaits = self {
            let bytes = fs::read(object).map_err(|error| error.to_string())?;
            fs::write(object, without_waits(bytes)?).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// Waits become no-operations. Another word that looks like one would too, which is a fault like any.
fn without_waits(mut object: Vec<u8>) -> Result<Vec<u8>, String> {
    let mut num_waits = 0;
    for word in object.chunks_exact_mut(4) {
        if u32::from_le_bytes([word[0], word[1], word[2], word[3]]) >> 16 == WAIT_OPCODE {
            word.copy_from_slice(&NOP.to_le_bytes());
            num_waits += 1;
        }
    }
    if num_waits == 0 { Err("there is no wait".to_owned()) } else { Ok(object) }
}
