//! Files that are open while others write.

use std::fs;
use std::io;
use std::path::Path;

use transfer::{Posix, TransferError};

const NUM_BYTES: usize = 700_123;

fn content(seed: u32) -> Vec<u8> {
    (0..NUM_BYTES as u32).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Through the page cache, and past it.
fn both(folder: &Path) -> [Posix; 2] {
    [Posix::new(folder), Posix::direct(folder)]
}

/// What is shown of a range, and what is then there.
fn read_through(files: &Posix, name: &str, range: std::ops::Range<usize>) -> [Vec<u8>; 2] {
    let file = files.open(Path::new(name)).unwrap();
    let (mut shown, mut out) = (Vec::new(), vec![0; range.len()]);
    let mut done = 0;
    while done < out.len() {
        let offset = (range.start + done) as u64;
        let mut seen = |part: &[u8]| shown.extend_from_slice(part);
        match file.read_through(offset, &mut out[done..], &mut seen).unwrap() {
            0 => break,
            num_bytes => done += num_bytes,
        }
    }
    out.truncate(done);
    [shown, out]
}

#[test]
fn an_open_file_outlives_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for files in both(folder.path()) {
        fs::write(at("a"), content(1)).unwrap();
        let before = files.open(Path::new("a")).unwrap();
        let (mut header, mut rest) = (vec![0; 5_000], vec![0; 60_000]);
        assert_eq!(before.read_at(0, &mut header).unwrap(), header.len());
        fs::write(at("b"), &content(2)[..100_000]).unwrap();
        fs::rename(at("b"), at("a")).unwrap();
        assert_eq!(before.read_at(300_000, &mut rest).unwrap(), rest.len());
        assert!(header == content(1)[..5_000] && rest == content(1)[300_000..360_000]);
        assert_eq!(before.num_bytes().unwrap(), NUM_BYTES as u64);
        let after = files.open(Path::new("a")).unwrap();
        assert_eq!(after.read_at(0, &mut header).unwrap(), header.len());
        assert!(header == content(2)[..5_000]);
        assert_eq!(after.num_bytes().unwrap(), 100_000);
    }
}

#[test]
fn what_is_shown_is_what_is_there_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let content = content(3);
    fs::write(folder.path().join("a"), &content).unwrap();
    for files in both(folder.path()) {
        for range in [0..1, 0..NUM_BYTES, 4_095..4_097, 777..600_000, 699_000..800_000] {
            let expected = &content[range.start..range.end.min(NUM_BYTES)];
            let [shown, there] = read_through(&files, "a", range.clone());
            assert!(shown == expected && there == expected, "{range:?}");
        }
    }
}

/// Tiers do different things when a file is gone, when its server forgot it and when the disk is full.
#[test]
fn the_systems_kind_of_an_error_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    for files in both(folder.path()) {
        let kind =
            |path: &str| files.open(Path::new(path)).err().map(|e| io::Error::from(e).kind());
        assert_eq!(kind("missing"), Some(io::ErrorKind::NotFound));
        for outside in ["../a", "/etc/passwd", "", "a/../../b"] {
            assert_eq!(kind(outside), Some(io::ErrorKind::InvalidInput), "{outside}");
        }
    }
    use io::ErrorKind::{Interrupted, StaleNetworkFileHandle, StorageFull};
    for kind in [Interrupted, StaleNetworkFileHandle, StorageFull] {
        let (what, message) = ("cannot read a".to_owned(), kind.to_string());
        let error = io::Error::from(TransferError::Io { what, kind, message });
        assert_eq!((error.kind(), error.to_string()), (kind, format!("cannot read a: {kind}")));
    }
}
