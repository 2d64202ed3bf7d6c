//! `kvasir doctor` on this machine; other machines are fixtures beside its code.

use std::fs;

use serde_json::Value;

use crate::command::{Run, kvasir_with};

fn doctor(args: &[&str], variables: &[(&str, &str)]) -> (Run, Vec<Value>) {
    let run = kvasir_with(&[&["doctor", "--json"], args].concat(), variables, "");
    let findings = serde_json::from_str(&run.stdout).expect("JSON");
    (run, findings)
}

fn of<'a>(findings: &'a [Value], check: &str) -> &'a Value {
    findings.iter().rfind(|finding| finding["check"] == check).expect(check)
}

#[test]
fn what_is_wrong_decides_the_exit_code() {
    let (run, findings) = doctor(&[], &[("LMCACHE_CONFIG_FILE", "")]);
    let fails = findings.iter().filter(|finding| finding["severity"] == "failure").count();
    assert_eq!(run.code, Some(i32::from(fails > 0)), "{findings:?}");
    assert!(of(&findings, "KV cache")["finding"].as_str().unwrap().contains("only as long"));
    let (run, findings) = doctor(&[], &[("KVASIR_HIP_LIBRARY", "no-such-library.so")]);
    assert_eq!((run.code, &of(&findings, "libamdhip64")["severity"]), (Some(1), &"failure".into()));
    assert!(run.stderr.contains("failed"), "{}", run.stderr);
}

#[test]
fn storage_is_measured_beside_what_the_recipe_expects() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("lmcache.yaml");
    let text = format!("storage_backend: file\nstorage_path: {}\n", folder.path().display());
    fs::write(&config, text).unwrap();
    let (_, findings) = doctor(&["--kv-config", config.to_str().unwrap()], &[]);
    let speed = of(&findings, "KV storage")["finding"].as_str().unwrap();
    assert!(speed.contains("GB/s; the recipe expects"), "{speed}");
    of(&findings, "io_uring");
    of(&findings, "O_DIRECT");
    // Nothing of it is left.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let nowhere = folder.path().join("none");
    let (run, findings) = doctor(&["--kv-path", nowhere.to_str().unwrap()], &[]);
    assert_eq!((run.code, &of(&findings, "KV storage")["severity"]), (Some(1), &"failure".into()));
}
