//! Kernels of hipcc's, executed from the command line.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SOURCE: &str = r#"
#include <hip/hip_runtime.h>
extern "C" __global__ void axpy(const float* x, float* y, float a, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += a * x[i];
}
extern "C" __global__ void where(unsigned* out, unsigned* zeros) {
    unsigned group = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    unsigned item = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    unsigned size = blockDim.x * blockDim.y * blockDim.z;
    out[group * size + item] = (group << 16 | item) + zeros[item];
}
extern "C" __global__ void wild(int* x) { x[1 << 20] = 1; }
extern "C" __global__ void mirror(int* out) {
    __shared__ int tile[128];
    tile[threadIdx.x] = threadIdx.x;
    // The barrier that belongs here is missing.
    asm volatile("" ::: "memory");
    out[threadIdx.x] = tile[127 - threadIdx.x];
}
extern "C" __global__ void root(const float* x, float* y) {
    y[threadIdx.x] = __builtin_amdgcn_rsqf(x[threadIdx.x]);
}
"#;

/// A folder with the compiled kernels, and its files by name.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Option<Self> {
        let toolchain = hip_toolchain::for_tests()?;
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::write(bench.path("k.hip"), SOURCE).unwrap();
        let (from, to) = (bench.path("k.hip"), bench.path("k.hsaco"));
        toolchain.compile(&from, "gfx942", &["-O2"], &to).unwrap();
        Some(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, values: &[f32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u32> {
        let bytes = std::fs::read(self.path(name)).unwrap();
        let (words, rest) = bytes.as_chunks::<4>();
        assert!(rest.is_empty());
        words.iter().map(|word| u32::from_le_bytes(*word)).collect()
    }

    /// Runs in the folder.
    fn run(&self, args: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gfx942-run"));
        command.current_dir(self.dir.path()).arg(Path::new("k.hsaco"));
        command.args(args.split_whitespace()).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, args: &str) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn fails(&self, args: &str, with: &str) {
        let output = self.run(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(with), "{error}");
    }
}

#[test]
fn files_go_in_and_come_out() {
    let Some(bench) = Bench::new() else { return };
    let x: Vec<f32> = (0..1000).map(|i| i as f32).collect();
    bench.write("x", &x);
    let expected = |a: f32| -> Vec<u32> { x.iter().map(|x| (a * x + 1.0).to_bits()).collect() };
    let axpy = "--kernel axpy --grid 4 --block 256";
    bench.write("y", &[1.0; 1000]);
    bench.ok(&format!("{axpy} --arg in:x --arg inout:y --arg f32:2 --arg i32:1000"));
    assert_eq!(bench.read("y"), expected(2.0));

    // Placed by hand, in any order, with the number in another type's clothes.
    bench.write("y", &[1.0; 1000]);
    let bits = 0.5_f32.to_bits();
    let placed = format!("--arg @20=i32:1000 --arg @16=u32:{bits} --arg @8=inout:y --arg @0=in:x");
    bench.ok(&format!("{axpy} {placed} --wave-order 3"));
    assert_eq!(bench.read("y"), expected(0.5));
}

#[test]
fn the_grid_counts_work_groups_and_zeros_are_zeros() {
    let Some(bench) = Bench::new() else { return };
    let args = "--arg out:o:18432 --arg zero:768";
    bench.ok(&format!("--kernel where --grid 2,3,4 --block 8,4,6 {args}"));
    let expected = (0..24_u32).flat_map(|group| (0..192).map(move |item| group << 16 | item));
    assert_eq!(bench.read("o"), expected.collect::<Vec<u32>>());
}

#[test]
fn counts_and_traces_are_printed() {
    let Some(bench) = Bench::new() else { return };
    let launch = "--kernel where --grid 2 --block 128 --arg out:o:1024 --arg zero:512";
    let counts: serde_json::Value =
        serde_json::from_str(&bench.ok(&format!("{launch} --counts json"))).unwrap();
    assert_eq!(counts["kernel"], "where");
    assert_eq!((&counts["work_groups"], &counts["waves"]), (&2.into(), &4.into()));
    let trace = bench.ok(&format!("{launch} --trace"));
    assert_eq!(trace.lines().filter(|line| line.ends_with(" s_endpgm")).count(), 4);
    assert!(trace.starts_with("0,0,0 wave 0 ") && trace.contains("\n1,0,0 wave 1 "), "{trace}");
    // Every instruction is one that --disasm has at that address.
    let disasm = bench.ok("--disasm --kernel where");
    for line in trace.lines() {
        let address = line.split(' ').nth(3).unwrap();
        let inst = line.splitn(7, ' ').nth(6).unwrap();
        let has =
            |listed: &str| listed.contains(&format!("// {address}:")) && listed.contains(inst);
        assert!(disasm.lines().any(has), "{line}");
    }
}

#[test]
fn faults_and_mistakes_are_told() {
    let Some(bench) = Bench::new() else { return };
    let wild = "--kernel wild --grid 1 --block 1";
    bench.fails(&format!("{wild} --arg zero:64"), "global_store_dword");
    let said = bench.run(&format!("{wild} --arg zero:64")).stderr;
    let said = String::from_utf8(said).unwrap();
    assert_eq!(said.matches(" of 4 bytes at").count(), 1, "once: {said}");
    bench.fails(&format!("{wild} --arg i32:1"), "argument 0 has 8 bytes, and 4 are given");
    bench.fails(wild, "wild takes 1 arguments, and 0 are given");
    bench.fails(&format!("{wild} --arg @0=zero:4 --arg i32:1"), "cannot be mixed");
    bench.fails(&format!("{wild} --arg @0=zero:4 --arg @4=i32:1"), "overlap");
    bench.fails(&format!("{wild} --arg in:nothing"), "cannot read nothing");
    bench.fails("--kernel wild --grid 1 --block 1025 --arg zero:64", "1025 work-items");
    bench.fails("--kernel wild --grid 1", "--block");
    bench.fails("--list --grid 1", "--grid");
    bench.fails(&format!("{wild} --arg zero:64 --ulp much"), "none of exact, up, down");
}

#[test]
fn findings_are_a_failure() {
    let Some(bench) = Bench::new() else { return };
    let mirror = "--kernel mirror --grid 1 --block 128 --arg out:m:512";
    let failed = bench.run(&format!("{mirror} --sanitize"));
    let said = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{said}");
    for words in
        ["mirror: work-group [0, 0, 0], wave", "ds_read", "ds_write", "error: the sanitizer"]
    {
        assert!(said.contains(words), "{said}");
    }
    // What it wrote is there all the same.
    assert_eq!(bench.read("m").len(), 128);
    let failed = bench.run(&format!("{mirror} --sanitize --counts json"));
    let json: serde_json::Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!((&json["kernel"], &json["findings"][0]["kind"]), (&"mirror".into(), &"race".into()));
    assert!(json["findings"][0]["other"]["instruction"].as_str().unwrap().starts_with("ds_"));

    // Nobody looks; nothing is wrong; what is not initialised.
    bench.ok(mirror);
    let clean = "--kernel where --grid 2 --block 128 --arg out:o:1024 --sanitize";
    assert_eq!(bench.ok(&format!("{clean} --arg zero:512")), "");
    let json = bench.ok(&format!("{clean} --arg zero:512 --counts json"));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["findings"], serde_json::json!([]));
    bench.fails(&format!("{clean} --arg out:never:512"), "global_load_dword");
}

