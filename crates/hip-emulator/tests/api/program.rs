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

#define CHECK(call) do { hipError_t e = (call); if (e != hipSuccess) { \
    std::printf("%s: %s\n", #call, hipGetErrorString(e)); return 1; } } while (0)

int main() {
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
    for lazy in ["0", "1"] {
        let mut run = Command::new(&program);
        run.env("LD_LIBRARY_PATH", text(dir.path())).env("KVASIR_EMU_LAZY", lazy);
        let output = run.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, "gfx942:sramecc+:xnack-: 0 wrong, 3 calls\n", "{errors}");
    }
}
