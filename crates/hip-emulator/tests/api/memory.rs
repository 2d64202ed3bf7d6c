//! The device, its memory, copies and errors.

use std::ffi::{CStr, c_int};

use hip_sys::bindings::{
    hipDeviceAttribute_t, hipDeviceProp_tR0600, hipError_t, hipMemcpyKind, hipMemoryType,
    hipPointerAttribute_t,
};

use crate::hip::{emulator, ok};

#[test]
fn it_presents_itself_as_an_mi300x() {
    let emulator = emulator();
    let hip = emulator.hip();
    let mut count = 0;
    let mut properties = hipDeviceProp_tR0600::default();
    // SAFETY: places for the results.
    unsafe {
        ok(hip.hipInit(0));
        ok(hip.hipGetDeviceCount(&mut count));
        ok(hip.hipGetDevicePropertiesR0600(&mut properties, 0));
        assert_eq!(
            hip.hipGetDevicePropertiesR0600(&mut properties, 1),
            hipError_t::hipErrorInvalidDevice
        );
        assert_eq!(hip.hipInit(1), hipError_t::hipErrorInvalidValue);
    }
    assert_eq!(count, 1);
    // SAFETY: the fields end with zeros.
    let (name, arch) = unsafe {
        (CStr::from_ptr(properties.name.as_ptr()), CStr::from_ptr(properties.gcnArchName.as_ptr()))
    };
    assert_eq!(name.to_str().unwrap(), "AMD Instinct MI300X (emulated)");
    assert_eq!(arch.to_str().unwrap(), "gfx942:sramecc+:xnack-");
    assert_eq!(properties.totalGlobalMem, 192 << 30);
    assert_eq!((properties.multiProcessorCount, properties.warpSize), (304, 64));
    let attributes = [
        (hipDeviceAttribute_t::hipDeviceAttributeMultiprocessorCount, 304),
        (hipDeviceAttribute_t::hipDeviceAttributeWarpSize, 64),
        (hipDeviceAttribute_t::hipDeviceAttributeMaxSharedMemoryPerBlock, 65536),
        (hipDeviceAttribute_t::hipDeviceAttributeMaxThreadsPerBlock, 1024),
        (hipDeviceAttribute_t::hipDeviceAttributeManagedMemory, 0),
    ];
    for (attribute, expected) in attributes {
        let mut value: c_int = -1;
        // SAFETY: a place for the result.
        ok(unsafe { hip.hipDeviceGetAttribute(&mut value, attribute, 0) });
        assert_eq!(value, expected, "{attribute:?}");
    }
}

#[test]
fn errors_have_names_and_are_remembered_once() {
    let emulator = emulator();
    let hip = emulator.hip();
    // SAFETY: null is what is tested; the strings are constants.
    unsafe {
        assert_eq!(hip.hipMalloc(std::ptr::null_mut(), 4), hipError_t::hipErrorInvalidValue);
        assert_eq!(hip.hipPeekAtLastError(), hipError_t::hipErrorInvalidValue);
        assert_eq!(hip.hipGetLastError(), hipError_t::hipErrorInvalidValue);
        assert_eq!(hip.hipGetLastError(), hipError_t::hipSuccess);
        let name = CStr::from_ptr(hip.hipGetErrorName(hipError_t::hipErrorIllegalAddress));
        assert_eq!(name, c"hipErrorIllegalAddress");
        let text = CStr::from_ptr(hip.hipGetErrorString(hipError_t(12345)));
        assert_eq!(text, c"unknown error");
    }
}

