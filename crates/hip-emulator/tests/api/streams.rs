//! Streams and events, eager and lazy.

use std::ffi::c_void;

use hip_sys::bindings::{hipError_t, hipEvent_t, hipMemcpyKind, hipStream_t, hipStreamNonBlocking};

use crate::hip::{Emulator, emulator, ok};

fn stream(emulator: &Emulator) -> hipStream_t {
    let mut stream = std::ptr::null_mut();
    // SAFETY: a place for the result.
    ok(unsafe { emulator.hip().hipStreamCreateWithFlags(&mut stream, hipStreamNonBlocking) });
    stream
}

fn event(emulator: &Emulator) -> hipEvent_t {
    let mut event = std::ptr::null_mut();
    // SAFETY: a place for the result.
    ok(unsafe { emulator.hip().hipEventCreate(&mut event) });
    event
}

/// The first byte of pinned memory, as the program sees it.
fn first(pinned: *mut c_void) -> u8 {
    // SAFETY: the tests' pinned memory has one.
    unsafe { pinned.cast::<u8>().read_volatile() }
}

#[test]
fn a_missing_synchronisation_shows_in_lazy_streams_alone() {
    for is_lazy in [false, true] {
        let emulator = emulator();
        emulator.set_lazy(is_lazy);
        let hip = emulator.hip();
        let stream = stream(&emulator);
        let pinned = emulator.pinned(16);
        // SAFETY: the memory is there until the end of the test.
        unsafe {
            pinned.cast::<u8>().write(1);
            ok(hip.hipMemsetAsync(pinned, 2, 16, stream));
            assert_eq!(first(pinned), if is_lazy { 1 } else { 2 });
            ok(hip.hipStreamSynchronize(stream));
            assert_eq!(first(pinned), 2);
            // Polling gets there too.
            ok(hip.hipMemsetAsync(pinned, 3, 16, stream));
            let answer = hip.hipStreamQuery(stream);
            assert_eq!(answer == hipError_t::hipErrorNotReady, is_lazy);
            ok(hip.hipStreamQuery(stream));
            assert_eq!(first(pinned), 3);
            // Not an error that anyone should find later.
            ok(hip.hipGetLastError());
        }
    }
}

#[test]
fn an_event_orders_streams_and_nothing_else_does() {
    let emulator = emulator();
    emulator.set_lazy(true);
    let hip = emulator.hip();
    let (producer, consumer) = (stream(&emulator), stream(&emulator));
    let (device, other) = (emulator.upload(&[0_u8; 16]), emulator.upload(&[0_u8; 16]));
    let pinned = emulator.pinned(16);
    let done = event(&emulator);
    let d2h = hipMemcpyKind::hipMemcpyDeviceToHost;
    // SAFETY: the memory is there until the end of the test.
    unsafe {
        pinned.cast::<u8>().write_bytes(9, 16);
        // Without the event the consumer comes first here.
        ok(hip.hipMemsetAsync(device, 5, 16, producer));
        ok(hip.hipMemcpyAsync(pinned, device, 16, d2h, consumer));
        ok(hip.hipStreamSynchronize(consumer));
        assert_eq!(first(pinned), 0);

        ok(hip.hipMemsetAsync(other, 6, 16, producer));
        ok(hip.hipEventRecord(done, producer));
        ok(hip.hipMemsetAsync(other, 7, 16, producer));
        ok(hip.hipStreamWaitEvent(consumer, done, 0));
        ok(hip.hipMemcpyAsync(pinned, other, 16, d2h, consumer));
        ok(hip.hipStreamSynchronize(consumer));
        assert_eq!(first(pinned), 6);
        ok(hip.hipEventQuery(done));
        ok(hip.hipDeviceSynchronize());
        assert_eq!(emulator.download::<u8>(other, 1), [7]);
    }
}

#[test]
fn pageable_memory_may_be_used_again_and_pinned_may_not() {
    let emulator = emulator();
    emulator.set_lazy(true);
    let hip = emulator.hip();
    let stream = stream(&emulator);
    let device = emulator.malloc(2);
    let pinned = emulator.pinned(1);
    let h2d = hipMemcpyKind::hipMemcpyHostToDevice;
    let mut pageable = 1_u8;
    // SAFETY: the memory is there until the end of the test.
    unsafe {
        pinned.cast::<u8>().write(1);
        let source = (&raw const pageable).cast();
        ok(hip.hipMemcpyAsync(device, source, 1, h2d, stream));
        ok(hip.hipMemcpyAsync(device.byte_add(1), pinned, 1, h2d, stream));
        (&raw mut pageable).write_volatile(2);
        pinned.cast::<u8>().write(2);
        ok(hip.hipStreamSynchronize(stream));
        assert_eq!(emulator.download::<u8>(device, 2), [1, 2]);
    }
}

#[test]
fn events_tell_time_once_they_have_happened() {
    let emulator = emulator();
    emulator.set_lazy(true);
    let hip = emulator.hip();
    let stream = stream(&emulator);
    let (start, stop) = (event(&emulator), event(&emulator));
    let device = emulator.malloc(1 << 20);
    let mut milliseconds = -1.0;
    // SAFETY: handles that exist or are refused, and a place for the result.
    unsafe {
        let result = hip.hipEventElapsedTime(&mut milliseconds, start, stop);
        assert_eq!(result, hipError_t::hipErrorInvalidHandle);
        ok(hip.hipEventRecord(start, stream));
        ok(hip.hipMemsetAsync(device, 1, 1 << 20, stream));
        ok(hip.hipEventRecord(stop, stream));
        let result = hip.hipEventElapsedTime(&mut milliseconds, start, stop);
        assert_eq!(result, hipError_t::hipErrorNotReady);
        ok(hip.hipEventSynchronize(stop));
        ok(hip.hipEventElapsedTime(&mut milliseconds, start, stop));
        assert!(milliseconds > 0.0, "{milliseconds}");
        ok(hip.hipEventDestroy(start));
        assert_eq!(hip.hipEventRecord(start, stream), hipError_t::hipErrorInvalidHandle);
        ok(hip.hipStreamDestroy(stream));
        assert_eq!(hip.hipStreamSynchronize(stream), hipError_t::hipErrorInvalidHandle);
    }
}
