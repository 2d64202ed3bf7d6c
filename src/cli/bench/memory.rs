//! Memory in use while a bench runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;

/// Time between samples at first.
const INTERVAL: Duration = Duration::from_millis(50);

/// With more samples than this, every other is dropped and the time between them doubled.
const MAX_SAMPLES: usize = 512;

/// Bytes in use over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct MemoryUse {
    /// Most bytes that the process had in memory; `None` if there was no such process.
    pub host_peak_bytes: Option<u64>,
    /// Most bytes that any device had in use; `None` without an AMD GPU.
    pub device_peak_bytes: Option<u64>,
    pub samples: Vec<MemorySample>,
}

/// Bytes in use at a time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct MemorySample {
    /// Since the bench began.
    pub time_s: f64,
    /// Of the process.
    pub host_bytes: Option<u64>,
    /// Of each AMD GPU, by all processes.
    pub device_bytes: Vec<u64>,
}

/// Samples on a thread of its own until it is stopped or dropped.
pub(super) struct MemorySampler {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<MemoryUse>>,
}

impl MemorySampler {
    /// Of this process, and all devices.
    pub(super) fn start() -> MemorySampler {
        MemorySampler::of_process("self")
    }

    /// Of another process.
    pub(super) fn of_pid(pid: u32) -> MemorySampler {
        MemorySampler::of_process(&pid.to_string())
    }

    fn of_process(process: &str) -> MemorySampler {
        let source = Source::below(Path::new("/"), process);
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let (start, mut interval) = (Instant::now(), INTERVAL);
            let mut found = MemoryUse::default();
            loop {
                found.add(source.sample(start.elapsed().as_secs_f64()), &mut interval);
                if stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                    found.add(source.sample(start.elapsed().as_secs_f64()), &mut interval);
                    return found;
                }
            }
        });
        MemorySampler { stop: Some(stop), thread: Some(thread) }
    }

    /// What was seen.
    pub(super) fn stop(mut self) -> MemoryUse {
        drop(self.stop.take());
        let thread = self.thread.take();
        thread.and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl MemoryUse {
    fn add(&mut self, sample: MemorySample, interval: &mut Duration) {
        self.host_peak_bytes = self.host_peak_bytes.max(sample.host_bytes);
        self.device_peak_bytes =
            self.device_peak_bytes.max(sample.device_bytes.iter().copied().max());
        self.samples.push(sample);
        if self.samples.len() > MAX_SAMPLES {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            *interval *= 2;
        }
    }
}

/// The files that say what is in use.
struct Source {
    status: PathBuf,
    devices: Vec<PathBuf>,
}

impl Source {
    fn below(root: &Path, process: &str) -> Source {
        let cards = fs::read_dir(root.join("sys/class/drm")).into_iter().flatten().flatten();
        let devices = cards.map(|card| card.path().join("device/mem_info_vram_used"));
        let is_card = |path: &PathBuf| {
            // Outputs of a card are card0-DP-1, and share its device.
            let name = path.iter().rev().nth(2).map(|name| name.to_string_lossy().into_owned());
            let number = name.as_deref().and_then(|name| name.strip_prefix("card"));
            number.is_some_and(|number| number.parse::<u32>().is_ok()) && path.exists()
        };
        let mut devices: Vec<PathBuf> = devices.filter(is_card).collect();
        devices.sort();
        Source { status: root.join("proc").join(process).join("status"), devices }
    }

    fn sample(&self, time_s: f64) -> MemorySample {
        let status = fs::read_to_string(&self.status).ok();
        let device = |path: &PathBuf| fs::read_to_string(path).ok()?.trim().parse().ok();
        MemorySample {
            time_s,
            host_bytes: status.as_deref().and_then(resident_bytes),
            device_bytes: self.devices.iter().filter_map(device).collect(),
        }
    }
}

/// What of a process is in memory: `VmRSS:  1234 kB`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_devices_are_read_where_the_system_has_them() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/7/status", "Name:\tx\nVmHWM:\t  9 kB\nVmRSS:\t     3 kB\n");
        write("sys/class/drm/card1/device/mem_info_vram_used", "200\n");
        write("sys/class/drm/card0/device/mem_info_vram_used", "100\n");
        write("sys/class/drm/card0-DP-1/device/mem_info_vram_used", "100\n");
        write("sys/class/drm/card2/device/vendor", "0x8086\n");
        let sample = Source::below(root.path(), "7").sample(1.5);
        assert_eq!((sample.time_s, sample.host_bytes), (1.5, Some(3072)));
        assert_eq!(sample.device_bytes, [100, 200]);
        let gone = Source::below(root.path(), "8").sample(0.0);
        assert_eq!(gone.host_bytes, None);
    }

    #[test]
    fn a_long_run_keeps_few_samples_and_its_peak() {
        let (mut found, mut interval) = (MemoryUse::default(), INTERVAL);
        for i in 0..10_000_u64 {
            let host_bytes = Some(if i == 7_777 { 99 } else { i % 50 });
            let sample = MemorySample { time_s: i as f64, host_bytes, device_bytes: Vec::new() };
            found.add(sample, &mut interval);
        }
        assert!(found.samples.len() <= MAX_SAMPLES && interval > INTERVAL);
        assert!(found.samples.windows(2).all(|pair| pair[0].time_s < pair[1].time_s));
        assert_eq!((found.host_peak_bytes, found.device_peak_bytes), (Some(99), None));
    }

    #[test]
    fn this_process_is_seen_from_its_beginning_to_its_end() {
        let found = MemorySampler::start().stop();
        assert!(found.samples.len() >= 2, "{found:?}");
        assert!(found.host_peak_bytes.is_some_and(|bytes| bytes > 1 << 20), "{found:?}");
    }
}
