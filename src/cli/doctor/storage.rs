//! The recipe's "Cache Not Being Used?" and "Slow Cache Loading?".

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use host_io::DirectReader;
use kv_store::config::{
    KvConfig, Level, Machine as _, Overrides, Place, Resolved, Source, ThisMachine,
};

use super::{Finding, gib, named};

/// What is written and read back.
const FILE_BYTES: usize = 256 << 20;
const READ_BYTES: usize = 2 << 20;
/// What the recipe expects of a mount that others share, and of a drive of this machine, bytes in a second.
const EXPECTED_SHARED: f64 = 1e9;
const EXPECTED_LOCAL: f64 = 7e9;

/// What the configuration keeps, and how fast its storage is.
pub(super) fn findings(kv_config: Option<&Path>, kv_path: Option<&Path>) -> Vec<Finding> {
    let (mut findings, configured) = cache(kv_config);
    if let Some(path) = kv_path.map(Path::to_owned).or(configured) {
        findings.extend(storage(&path));
    }
    findings
}

/// Whether KV is kept at all, and where.
fn cache(kv_config: Option<&Path>) -> (Vec<Finding>, Option<PathBuf>) {
    const CHECK: &str = "KV cache";
    let source = kv_config.map_or(Source::Environment, Source::File);
    match KvConfig::read(source, &Overrides::default(), &ThisMachine) {
        Err(error) => {
            let text = error.to_string();
            let (finding, remedy) =
                text.split_once("; ").unwrap_or((&text, "mend the configuration"));
            (vec![Finding::failure(CHECK, finding, remedy)], None)
        }
        Ok(None) => {
            let finding = "kept only as long as its process: no configuration is given";
            (vec![Finding::info(CHECK, finding)], None)
        }
        Ok(Some(resolved)) => of_config(CHECK, &resolved),
    }
}

fn of_config(check: &'static str, resolved: &Resolved) -> (Vec<Finding>, Option<PathBuf>) {
    let note = |note: &kv_store::config::Note| match note.level {
        Level::Info => Finding::info(check, note.text.clone()),
        _ => Finding::warning(check, note.text.clone(), "mend the configuration, or accept it"),
    };
    let mut findings: Vec<Finding> = resolved.notes.iter().map(note).collect();
    let config = &resolved.config;
    if let Some(bytes) = config.host_bytes {
        findings.push(Finding::ok(check, format!("{} of host memory", gib(bytes))));
    }
    let mut path = None;
    match config.storage.as_ref().map(|storage| &storage.place) {
        Some(Place::Directory { path: directory, .. }) => {
            findings.push(Finding::ok(check, format!("kept in {}", named(directory))));
            path = Some(directory.clone());
        }
        Some(Place::Bucket { bucket, prefix, .. }) => {
            findings.push(Finding::ok(check, format!("kept in s3://{bucket}/{prefix}")));
        }
        _ if config.host_bytes.is_none() => findings.push(Finding::failure(
            check,
            "the configuration keeps nothing: neither host memory nor a place is in it",
            "set local_cpu: true and max_local_cpu_size, or storage_path",
        )),
        _ => findings.push(Finding::warning(
            check,
            "no place where KV outlives its process",
            "set storage_path, if a restart is to find it again",
        )),
    }
    (findings, path)
}

