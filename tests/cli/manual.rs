//! `kvasir completions` and `kvasir man`: for every command, those below commands too.

use std::fs;

use crate::command::kvasir;

const COMMANDS: [&str; 14] = [
    "generate",
    "serve",
    "pull",
    "convert",
    "calibrate",
    "replay",
    "inspect",
    "plan",
    "presets",
    "bench",
    "kernels",
    "doctor",
    "store",
    "completions",
];

#[test]
fn every_shell_learns_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = kvasir(&["completions", shell]).ok();
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: no {command}");
        }
        assert!(script.contains("show-config"), "{shell}");
    }
    kvasir(&["completions", "cobol"]).usage_error(&["cobol", "fish"]);
}

#[test]
fn every_command_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    kvasir(&["man", pages.to_str().unwrap()]).ok();
    let page = |name: &str| fs::read_to_string(pages.join(name)).expect(name);
    assert!(page("kvasir.1").contains("Run language models"));
    for command in COMMANDS {
        page(&format!("kvasir-{command}.1"));
    }
    assert!(page("kvasir-bench-ttft.1").contains("show\\-config"));
    assert!(page("kvasir-store-gc.1").contains(".SH"));
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    kvasir(&["man", file.join("man1").to_str().unwrap()]).usage_error(&["cannot write to"]);
}
