//! Copies and fills.

use std::ffi::{c_int, c_uchar, c_ushort, c_void};

use gfx942_emulator::exec::memory::MemoryKind;
use hip_sys::bindings::{hipDeviceptr_t, hipError_t, hipMemcpyKind, hipStream_t};

use super::INVALID_VALUE;
use super::stream::stream_id;
use crate::error::{Failure, Result};
use crate::queue::NULL_STREAM;
use crate::runtime::Runtime;
use crate::work::{Place, Work};

/// An address that must hold `num_bytes` bytes of the device's or pinned memory.
fn device_place(runtime: &Runtime, address: u64, num_bytes: usize) -> Result<Place> {
    let arena = runtime.device.arena();
    let inside = arena.allocation(address).is_some_and(|allocation| {
        address - allocation.address + num_bytes as u64 <= allocation.num_bytes
    });
    if inside {
        return Ok(Place::Device(address));
    }
    let reason = arena.describe(address);
    let text = format!("{num_bytes} bytes at {address:#x} are not inside an allocation: {reason}");
    Err(Failure::new(INVALID_VALUE, text))
}

/// A place of the kind that the caller says, or of whatever kind it is.
fn place(
    runtime: &Runtime,
    address: u64,
    num_bytes: usize,
    is_device: Option<bool>,
) -> Result<Place> {
    if address == 0 {
        return Err(INVALID_VALUE.into());
    }
    let allocation = runtime.device.arena().allocation(address);
    match (is_device, allocation) {
        (Some(true), _) | (None, Some(_)) => device_place(runtime, address, num_bytes),
        // Pinned memory is the host's too, and the arena checks its bounds; the device's is not the host's.
        (Some(false), Some(allocation)) if allocation.kind == MemoryKind::Device => {
            let text = format!("{address:#x} is device memory, and the kind of copy says host");
            Err(Failure::new(INVALID_VALUE, text))
        }
        (Some(false), Some(_)) => device_place(runtime, address, num_bytes),
        (_, None) => Ok(Place::Host(address as usize)),
    }
}

fn sides(kind: hipMemcpyKind) -> Result<(Option<bool>, Option<bool>)> {
    Ok(match kind {
        hipMemcpyKind::hipMemcpyHostToHost => (Some(false), Some(false)),
        hipMemcpyKind::hipMemcpyHostToDevice => (Some(true), Some(false)),
        hipMemcpyKind::hipMemcpyDeviceToHost => (Some(false), Some(true)),
        hipMemcpyKind::hipMemcpyDeviceToDevice => (Some(true), Some(true)),
        hipMemcpyKind::hipMemcpyDefault => (None, None),
        _ => return Err(hipError_t::hipErrorInvalidMemcpyDirection.into()),
    })
}

/// Copies: on `stream` if there is one, where the caller goes on before it is done.
pub(super) fn copy(
    runtime: &mut Runtime,
    to: *mut c_void,
    from: *const c_void,
    num_bytes: usize,
    kind: hipMemcpyKind,
    stream: Option<hipStream_t>,
) -> Result {
    let stream = stream.map(|stream| stream_id(runtime, stream)).transpose()?;
    runtime.check_fault()?;
    if num_bytes == 0 {
        return Ok(());
    }
    let (to_device, from_device) = sides(kind)?;
    let to = place(runtime, to as u64, num_bytes, to_device)?;
    let mut from = place(runtime, from as u64, num_bytes, from_device)?;
    if let (Place::Host(address), Some(_)) = (&from, stream) {
        // Memory that is not pinned may be used again as soon as the call is back.
        // SAFETY: HIP's rules for the caller give `num_bytes` readable bytes.
        let bytes = unsafe { std::slice::from_raw_parts(*address as *const u8, num_bytes) };
        from = Place::Taken(bytes.to_vec());
    }
    let stays_on_device = matches!((&to, &from), (Place::Device(_), Place::Device(_)));
    let work = Work::Copy { to, from, num_bytes };
    match stream {
        Some(stream) => runtime.submit(stream, &[], work).map(drop),
        None => {
            let point = runtime.submit(NULL_STREAM, &[], work)?;
            if stays_on_device && kind == hipMemcpyKind::hipMemcpyDeviceToDevice {
                return Ok(());
            }
            runtime.synchronize(&[point])
        }
    }
}

