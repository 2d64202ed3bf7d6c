//! Modules, launches, faults.

use hip_sys::bindings::{hipError_t, hipFunction_attribute, hipMemcpyKind};

use crate::hip::{arg, compile, emulator, ok};

const SOURCE: &str = r#"
#include <hip/hip_runtime.h>
__device__ int counter = 5;
__device__ int* where = &counter;
extern "C" __global__ void vector_add(const float* a, const float* b, float* c, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) c[i] = a[i] + b[i];
}
extern "C" __global__ void __launch_bounds__(128) reverse(int* x) {
    extern __shared__ int tile[];
    tile[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
    __syncthreads();
    x[blockIdx.x * blockDim.x + threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x] + *where;
}
extern "C" __global__ void store(int* x, long at) { x[at] = 7; }
"#;

#[test]
fn a_kernel_runs_with_either_form_of_arguments() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let emulator = emulator();
    let image = compile(&toolchain, SOURCE, &["-O3"]);
    let function = emulator.function(emulator.load(&image), c"vector_add");
    const N: usize = 1000;
    let values: Vec<f32> = (0..N).map(|i| i as f32 * 0.5).collect();
    let (mut a, mut b) = (emulator.upload(&values), emulator.upload(&values));
    let (mut c, mut n) = (emulator.upload(&[0.0_f32; N]), N as i32);
    let mut args = [arg(&mut a), arg(&mut b), arg(&mut c), arg(&mut n)];
    ok(emulator.launch(function, 4, 256, &mut args));
    let sums: Vec<f32> = (0..N).map(|i| i as f32).collect();
    assert_eq!(emulator.download::<f32>(c, N), sums);

    let mut buffer = Vec::new();
    for pointer in [c, b, a] {
        buffer.extend((pointer as u64).to_le_bytes());
    }
    buffer.extend(1_i32.to_le_bytes());
    let mut size = buffer.len();
    let mut extra: [*mut std::ffi::c_void; 5] = [
        std::ptr::without_provenance_mut(1),
        buffer.as_mut_ptr().cast(),
        std::ptr::without_provenance_mut(2),
        arg(&mut size),
        std::ptr::without_provenance_mut(3),
    ];
    let null = std::ptr::null_mut();
    // SAFETY: the buffer holds the four arguments.
    ok(unsafe {
        let (stream, extra) = (std::ptr::null_mut(), extra.as_mut_ptr());
        let hip = emulator.hip();
        hip.hipModuleLaunchKernel(function, 1, 1, 1, 64, 1, 1, 0, stream, null, extra)
    });
    // Only the first element: n is 1.
    assert_eq!(emulator.download::<f32>(a, 3), [0.0, 0.5, 1.0]);
}

#[test]
fn variables_and_dynamic_lds_are_there() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let emulator = emulator();
    let hip = emulator.hip();
    let image = compile(&toolchain, SOURCE, &["-O2"]);
    let module = emulator.load(&image);
    let function = emulator.function(module, c"reverse");
    let (mut counter, mut num_bytes) = (std::ptr::null_mut(), 0);
    let kind = hipMemcpyKind::hipMemcpyHostToDevice;
    let mut x = emulator.upload(&(0..256).collect::<Vec<i32>>());
    let mut args = [arg(&mut x)];
    // SAFETY: places for the results, and one argument.
    unsafe {
        let name = c"counter".as_ptr();
        ok(hip.hipModuleGetGlobal(&mut counter, &mut num_bytes, module, name));
        assert_eq!(num_bytes, 4);
        assert_eq!(emulator.download::<i32>(counter, 1), [5]);
        ok(hip.hipMemcpy(counter, (&raw const image[0]).cast(), 0, kind));
        ok(hip.hipMemcpy(counter, std::ptr::from_ref(&1000_i32).cast(), 4, kind));
        let (stream, args) = (std::ptr::null_mut(), args.as_mut_ptr());
        let none = std::ptr::null_mut();
        ok(hip.hipModuleLaunchKernel(function, 2, 1, 1, 128, 1, 1, 512, stream, args, none));
        let name = c"vector_add.kd".as_ptr();
        assert_eq!(
            hip.hipModuleGetGlobal(&mut counter, &mut num_bytes, module, name),
            hipError_t::hipErrorNotFound
        );
    }
    let expected: Vec<i32> = (0..128).rev().chain((128..256).rev()).map(|i| i + 1000).collect();
    assert_eq!(emulator.download::<i32>(x, 256), expected);
}

