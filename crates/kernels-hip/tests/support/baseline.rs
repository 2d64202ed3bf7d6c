//! Numbers of kernels that are committed, and compared with those of the day: `baselines/NAME.json`.
//!
//! They are a compiler's. By another compiler's numbers nothing is judged, and the test says so; where
//! `KVASIR_REQUIRE_HIP=1`, as in `cargo xtask test --require-hip`, another compiler is a failure. Any difference fails,
//! whichever way it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use hip_toolchain::{REQUIRE_HIP_VAR, Toolchain};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Set to 1 to write what was found in the place of what was known.
const BLESS_VAR: &str = "KVASIR_BLESS";

/// What is known of kernels.
#[derive(Serialize, Deserialize)]
pub struct Baseline {
    /// Who compiled them.
    compiler: String,
    /// Numbers by kernel.
    kernels: BTreeMap<String, Map<String, Value>>,
}

impl Baseline {
    /// What this build's kernels are, by name: anything that has named numbers.
    pub fn of<T: Serialize>(toolchain: &Toolchain, kernels: BTreeMap<String, T>) -> Self {
        let numbers = |numbers: &T| match serde_json::to_value(numbers).unwrap() {
            Value::Object(numbers) => numbers,
            other => panic!("{other} has no named numbers"),
        };
        let kernels = kernels.iter().map(|(name, of)| (name.clone(), numbers(of))).collect();
        Baseline { compiler: compiler(toolchain), kernels }
    }

    /// Compares with the committed file, or writes it.
    ///
    /// `is_built` says which variants this build has: what is known of others is neither missed nor lost.
    pub fn check(mut self, name: &str, test: &str, is_built: impl Fn(&str) -> bool) {
        let path: PathBuf =
            [env!("CARGO_MANIFEST_DIR"), "baselines", &format!("{name}.json")].iter().collect();
        let bless = format!(
            "{BLESS_VAR}=1 cargo nextest run -p kernels-hip --features all-variants --test {test}"
        );
        let known = fs::read_to_string(&path).map(|text| serde_json::from_str(&text).unwrap());
        let is_of_build = |kernel: &str| is_built(variant_of(kernel));
        if env::var_os(BLESS_VAR).is_some_and(|value| value == "1") {
            if let Ok(Baseline { compiler, kernels }) = known
                && compiler == self.compiler
            {
                let others = kernels.into_iter().filter(|(kernel, _)| !is_of_build(kernel));
                self.kernels.extend(others.filter(|(kernel, _)| exists(kernel)));
            }
            return fs::write(path, self.text()).unwrap();
        }
        let known: Baseline = known.unwrap_or_else(|error| panic!("{name}: {error}; {bless}"));
        if known.compiler != self.compiler {
            let (was, is) = (&known.compiler, &self.compiler);
            let said = format!("{name}.json is of {was}, and this is {is}: to compare, {bless}");
            // Whoever brings a compiler has its numbers; that of the project may not change unseen.
            assert!(env::var_os(REQUIRE_HIP_VAR).is_none(), "{said}");
            return eprintln!("skipped: {said}");
        }
        let differences = known.differences(&self, is_of_build);
        let found = differences.join("\n");
        let meant = format!("if this is meant: {bless}, and commit {name}.json");
        assert!(differences.is_empty(), "{found}\n{meant}");
    }

    /// What `found` has otherwise, both numbers each.
    pub fn differences(&self, found: &Self, is_of_build: impl Fn(&str) -> bool) -> Vec<String> {
        let mut differences = Vec::new();
        let names: BTreeSet<_> = self.kernels.keys().chain(found.kernels.keys()).collect();
        for kernel in names {
            let (known, found) = match (self.kernels.get(kernel), found.kernels.get(kernel)) {
                (Some(known), Some(found)) => (known, found),
                (None, _) => {
                    differences.push(format!("{kernel}: not in the baseline"));
                    continue;
                }
                (_, None) => {
                    if is_of_build(kernel) || !exists(kernel) {
                        differences.push(format!("{kernel}: in the baseline alone"));
                    }
                    continue;
                }
            };
            let fields: BTreeSet<_> = known.keys().chain(found.keys()).collect();
            for field in fields.into_iter().filter(|&field| known.get(field) != found.get(field)) {
                let [known, found] =
                    [known, found].map(|numbers| numbers.get(field).unwrap_or(&Value::Null));
                differences.push(format!("{kernel}: {field} was {known}, and is {found}"));
            }
        }
        differences
    }

    /// JSON with a line for each kernel, which is what a reader compares.
    fn text(&self) -> String {
        let mut text = String::new();
        let compiler = serde_json::to_string(&self.compiler).unwrap();
        write!(text, "{{\n\"compiler\": {compiler},\n\"kernels\": {{").unwrap();
        for (idx, (kernel, numbers)) in self.kernels.iter().enumerate() {
            let end = if idx == 0 { "" } else { "," };
            let numbers = serde_json::to_string(numbers).unwrap();
            write!(text, "{end}\n\"{kernel}\": {numbers}").unwrap();
        }
        text + "\n}\n}\n"
    }
}

/// The version of clang behind hipcc, in one line.
fn compiler(toolchain: &Toolchain) -> String {
    let output = toolchain.driver().arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find(|line| line.contains("clang version")).unwrap().trim().to_owned()
}

/// `gemm_v1_naive` of `gemm_v1_naive__bf16`, and of `gemm_v1_naive__bf16, a case`.
fn variant_of(kernel: &str) -> &str {
    let (kernel, _) = kernel.split_once(", ").unwrap_or((kernel, ""));
    kernel.split_once("__").map_or(kernel, |(variant, _)| variant)
}

/// Whether some feature gives the kernel's variant.
fn exists(kernel: &str) -> bool {
    kernels_hip::ops::catalogue().iter().any(|row| row.name == variant_of(kernel))
}

#[test]
fn a_difference_shows_both_numbers() {
    let baseline = |kernels: Value| Baseline {
        compiler: String::new(),
        kernels: serde_json::from_value(kernels).unwrap(),
    };
    let known = baseline(json!({
        "gemm_v1_naive__bf16": { "vgprs": 8, "sgprs": 9 },
        "gemm_v1_naive__f16": {},
        "gemm_v2_mfma_lds__bf16": {},
        "gemm_v0_gone": {},
    }));
    let found = baseline(json!({ "gemm_v1_naive__bf16": { "vgprs": 8, "sgprs": 10 }, "new": {} }));
    let is_of_build = |kernel: &str| kernel.starts_with("gemm_v1");
    assert_eq!(
        known.differences(&found, is_of_build),
        [
            "gemm_v0_gone: in the baseline alone",
            "gemm_v1_naive__bf16: sgprs was 9, and is 10",
            "gemm_v1_naive__f16: in the baseline alone",
            "new: not in the baseline",
        ]
    );
    assert!(known.differences(&known, |_| true).is_empty());
}
