//! Streams, events, memory, and what is refused.

use std::thread;

use kernels_hip::Error;
use kernels_hip::ops::VectorAdd;

use crate::device;

#[test]
fn the_device_says_what_it_is() {
    let Some((device, _)) = device() else { return };
    let info = device.info();
    assert_eq!((info.arch.as_str(), info.wave_size), ("gfx942", 64));
    assert!(info.num_compute_units > 0 && info.max_workgroup_size >= 256, "{info:?}");
    let error = device.runtime().device(1_000_000).err().unwrap().to_string();
    assert!(error.contains("no device 1000000"), "{error}");
}

#[test]
fn memory_is_taken_and_given_back() {
    const LEN: usize = 64 << 20;
    let Some((device, _)) = device() else { return };
    let before = device.memory().unwrap();
    let buffer = device.buffer::<u8>(LEN).unwrap();
    let during = device.memory().unwrap();
    assert!(during.free_bytes + LEN as u64 <= before.free_bytes, "{before:?} {during:?}");
    drop(buffer);
    assert!(device.memory().unwrap().free_bytes > during.free_bytes);
    let too_large = device.buffer::<u8>(usize::try_from(before.total_bytes).unwrap() * 2);
    let Err(Error::Hip(error)) = too_large else { panic!("twice the memory was given") };
    assert_eq!((error.call, error.name.as_str()), ("hipMalloc", "hipErrorOutOfMemory"));
}

#[test]
fn events_order_streams_and_measure_time() {
    let Some((device, first)) = device() else { return };
    let second = device.stream().unwrap();
    let add = VectorAdd::new(&device).unwrap();
    let ones = device.buffer_from(&first, &[1.0_f32; 5000]).unwrap();
    let (mut two, mut three) = (device.buffer(5000).unwrap(), device.buffer(5000).unwrap());
    let (mut start, mut end) = (device.event().unwrap(), device.event().unwrap());
    start.record(&first).unwrap();
    add.run(&first, &mut two, &ones, &ones).unwrap();
    end.record(&first).unwrap();
    second.wait_for(&end).unwrap();
    add.run(&second, &mut three, &two, &ones).unwrap();
    assert_eq!(three.to_host(&second).unwrap(), [3.0; 5000]);
    end.synchronize().unwrap();
    assert!(end.is_reached().unwrap() && second.is_idle().unwrap());
    assert!(end.since(&start).unwrap().as_secs() < 60);
}

#[test]
fn handles_go_from_thread_to_thread() {
    let Some((device, stream)) = device() else { return };
    let add = VectorAdd::new(&device).unwrap();
    let sum = thread::spawn(move || {
        let a = device.buffer_from(&stream, &[2.0_f32; 10]).unwrap();
        let mut out = device.buffer(10).unwrap();
        add.run(&stream, &mut out, &a, &a).unwrap();
        out.to_host(&stream).unwrap()
    });
    assert_eq!(sum.join().unwrap(), [4.0; 10]);
}

#[test]
fn what_is_not_there_is_named() {
    let Some((device, _)) = device() else { return };
    let module = device.variant("vector_add_v1_naive").unwrap();
    let error = module.kernel("vector_sub").err().unwrap().to_string();
    assert!(error.contains("vector_sub") && error.contains("vector_add_v1_naive"), "{error}");
    assert!(matches!(device.module(b"no code object"), Err(Error::CodeObject(_))));
    assert!(matches!(device.variant("vector_add_v9_wide"), Err(Error::NoVariant { .. })));
}