#[test]
fn bytes_go_to_the_device_and_back() {
    let emulator = emulator();
    let hip = emulator.hip();
    let values: Vec<u32> = (0..1000).map(|i| i * 0x01_0101).collect();
    let first = emulator.upload(&values);
    let second = emulator.malloc(4000);
    let kind = hipMemcpyKind::hipMemcpyDefault;
    // SAFETY: all places have as many bytes.
    unsafe {
        ok(hip.hipMemcpyDtoD(second, first, 4000));
        assert_eq!(emulator.download::<u32>(second, 1000), values);
        ok(hip.hipMemsetD8(second, 0xab, 3));
        ok(hip.hipMemsetD16(second.byte_add(4), 0x1234, 3));
        ok(hip.hipMemsetD32(second.byte_add(12), -2, 2));
        ok(hip.hipMemset(second.byte_add(20), 0x177, 4));
        let pinned = emulator.pinned(4000);
        ok(hip.hipMemcpy(pinned, second, 4000, kind));
        let bytes = std::slice::from_raw_parts(pinned.cast::<u8>(), 28);
        let expected = [
            [0xab, 0xab, 0xab, 0],
            [0x34, 0x12, 0x34, 0x12],
            [0x34, 0x12, 2, 0],
            [0xfe, 0xff, 0xff, 0xff],
            [0xfe, 0xff, 0xff, 0xff],
            [0x77, 0x77, 0x77, 0x77],
            6_u32.wrapping_mul(0x01_0101).to_le_bytes(),
        ];
        assert_eq!(bytes, expected.concat());
        ok(hip.hipHostFree(pinned));
        ok(hip.hipFree(first));
        ok(hip.hipFree(std::ptr::null_mut()));
    }
}

#[test]
fn mistakes_with_memory_are_refused_with_a_reason() {
    let emulator = emulator();
    let hip = emulator.hip();
    let invalid = hipError_t::hipErrorInvalidValue;
    let mut bytes = [0_u8; 64];
    let device = emulator.upload(&bytes);
    let host = bytes.as_mut_ptr().cast();
    // SAFETY: what does not fit is refused, which is what is tested.
    unsafe {
        let (h2d, d2h) =
            (hipMemcpyKind::hipMemcpyHostToDevice, hipMemcpyKind::hipMemcpyDeviceToHost);
        assert_eq!(hip.hipMemcpy(device, host, 65, h2d), invalid);
        assert!(emulator.last_fault().contains("hipMemcpy: 65 bytes"), "{}", emulator.last_fault());
        assert_eq!(hip.hipMemcpy(host, device.byte_add(1), 64, d2h), invalid);
        // The wrong way round.
        assert_eq!(hip.hipMemcpy(device, host, 64, d2h), invalid);
        assert_eq!(hip.hipMemset(device.byte_sub(1), 0, 1), invalid);
        assert_eq!(hip.hipFree(device.byte_add(8)), invalid);
        assert_eq!(hip.hipHostFree(device), invalid);
        ok(hip.hipFree(device));
        assert_eq!(hip.hipFree(device), invalid);
        assert!(emulator.last_fault().contains("freed"), "{}", emulator.last_fault());
        assert_eq!(hip.hipMemset(device, 0, 1), invalid);
        let mut pointer = std::ptr::null_mut();
        assert_eq!(hip.hipMalloc(&mut pointer, 1 << 40), hipError_t::hipErrorOutOfMemory);
    }
}

#[test]
fn pointers_and_memory_in_use_are_known() {
    let emulator = emulator();
    let hip = emulator.hip();
    let (mut before, mut after, mut total) = (0, 0, 0);
    let mut attributes = hipPointerAttribute_t {
        type_: hipMemoryType::hipMemoryTypeUnregistered,
        device: -1,
        devicePointer: std::ptr::null_mut(),
        hostPointer: std::ptr::null_mut(),
        isManaged: 1,
        allocationFlags: 1,
    };
    // SAFETY: places for the results.
    unsafe {
        ok(hip.hipMemGetInfo(&mut before, &mut total));
        let device = emulator.malloc(1 << 20);
        ok(hip.hipMemGetInfo(&mut after, &mut total));
        assert_eq!((before - after, total), (1 << 20, 192 << 30));
        ok(hip.hipPointerGetAttributes(&mut attributes, device.byte_add(5)));
        assert_eq!(attributes.type_, hipMemoryType::hipMemoryTypeDevice);
        assert_eq!(attributes.devicePointer, device.byte_add(5));
        let pinned = emulator.pinned(10);
        ok(hip.hipPointerGetAttributes(&mut attributes, pinned));
        assert_eq!(attributes.type_, hipMemoryType::hipMemoryTypeHost);
        assert_eq!(attributes.hostPointer, pinned);
        let own = std::ptr::from_ref(&total).cast();
        assert_eq!(
            hip.hipPointerGetAttributes(&mut attributes, own),
            hipError_t::hipErrorInvalidValue
        );
    }
}
