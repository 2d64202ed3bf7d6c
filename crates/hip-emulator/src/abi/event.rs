//! Events.

use std::ffi::{c_float, c_uint};
use std::sync::{Arc, OnceLock};

use hip_sys::bindings::{hipError_t, hipEvent_t, hipEventDisableTiming, hipStream_t};

use super::stream::stream_id;
use super::{INVALID_VALUE, put};
use crate::error::Result;
use crate::runtime::{Event, Runtime};
use crate::work::Work;

/// The event of a handle.
pub(super) fn event(runtime: &mut Runtime, handle: hipEvent_t) -> Result<&mut Event> {
    let found = runtime.events.get_mut(&(handle as usize));
    found.ok_or_else(|| hipError_t::hipErrorInvalidHandle.into())
}

fn create(runtime: &mut Runtime, place: *mut hipEvent_t, flags: c_uint) -> Result {
    if place.is_null() {
        return Err(INVALID_VALUE.into());
    }
    let handle = runtime.new_handle();
    let disable_timing = flags & hipEventDisableTiming != 0;
    runtime.events.insert(handle, Event { disable_timing, record: None });
    // SAFETY: HIP's rules for the caller.
    unsafe { put(place, handle as hipEvent_t) }
}

api! {
    fn hipEventCreate(place: *mut hipEvent_t) |runtime| {
        create(runtime, place, 0)
    }

    fn hipEventCreateWithFlags(place: *mut hipEvent_t, flags: c_uint) |runtime| {
        create(runtime, place, flags)
    }

    fn hipEventDestroy(handle: hipEvent_t) |runtime| {
        event(runtime, handle)?;
        runtime.events.remove(&(handle as usize));
        Ok(())
    }

    fn hipEventRecord(handle: hipEvent_t, stream: hipStream_t) |runtime| {
        let stream = stream_id(runtime, stream)?;
        event(runtime, handle)?;
        let time = Arc::new(OnceLock::new());
        let point = runtime.submit(stream, &[], Work::Record(time.clone()))?;
        event(runtime, handle)?.record = Some((point, time));
        Ok(())
    }

    fn hipEventSynchronize(handle: hipEvent_t) |runtime| {
        let point = event(runtime, handle)?.record.as_ref().map(|(point, _)| *point);
        let points: Vec<_> = point.into_iter().collect();
        runtime.synchronize(&points)
    }

    fn hipEventQuery(handle: hipEvent_t) |runtime| {
        let record = event(runtime, handle)?.record.as_ref();
        let Some((point, _)) = record else {
            return Ok(());
        };
        let point = *point;
        let point = Some(point).filter(|point| !runtime.streams.is_done(*point));
        runtime.query(point)
    }

    fn hipEventElapsedTime(
        milliseconds: *mut c_float,
        start: hipEvent_t,
        stop: hipEvent_t,
    ) |runtime| {
        let mut times = [None; 2];
        for (time, handle) in times.iter_mut().zip([start, stop]) {
            let event = event(runtime, handle)?;
            let record = event.record.as_ref().filter(|_| !event.disable_timing);
            let (_, cell) = record.ok_or(hipError_t::hipErrorInvalidHandle)?;
            *time = cell.get().copied();
        }
        let [Some(start), Some(stop)] = times else {
            return Err(hipError_t::hipErrorNotReady.into());
        };
        let elapsed = stop.saturating_duration_since(start).as_secs_f64()
            - start.saturating_duration_since(stop).as_secs_f64();
        // SAFETY: HIP's rules for the caller.
        unsafe { put(milliseconds, (elapsed * 1000.0) as c_float) }
    }
}
