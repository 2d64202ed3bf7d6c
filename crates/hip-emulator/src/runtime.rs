//! The state behind the API: one lock, one device, its memory, streams, events and modules.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use hip_sys::bindings::hipError_t;

use crate::device::Device;
use crate::environment::Environment;
use crate::error::{Failure, Result};
use crate::module::Modules;
use crate::queue::{Point, StreamId, Streams};
use crate::watch::{Sanitize, Watch};
use crate::work::Work;

/// An event: when it was last recorded, and where.
#[derive(Default)]
pub struct Event {
    /// Whether it keeps no time.
    pub disable_timing: bool,
    /// Where it was recorded, and the time once the work before it has run.
    pub record: Option<(Point, Arc<OnceLock<Instant>>)>,
}

/// The state behind the API.
pub struct Runtime {
    /// The device.
    pub device: Device,
    /// Streams and what is queued in them.
    pub streams: Streams<Work>,
    /// Events by handle.
    pub events: BTreeMap<usize, Event>,
    /// Modules, their functions, and the program's own kernels.
    pub modules: Modules,
    /// Who watches launches.
    pub watch: Watch,
    is_lazy: bool,
    next_handle: usize,
    /// A kernel faulted: every later call that needs the device fails, as on hardware.
    fault: Option<hipError_t>,
    last_text: String,
}

/// The runtime, for this thread alone.
///
/// # Errors
/// If the machine does not give the address space for the device's memory.
pub fn lock() -> Result<MutexGuard<'static, Runtime>> {
    static RUNTIME: OnceLock<std::result::Result<Mutex<Runtime>, Failure>> = OnceLock::new();
    match RUNTIME.get_or_init(|| Runtime::new().map(Mutex::new)) {
        // Whoever panicked with the lock was told so; the state is a plain table and still one.
        Ok(runtime) => Ok(runtime.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(failure) => Err(failure.clone()),
    }
}

impl Runtime {
    fn new() -> Result<Self> {
        let started = Environment::read().and_then(|Environment { settings, is_lazy, watch }| {
            let device = Device::new(settings, watch.sanitize != Sanitize::Off)?;
            Ok((device, is_lazy, watch))
        });
        let (device, is_lazy, watch) = started.inspect_err(|failure| {
            eprintln!("hip-emulator: {}", failure.text.as_deref().unwrap_or_default());
        })?;
        Ok(Self {
            device,
            streams: Streams::default(),
            events: BTreeMap::new(),
            modules: Modules::default(),
            watch,
            is_lazy,
            next_handle: 1,
            fault: None,
            last_text: String::new(),
        })
    }

    /// A handle that nothing else has. Handles are numbers, looked up and never followed.
    pub fn new_handle(&mut self) -> usize {
        self.next_handle += 1;
        // A multiple of 16 and far from small integers, as a pointer would be.
        0x4b56_0000_0000 + self.next_handle * 16
    }

    /// Fails where a kernel has faulted before.
    pub fn check_fault(&self) -> Result {
        self.fault.map_or(Ok(()), |code| Err(code.into()))
    }

    /// What went wrong last, in words.
    pub fn last_text(&self) -> &str {
        &self.last_text
    }

    /// Keeps what went wrong. What a kernel did is not overwritten by what follows from it.
    pub fn set_last_text(&mut self, text: String) {
        if self.fault.is_none() || self.last_text.is_empty() {
            self.last_text = text;
        }
    }

    /// Makes streams lazy, or eager.
    pub fn set_lazy(&mut self, is_lazy: bool) {
        self.is_lazy = is_lazy;
    }

    /// Puts `work` into `stream`, behind `after`.
    pub fn submit(&mut self, stream: StreamId, after: &[Point], work: Work) -> Result<Point> {
        self.check_fault()?;
        let invalid = hipError_t::hipErrorInvalidHandle;
        let point = self.streams.submit(stream, after, work).ok_or(invalid)?;
        if !self.is_lazy {
            // A fault is reported by what synchronises, as on hardware.
            let _ = self.run(&[point]);
        }
        Ok(point)
    }

    /// Waits for `points`: runs what is queued up to there.
    pub fn synchronize(&mut self, points: &[Point]) -> Result {
        self.check_fault()?;
        self.run(points)
    }

    /// Waits for everything.
    pub fn synchronize_all(&mut self) -> Result {
        let points = self.streams.all();
        self.synchronize(&points)
    }

    /// Whether nothing is left in a stream; where something is, one step of it runs, so that who polls gets there.
    pub fn query(&mut self, point: Option<Point>) -> Result {
        self.check_fault()?;
        let Some(point) = point else {
            return Ok(());
        };
        self.run(&[point])?;
        Err(hipError_t::hipErrorNotReady.into())
    }

    /// Forgets faults, streams, events, modules and allocations. What the program registered and what was asked of the
    /// emulator stays.
    pub fn reset(&mut self) -> Result {
        let settings = Environment::read()?.settings;
        self.device = Device::new(settings, self.watch.sanitize != Sanitize::Off)?;
        self.streams = Streams::default();
        self.events = BTreeMap::new();
        self.modules.reset();
        self.fault = None;
        self.last_text.clear();
        Ok(())
    }

    fn run(&mut self, points: &[Point]) -> Result {
        for work in self.streams.take(points) {
            self.check_fault()?;
            if let Err(failure) = work.run(&self.device, &mut self.watch) {
                let text = failure.text.unwrap_or_default();
                eprintln!("hip-emulator: {text}");
                self.last_text = text;
                self.fault = Some(failure.code);
            }
        }
        self.check_fault()
    }
}