#[test]
fn a_fault_is_reported_by_what_synchronises_and_stays() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let emulator = emulator();
    let hip = emulator.hip();
    let image = compile(&toolchain, SOURCE, &["-O3"]);
    let function = emulator.function(emulator.load(&image), c"store");
    let (mut x, mut at) = (emulator.upload(&[0_i32; 4]), 4_i64);
    let mut args = [arg(&mut x), arg(&mut at)];
    // The launch itself is fine, as on hardware.
    ok(emulator.launch(function, 1, 1, &mut args));
    let illegal = hipError_t::hipErrorIllegalAddress;
    // SAFETY: no arguments, or places for the results.
    unsafe {
        assert_eq!(hip.hipDeviceSynchronize(), illegal);
        let fault = emulator.last_fault();
        assert!(fault.contains("store") && fault.contains("global_store_dword"), "{fault}");
        let mut pointer = std::ptr::null_mut();
        assert_eq!(hip.hipMalloc(&mut pointer, 4), illegal);
        assert_eq!(emulator.last_fault(), fault);
        ok(hip.hipDeviceReset());
    }
    emulator.malloc(4);
}

#[test]
fn launches_that_cannot_be_are_refused() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let emulator = emulator();
    let hip = emulator.hip();
    let image = compile(&toolchain, SOURCE, &["-O3"]);
    let module = emulator.load(&image);
    let function = emulator.function(module, c"reverse");
    let mut x = emulator.malloc(4096);
    let mut args = [arg(&mut x)];
    let configuration = hipError_t::hipErrorInvalidConfiguration;
    for (grid, block) in [(0, 64), (1, 0), (1, 129), (u32::MAX, 2)] {
        assert_eq!(emulator.launch(function, grid, block, &mut args), configuration);
    }
    assert_eq!(
        emulator.launch(function, 1, 64, &mut [std::ptr::null_mut()]),
        hipError_t::hipErrorInvalidValue
    );
    // SAFETY: what is wrong is refused, which is what is tested.
    unsafe {
        let (stream, args) = (std::ptr::null_mut(), args.as_mut_ptr());
        let none = std::ptr::null_mut();
        assert_eq!(
            hip.hipModuleLaunchKernel(function, 1, 1, 1, 64, 1, 1, 65537, stream, args, none),
            hipError_t::hipErrorLaunchOutOfResources
        );
        let mut found = std::ptr::null_mut();
        assert_eq!(
            hip.hipModuleGetFunction(&mut found, module, c"reverses".as_ptr()),
            hipError_t::hipErrorNotFound
        );
        assert!(emulator.last_fault().contains("reverse, store, vector_add"));
        ok(hip.hipModuleUnload(module));
        assert_eq!(
            hip.hipModuleLaunchKernel(function, 1, 1, 1, 64, 1, 1, 0, stream, args, none),
            hipError_t::hipErrorInvalidHandle
        );
        let mut module = std::ptr::null_mut();
        assert_eq!(
            hip.hipModuleLoadData(&mut module, [0_u8; 64].as_ptr().cast()),
            hipError_t::hipErrorInvalidImage
        );
        assert_eq!(
            hip.hipModuleLoad(&mut module, c"no such file".as_ptr()),
            hipError_t::hipErrorFileNotFound
        );
    }
}

#[test]
fn attributes_and_occupancy_come_from_the_code_object() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let emulator = emulator();
    let hip = emulator.hip();
    let image = compile(&toolchain, SOURCE, &["-O3"]);
    let function = emulator.function(emulator.load(&image), c"reverse");
    let (mut value, mut grid, mut block) = (0, 0, 0);
    // SAFETY: places for the results.
    unsafe {
        let which = hipFunction_attribute::HIP_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
        ok(hip.hipFuncGetAttribute(&mut value, which, function));
        assert_eq!(value, 128);
        // 2 waves of 32: 8 waves on each of 4 SIMDs.
        ok(hip.hipModuleOccupancyMaxActiveBlocksPerMultiprocessor(&mut value, function, 128, 0));
        assert_eq!(value, 16);
        // LDS holds two work-groups.
        ok(hip
            .hipModuleOccupancyMaxActiveBlocksPerMultiprocessor(&mut value, function, 128, 32768));
        assert_eq!(value, 2);
        ok(hip.hipModuleOccupancyMaxPotentialBlockSize(&mut grid, &mut block, function, 0, 0));
        assert_eq!((grid, block), (304 * 16, 128));
    }
}