/// Queues a fill with `count` times `pattern`, on `stream` or on the null stream.
fn fill(
    runtime: &mut Runtime,
    to: *mut c_void,
    pattern: &[u8],
    count: usize,
    stream: Option<hipStream_t>,
) -> Result {
    let stream = stream.map_or(Ok(NULL_STREAM), |stream| stream_id(runtime, stream))?;
    runtime.check_fault()?;
    let num_bytes = count.checked_mul(pattern.len()).ok_or(INVALID_VALUE)?;
    if num_bytes == 0 {
        return Ok(());
    }
    let address = to as u64;
    device_place(runtime, address, num_bytes)?;
    if !address.is_multiple_of(pattern.len() as u64) {
        return Err(INVALID_VALUE.into());
    }
    let work = Work::Fill { address, pattern: pattern.to_vec(), num_bytes: num_bytes as u64 };
    runtime.submit(stream, &[], work).map(drop)
}

pub(super) const H2D: hipMemcpyKind = hipMemcpyKind::hipMemcpyHostToDevice;
pub(super) const D2H: hipMemcpyKind = hipMemcpyKind::hipMemcpyDeviceToHost;
const D2D: hipMemcpyKind = hipMemcpyKind::hipMemcpyDeviceToDevice;

api! {
    fn hipMemcpy(
        to: *mut c_void,
        from: *const c_void,
        num_bytes: usize,
        kind: hipMemcpyKind,
    ) |runtime| {
        copy(runtime, to, from, num_bytes, kind, None)
    }

    fn hipMemcpyAsync(
        to: *mut c_void,
        from: *const c_void,
        num_bytes: usize,
        kind: hipMemcpyKind,
        stream: hipStream_t,
    ) |runtime| {
        copy(runtime, to, from, num_bytes, kind, Some(stream))
    }

    fn hipMemcpyHtoD(to: hipDeviceptr_t, from: *mut c_void, num_bytes: usize) |runtime| {
        copy(runtime, to, from, num_bytes, H2D, None)
    }

    fn hipMemcpyHtoDAsync(
        to: hipDeviceptr_t,
        from: *mut c_void,
        num_bytes: usize,
        stream: hipStream_t,
    ) |runtime| {
        copy(runtime, to, from, num_bytes, H2D, Some(stream))
    }

    fn hipMemcpyDtoH(to: *mut c_void, from: hipDeviceptr_t, num_bytes: usize) |runtime| {
        copy(runtime, to, from, num_bytes, D2H, None)
    }

    fn hipMemcpyDtoHAsync(
        to: *mut c_void,
        from: hipDeviceptr_t,
        num_bytes: usize,
        stream: hipStream_t,
    ) |runtime| {
        copy(runtime, to, from, num_bytes, D2H, Some(stream))
    }

    fn hipMemcpyDtoD(to: hipDeviceptr_t, from: hipDeviceptr_t, num_bytes: usize) |runtime| {
        copy(runtime, to, from, num_bytes, D2D, None)
    }

    fn hipMemcpyDtoDAsync(
        to: hipDeviceptr_t,
        from: hipDeviceptr_t,
        num_bytes: usize,
        stream: hipStream_t,
    ) |runtime| {
        copy(runtime, to, from, num_bytes, D2D, Some(stream))
    }

    fn hipMemset(to: *mut c_void, value: c_int, num_bytes: usize) |runtime| {
        fill(runtime, to, &[value as u8], num_bytes, None)
    }

    fn hipMemsetAsync(
        to: *mut c_void,
        value: c_int,
        num_bytes: usize,
        stream: hipStream_t,
    ) |runtime| {
        fill(runtime, to, &[value as u8], num_bytes, Some(stream))
    }

    fn hipMemsetD8(to: hipDeviceptr_t, value: c_uchar, count: usize) |runtime| {
        fill(runtime, to, &[value], count, None)
    }

    fn hipMemsetD8Async(
        to: hipDeviceptr_t,
        value: c_uchar,
        count: usize,
        stream: hipStream_t,
    ) |runtime| {
        fill(runtime, to, &[value], count, Some(stream))
    }

    fn hipMemsetD16(to: hipDeviceptr_t, value: c_ushort, count: usize) |runtime| {
        fill(runtime, to, &value.to_le_bytes(), count, None)
    }

    fn hipMemsetD16Async(
        to: hipDeviceptr_t,
        value: c_ushort,
        count: usize,
        stream: hipStream_t,
    ) |runtime| {
        fill(runtime, to, &value.to_le_bytes(), count, Some(stream))
    }

    fn hipMemsetD32(to: hipDeviceptr_t, value: c_int, count: usize) |runtime| {
        fill(runtime, to, &value.to_le_bytes(), count, None)
    }

    fn hipMemsetD32Async(
        to: hipDeviceptr_t,
        value: c_int,
        count: usize,
        stream: hipStream_t,
    ) |runtime| {
        fill(runtime, to, &value.to_le_bytes(), count, Some(stream))
    }
}
