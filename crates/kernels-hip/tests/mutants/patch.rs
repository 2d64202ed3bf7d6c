//! Kernels with something changed.

use std::path::Path;
use std::{fs, io};

use hip_toolchain::Toolchain;

/// A change.
pub enum Patch {
    /// None.
    None,
    /// In the file, below `kernels/`, this text, which is there exactly once, becomes that.
    Text { file: &'static str, find: &'static str, replace: &'static str },
    /// Every wait for loads and LDS is gone from the machine code.
    NoWaits,
}

/// `s_waitcnt` and `s_nop 0`: the upper halves are the opcodes.
const WAIT_OPCODE: u32 = 0xbf8c;
const NOP: u32 = 0xbf80_0000;

impl Patch {
    /// Compiles the variant with the change, and with `narrow`, a text and what replaces it, in its own file.
    pub fn compile(
        &self,
        toolchain: &Toolchain,
        variant: &str,
        narrow: Option<(&str, &str)>,
        object: &Path,
    ) -> Result<(), String> {
        let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
        let (op, _) = variant.rsplit_once("_v").ok_or("a variant is named op_vN_idea")?;
        let own = format!("{op}/{variant}.hip");
        let folder = object.with_extension("source");
        let to_text = |error: io::Error| error.to_string();
        fs::create_dir_all(folder.join("include")).map_err(to_text)?;
        fs::create_dir_all(folder.join(op)).map_err(to_text)?;
        let mut files = vec![own.clone()];
        for header in fs::read_dir(kernels.join("include")).map_err(to_text)? {
            let name = header.map_err(to_text)?.file_name();
            files.push(format!("include/{}", name.to_string_lossy()));
        }
        for name in &files {
            let mut text = fs::read_to_string(kernels.join(name)).map_err(to_text)?;
            if let Patch::Text { file, find, replace } = self
                && file == name
            {
                text = replaced_once(&text, find, replace)?;
            }
            if let Some((find, replace)) = narrow.filter(|_| *name == own) {
                text = replaced_once(&text, find, replace)?;
            }
            fs::write(folder.join(name), text).map_err(to_text)?;
        }
        if let Patch::Text { file, .. } = self
            && !files.iter().any(|name| name == file)
        {
            return Err(format!("there is no {file}"));
        }
        let include = format!("-I{}", folder.join("include").display());
        toolchain
            .compile(&folder.join(own), "gfx942", &["-O3", &include], object)
            .map_err(|error| error.to_string())?;
        match self {
            Patch::NoWaits => fs::write(object, without_waits(fs::read(object).map_err(to_text)?)?)
                .map_err(to_text),
            _ => Ok(()),
        }
    }
}

fn replaced_once(text: &str, find: &str, replace: &str) -> Result<String, String> {
    match text.matches(find).count() {
        1 => Ok(text.replace(find, replace)),
        count => Err(format!("{find:?} is there {count} times, not once")),
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

#[test]
fn a_patch_that_does_not_fit_once_is_an_error() {
    assert_eq!(replaced_once("a b c", "b", "d").unwrap(), "a d c");
    assert!(replaced_once("a b b", "b", "d").is_err());
    assert!(replaced_once("a c", "b", "d").is_err());
}
