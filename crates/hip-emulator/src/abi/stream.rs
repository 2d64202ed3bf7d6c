//! Streams.

use std::ffi::{c_int, c_uint};

use hip_sys::bindings::{hipError_t, hipEvent_t, hipStream_t, hipStreamNonBlocking};

use super::event::event;
use super::{INVALID_VALUE, put};
use crate::error::Result;
use crate::queue::{NULL_STREAM, StreamId};
use crate::runtime::Runtime;
use crate::work::Work;

/// `hipStreamLegacy`: the null stream by another name.
const LEGACY: usize = 1;

/// Handles of streams that were made: their number, far from the small ones that are names.
const HANDLE_BASE: usize = 0x5354_0000_0000;

/// The stream of a handle.
pub(super) fn stream_id(runtime: &Runtime, handle: hipStream_t) -> Result<StreamId> {
    let id = match handle as usize {
        0 | LEGACY => NULL_STREAM,
        handle => StreamId(handle.wrapping_sub(HANDLE_BASE) / 16),
    };
    // A number that was never given out is not among the streams.
    if runtime.streams.contains(id) && (id == NULL_STREAM || handle == handle_of(id)) {
        Ok(id)
    } else {
        Err(hipError_t::hipErrorInvalidHandle.into())
    }
}

fn handle_of(id: StreamId) -> hipStream_t {
    (HANDLE_BASE + id.0 * 16) as hipStream_t
}

fn create(
    runtime: &mut Runtime,
    place: *mut hipStream_t,
    flags: c_uint,
    priority: c_int,
) -> Result {
    runtime.check_fault()?;
    if place.is_null() || flags & !hipStreamNonBlocking != 0 {
        return Err(INVALID_VALUE.into());
    }
    let is_blocking = flags & hipStreamNonBlocking == 0;
    let id = runtime.streams.create(is_blocking, priority.clamp(-1, 1));
    // SAFETY: HIP's rules for the caller.
    unsafe { put(place, handle_of(id)) }
}

api! {
    fn hipStreamCreate(place: *mut hipStream_t) |runtime| {
        create(runtime, place, 0, 0)
    }

    fn hipStreamCreateWithFlags(place: *mut hipStream_t, flags: c_uint) |runtime| {
        create(runtime, place, flags, 0)
    }

    fn hipStreamCreateWithPriority(
        place: *mut hipStream_t,
        flags: c_uint,
        priority: c_int,
    ) |runtime| {
        create(runtime, place, flags, priority)
    }

    fn hipStreamDestroy(handle: hipStream_t) |runtime| {
        let id = stream_id(runtime, handle)?;
        if id == NULL_STREAM {
            return Err(hipError_t::hipErrorInvalidHandle.into());
        }
        // What is queued still happens; after a fault nothing does.
        let points: Vec<_> = runtime.streams.last(id).into_iter().collect();
        let result = runtime.synchronize(&points);
        runtime.streams.destroy(id);
        result
    }

    fn hipStreamSynchronize(handle: hipStream_t) |runtime| {
        let id = stream_id(runtime, handle)?;
        let points: Vec<_> = runtime.streams.last(id).into_iter().collect();
        runtime.synchronize(&points)
    }

    fn hipStreamQuery(handle: hipStream_t) |runtime| {
        let id = stream_id(runtime, handle)?;
        let point = runtime.streams.first(id);
        runtime.query(point)
    }

    fn hipStreamWaitEvent(handle: hipStream_t, awaited: hipEvent_t, flags: c_uint) |runtime| {
        let id = stream_id(runtime, handle)?;
        if flags != 0 {
            return Err(INVALID_VALUE.into());
        }
        // An event that was never recorded is nothing to wait for.
        match &event(runtime, awaited)?.record {
            None => Ok(()),
            Some((point, _)) => {
                let point = *point;
                runtime.submit(id, &[point], Work::Nothing).map(drop)
            }
        }
    }

    fn hipStreamGetPriority(handle: hipStream_t, priority: *mut c_int) |runtime| {
        let id = stream_id(runtime, handle)?;
        let (found, _) = runtime.streams.settings(id).ok_or(INVALID_VALUE)?;
        // SAFETY: HIP's rules for the caller.
        unsafe { put(priority, found) }
    }

    fn hipStreamGetFlags(handle: hipStream_t, flags: *mut c_uint) |runtime| {
        let id = stream_id(runtime, handle)?;
        let (_, is_blocking) = runtime.streams.settings(id).ok_or(INVALID_VALUE)?;
        // SAFETY: HIP's rules for the caller.
        unsafe { put(flags, if is_blocking { 0 } else { hipStreamNonBlocking }) }
    }
}
