//! SHA-256 in the hexadecimal that hubs and `sha256sum` write.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// The digest so far, in lower-case hexadecimal.
pub(super) fn hex(hasher: &Sha256) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(64);
    for byte in hasher.clone().finalize() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Feeds all of `reader` to `hasher` and calls `seen` with each piece's length.
pub(super) fn update_from(
    hasher: &mut Sha256,
    mut reader: impl Read,
    mut seen: impl FnMut(u64),
) -> io::Result<()> {
    let mut piece = vec![0_u8; 1 << 20];
    loop {
        let len = match reader.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&piece[..len]);
        seen(len as u64);
    }
}

/// The digest of a file.
pub(super) fn of_file(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    update_from(&mut hasher, File::open(path)?, |_| ())?;
    Ok(hex(&hasher))
}
