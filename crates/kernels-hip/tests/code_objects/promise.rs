//! The line `// Code object: …` of a kernel's header.

use std::fs;
use std::path::Path;

use crate::facts::Facts;

const START: &str = "// Code object: ";

/// What a header promises of every kernel in the file.
#[derive(Default)]
pub struct Promise {
    wide_loads: bool,
    matrix: bool,
    waves_per_simd: u32,
}

impl Promise {
    /// That of a variant's header, if it has one. A promise that nobody knows is a failure.
    pub fn of(variant: &str) -> Option<Self> {
        let op = variant.split("_v").next().unwrap();
        let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
        let source = fs::read_to_string(kernels.join(op).join(format!("{variant}.hip"))).unwrap();
        let line = source.lines().find_map(|line| line.strip_prefix(START))?;
        let mut promise = Promise::default();
        for item in line.trim_end_matches('.').split(", ") {
            match item.split_once(' ') {
                Some(("16-byte", "loads")) => promise.wide_loads = true,
                None if item == "MFMA" => promise.matrix = true,
                Some((count, "waves per SIMD" | "wave per SIMD")) => {
                    promise.waves_per_simd = count.parse().unwrap();
                }
                _ => panic!("{variant}: nobody knows how to check {item:?}"),
            }
        }
        Some(promise)
    }

    /// What of it does not hold.
    pub fn broken_by(&self, facts: &Facts) -> impl Iterator<Item = String> {
        let waves = (facts.waves_per_simd < self.waves_per_simd).then(|| {
            format!("{} waves per SIMD, {} promised", facts.waves_per_simd, self.waves_per_simd)
        });
        let loads = (self.wide_loads && facts.wide_loads == 0)
            .then(|| format!("no 16-byte load among {}", facts.narrow_loads));
        let matrix = (self.matrix && facts.matrix == 0).then(|| "no matrix instruction".to_owned());
        [waves, loads, matrix].into_iter().flatten()
    }
}
