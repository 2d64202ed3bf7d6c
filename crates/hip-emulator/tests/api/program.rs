//! A HIP program as anyone writes it, linked against the library in place of ROCm's.

use std::process::Command;

use crate::hip::{path, text};

const SOURCE: &str = r#"
#include <hip/hip_runtime.h>
#include <cstdio>
#include <vector>

__constant__ float factor;
__device__ int calls;

__global__ void scale(const float* in, float* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = in[i] * factor;
    if (i == 0) calls += 1;
}

__global__ void mirror(int* out) {
    __shared__ int tile[128];
    tile[threadIdx.x] = threadIdx.x;
    // The barrier that belongs here is missing.
    asm volatile("" ::: "memory");
    out[threadIdx.x] = tile[127 - threadIdx.x];
}

#define CHECK(call) do { hipError_t e = (call); if (e != hipSuccess) { \
    std::printf("%s: %s\n", #call, hipGetErrorString(e)); return 1; } } while (0)

int scaled() {
    const int n = 10000;
    std::vector<float> host(n);
    for (int i = 0; i < n; ++i) host[i] = float(i);
    float *in, *out;
    CHECK(hipMalloc((void**)&in, n * sizeof(float)));
    CHECK(hipMalloc((void**)&out, n * sizeof(float)));
    CHECK(hipMemcpy(in, host.data(), n * sizeof(float), hipMemcpyHostToDevice));
    float two = 2.0f;
    CHECK(hipMemcpyToSymbol(HIP_SYMBOL(factor), &two, sizeof two));
    hipStream_t stream;
    CHECK(hipStreamCreate(&stream));
    for (int i = 0; i < 3; ++i) scale<<<dim3((n + 255) / 256), dim3(256), 0, stream>>>(in, out, n);
    CHECK(hipGetLastError());
    CHECK(hipStreamSynchronize(stream));
    CHECK(hipMemcpy(host.data(), out, n * sizeof(float), hipMemcpyDeviceToHost));
    int num_calls = 0;
    CHECK(hipMemcpyFromSymbol(&num_calls, HIP_SYMBOL(calls), sizeof num_calls));
    int num_wrong = 0;
    for (int i = 0; i < n; ++i) num_wrong += host[i] != 2.0f * float(i);
    hipDeviceProp_t properties;
    CHECK(hipGetDeviceProperties(&properties, 0));
    std::printf("%s: %d wrong, %d calls\n", properties.gcnArchName, num_wrong, num_calls);
    return 0;
}

int main() {
    if (scaled()) return 1;
    // The program's kernels and variables are there again, as they were at its start.
    CHECK(hipDeviceReset());
    if (scaled()) return 1;
    int* out;
    CHECK(hipMalloc((void**)&out, 512));
    mirror<<<dim3(1), dim3(128)>>>(out);
    CHECK(hipDeviceSynchronize());
    return 0;
}
"#;

#[test]
fn a_program_with_kernels_of_its_own_runs() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (source, object, program) =
        (dir.path().join("p.hip"), dir.path().join("p.o"), dir.path().join("p"));
    std::fs::write(&source, SOURCE).unwrap();
    let mut compiler = toolchain.driver();
    compiler.args(["-x", "hip", "--offload-arch=gfx942", "-O1", "-fPIE", "-c", "-o"]);
    let output = compiler.arg(&object).arg(&source).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The name that ROCm's has.
    let library = dir.path().join("libamdhip64.so.6");
    std::os::unix::fs::symlink(path(), &library).unwrap();
    let mut linker = Command::new("c++");
    let linker = linker.arg("-o").arg(&program).arg(&object).arg(&library);
    let Ok(output) = linker.output() else {
        eprintln!("skipped: no c++ to link with");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let run = |variables: &[(&str, &str)]| {
        let mut run = Command::new(&program);
        run.env("LD_LIBRARY_PATH", text(dir.path())).envs(variables.iter().copied());
        let output = run.current_dir(dir.path()).output().unwrap();
        let [said, errors] = [output.stdout, output.stderr].map(|s| String::from_utf8(s).unwrap());
        (said, errors, output.status.success())
    };
    let line = "gfx942:sramecc+:xnack-: 0 wrong, 3 calls\n";
    for lazy in ["0", "1"] {
        let (said, errors, succeeded) = run(&[("KVASIR_EMU_LAZY", lazy)]);
        assert_eq!((said, errors, succeeded), (line.repeat(2), String::new(), true));
    }
    let (said, errors, succeeded) = run(&[("KVASIR_EMU_SANITIZE", "1")]);
    assert!(succeeded && said == line.repeat(2), "{said}{errors}");
    let lines = || errors.lines().filter(|line| line.contains("hip-emulator: sanitizer: "));
    assert!(lines().count() > 0 && lines().all(|line| line.contains("mirror")), "{errors}");
    let (said, errors, succeeded) =
        run(&[("KVASIR_EMU_SANITIZE", "fail"), ("KVASIR_EMU_COUNTERS", "counts.jsonl")]);
    assert!(!succeeded && said.contains("unspecified launch failure"), "{said}{errors}");
    let counts = std::fs::read_to_string(dir.path().join("counts.jsonl")).unwrap();
    let kernels: Vec<String> = counts
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|report| report["kernel"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kernels.len(), 7, "{kernels:?}");
    assert!(kernels[..6].iter().all(|k| k.contains("scale")) && kernels[6].contains("mirror"));
    let (said, errors, succeeded) = run(&[("KVASIR_EMU_SANITISE", "1")]);
    let told = errors.contains("KVASIR_EMU_SANITISE: there is no such variable");
    assert!(!succeeded && told, "{said}{errors}");
}