#[test]
fn transcendental_results_move_by_a_unit_in_the_last_place() {
    let Some(bench) = Bench::new() else { return };
    bench.write("x", &(0..64).map(|i| i as f32 + 2.0).collect::<Vec<f32>>());
    let roots = |ulp: &str| {
        let args = "--arg in:x --arg out:y:256";
        bench.ok(&format!("--kernel root --grid 1 --block 64 {args} --ulp {ulp}"));
        bench.read("y")
    };
    let exact = roots("exact");
    let moved = |ulp: &str| -> Vec<i32> {
        let moved = roots(ulp);
        moved.iter().zip(&exact).map(|(a, b)| a.wrapping_sub(*b) as i32).collect()
    };
    // The roots of 4, 16 and 64 have exact reciprocals.
    let is_exact = |i: &usize| [4, 16, 64].contains(&(i + 2));
    for (ulp, step) in [("up", 1), ("down", -1)] {
        let wanted = (0..64).map(|i| if is_exact(&i) { 0 } else { step }).collect::<Vec<i32>>();
        assert_eq!(moved(ulp), wanted, "{ulp}");
    }
    let seeded = moved("7");
    assert!([-1, 0, 1].iter().all(|step| seeded.contains(step)), "{seeded:?}");
    assert_eq!(moved("7"), seeded);
    assert_ne!(moved("8"), seeded);
}
