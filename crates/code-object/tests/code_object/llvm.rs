//! The compiler and the programs that know better: LLVM's.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use hip_toolchain::Toolchain;

/// A kernel with a struct, a byte, static and dynamic LDS; another that reaches global variables through a table.
pub const SOURCE: &str = r#"
#include <hip/hip_runtime.h>
__device__ int counter = 7;
__device__ int numbers[4] = {1, 2, 3, 4};
__device__ int* table[2] = {&counter, &numbers[2]};
__device__ float large[4096];
__constant__ float scale = 2.0f;

extern "C" __global__ void vector_add(const float* a, const float* b, float* c, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) c[i] = (a[i] + b[i]) * scale + *table[n & 1] + gridDim.y + large[n];
}

struct Mixed { char a; double b; short c; };

extern "C" __global__ void __launch_bounds__(128)
mixed(char a, Mixed s, short b, const void* p, int* __restrict__ q) {
    extern __shared__ int dynamic[];
    __shared__ int fixed[16];
    fixed[threadIdx.x & 15] = a;
    dynamic[threadIdx.x] = b;
    __syncthreads();
    q[threadIdx.x] = fixed[3] + dynamic[threadIdx.x ^ 1] + int(s.b) + s.c + *(const int*)p;
}

__global__ void overloaded(unsigned long long* x) { *x += threadIdx.y + blockIdx.z; }
"#;

/// Compiles `source` for gfx942.
pub fn compile(toolchain: &Toolchain, source: &str, flags: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("k.hip"), dir.path().join("k.hsaco"));
    std::fs::write(&from, source).unwrap();
    toolchain.compile(&from, "gfx942", flags, &to).unwrap();
    std::fs::read(to).unwrap()
}

/// What `name` says to `args`.
pub fn run(toolchain: &Toolchain, name: &str, args: &[&str]) -> String {
    let program = toolchain.llvm_tool(name).unwrap();
    output(Command::new(program).args(args))
}

pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// What `name` says to `args` and the file with `bytes`.
pub fn inspect(toolchain: &Toolchain, name: &str, args: &[&str], bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    run(toolchain, name, &[args, &[text(file.path())]].concat())
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Assembles and links `source`.
pub fn assemble(toolchain: &Toolchain, source: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (object, linked) = (dir.path().join("small.o"), dir.path().join("small.hsaco"));
    let assembly = dir.path().join("small.s");
    std::fs::write(&assembly, source).unwrap();
    let assemble = ["-triple=amdgcn-amd-amdhsa", "-mcpu=gfx942", "-filetype=obj", "-o"];
    run(toolchain, "llvm-mc", &[&assemble[..], &[text(&object), text(&assembly)]].concat());
    let link = ["-shared", "-s", "-z", "max-page-size=64", "-z", "norelro", "--hash-style=sysv"];
    run(toolchain, "ld.lld", &[&link[..], &["-o", text(&linked), text(&object)]].concat());
    std::fs::read(linked).unwrap()
}

/// The code object that seeds are made of.
pub fn small(toolchain: &Toolchain) -> Vec<u8> {
    assemble(toolchain, include_str!("small.s"))
}

/// A kernel in `llvm-readelf --notes`: its fields and its arguments' fields.
#[derive(PartialEq, Debug, Default)]
pub struct Notes {
    pub fields: BTreeMap<String, String>,
    pub args: Vec<BTreeMap<String, String>>,
}

/// The kernels of `llvm-readelf --notes`, whose YAML is indented by two for a kernel and by six for an argument.
pub fn notes(toolchain: &Toolchain, bytes: &[u8]) -> Vec<Notes> {
    let text = inspect(toolchain, "llvm-readelf", &["--notes"], bytes);
    let kernels = text.split_once("amdhsa.kernels:").expect("metadata").1;
    let mut notes: Vec<Notes> = Vec::new();
    for line in kernels.lines().take_while(|line| !line.starts_with("amdhsa.")) {
        if line.starts_with("  - ") {
            notes.push(Notes::default());
        }
        let Some(kernel) = notes.last_mut() else {
            continue;
        };
        let in_argument = line.starts_with("      - .") || line.starts_with("        .");
        if line.starts_with("      - .") {
            kernel.args.push(BTreeMap::new());
        }
        let Some((key, value)) = line.trim_start_matches([' ', '-']).split_once(':') else {
            continue;
        };
        let fields = match kernel.args.last_mut() {
            Some(arg) if in_argument => arg,
            _ => &mut kernel.fields,
        };
        fields.insert(key.to_owned(), value.trim().trim_matches('\'').to_owned());
    }
    notes
}

/// The directives with which `llvm-objdump` prints the kernel descriptors, by kernel.
pub fn directives(toolchain: &Toolchain, bytes: &[u8]) -> BTreeMap<String, BTreeMap<String, i64>> {
    let args = ["-D", "-j", ".rodata", "--mcpu=gfx942"];
    let text = inspect(toolchain, "llvm-objdump", &args, bytes);
    let mut kernels: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    let mut kernel = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix(".amdhsa_kernel ") {
            kernel = name.to_owned();
        } else if let Some((key, value)) =
            line.trim().strip_prefix(".amdhsa_").and_then(|line| line.split_once(' '))
        {
            let fields = kernels.entry(kernel.clone()).or_default();
            fields.insert(key.to_owned(), value.parse().unwrap());
        }
    }
    kernels
}