fn storage(path: &Path) -> Vec<Finding> {
    const CHECK: &str = "KV storage";
    if !path.is_dir() {
        let remedy = format!("mount it, or mkdir -p {}", named(path));
        return vec![Finding::failure(
            CHECK,
            format!("there is no folder {}", named(path)),
            remedy,
        )];
    }
    let folder = match tempfile::Builder::new().prefix("kvasir-doctor-").tempdir_in(path) {
        Ok(folder) => folder,
        Err(error) => {
            let finding = format!("{} cannot be written to: {error}", named(path));
            return vec![Finding::failure(CHECK, finding, "check its owner and permissions")];
        }
    };
    let reader = DirectReader::probe(folder.path());
    let fallbacks = reader.fallbacks().clone();
    let of = |check, good: &str, fallback: Option<String>, remedy: &str| match fallback {
        None => Finding::ok(check, good),
        Some(why) => Finding::warning(check, why, remedy),
    };
    vec![
        of(
            "io_uring",
            "usable",
            fallbacks.no_ring,
            "sudo sysctl kernel.io_uring_disabled=0; in a container allow it in the seccomp profile",
        ),
        of(
            "O_DIRECT",
            "usable",
            fallbacks.no_direct,
            "keep KV on ext4, xfs or NFS: here reads go through the page cache",
        ),
        speed(CHECK, path, folder.path(), reader),
    ]
}

fn speed(check: &'static str, path: &Path, folder: &Path, reader: DirectReader) -> Finding {
    let is_shared =
        std::path::absolute(path).is_ok_and(|path| ThisMachine.mounts().is_shared(&path));
    let (kind, expected) = match is_shared {
        true => ("a shared mount", EXPECTED_SHARED),
        false => ("a local NVMe drive", EXPECTED_LOCAL),
    };
    let measured = match measure(folder, reader) {
        Ok(measured) => measured,
        Err(error) => {
            let remedy = "free space there, or name another folder with --kv-path";
            return Finding::failure(check, format!("cannot be measured: {error}"), remedy);
        }
    };
    let finding = format!(
        "{} is read with {:.2} GB/s; the recipe expects {:.0} or more of {kind}",
        named(path),
        measured / 1e9,
        expected / 1e9,
    );
    if measured >= expected {
        return Finding::ok(check, finding);
    }
    let remedy = match is_shared {
        true => "mount with nconnect=16 and rsize=1048576, or over RDMA; compress with lz4",
        false => {
            "keep KV on an NVMe drive; kvasir plan says from which prompt length on loading is faster all the same"
        }
    };
    Finding::warning(check, finding, remedy)
}

/// Bytes in a second, past the page cache where that is possible.
fn measure(folder: &Path, reader: DirectReader) -> io::Result<f64> {
    let path = folder.join("speed");
    let mut file = File::create(&path)?;
    // No two blocks alike, and nothing that a file system could compress.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = vec![0_u8; READ_BYTES];
    for _ in 0..FILE_BYTES / READ_BYTES {
        for bytes in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block)?;
    }
    file.sync_all()?;
    let file = Arc::new(reader).open(&path)?;
    let started = Instant::now();
    let mut at = 0;
    while at < FILE_BYTES as u64 {
        match file.read_at(at, &mut block)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            num_bytes => at += num_bytes as u64,
        }
    }
    Ok(FILE_BYTES as f64 / started.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    fn severities(findings: &[Finding]) -> Vec<(&str, Severity)> {
        findings.iter().map(|finding| (finding.check, finding.severity)).collect()
    }

    #[test]
    fn why_a_cache_is_not_used_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lmcache.yaml");
        let of = |text: &str| {
            std::fs::write(&file, text).unwrap();
            findings(Some(&file), None)
        };
        let nothing = of("chunk_size: 256\nlocal_cpu: false\n");
        assert_eq!(
            severities(&nothing).last(),
            Some(&("KV cache", Severity::Failure)),
            "{nothing:?}"
        );
        let unknown = of("chunk_sise: 256\n");
        assert_eq!(severities(&unknown), [("KV cache", Severity::Failure)], "{unknown:?}");
        let nowhere = folder.path().join("none");
        let nowhere = of(&format!("storage_backend: file\nstorage_path: {}\n", nowhere.display()));
        assert_eq!(
            severities(&nowhere).last(),
            Some(&("KV storage", Severity::Failure)),
            "{nowhere:?}"
        );
        assert!(nowhere.last().unwrap().finding.contains("there is no folder"), "{nowhere:?}");
    }
}
