//! Writing a run down while it goes on.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use engine_core::request::{FinishReason, SeqId};
use engine_core::scheduler::{FinishedSeq, Refusal, Scheduler};
use serde::Serialize;

use super::{Event, Header, RecordedRequest};
use crate::error::LlmError;
use crate::kv_tier::{KvTierStats, TierReport};
use crate::run_loop::{Observed, RunLoop, StepReport};
use crate::sampler::SeqRequest;

/// A run loop that is recorded. If the file cannot be written any more, the run goes on without.
pub(crate) struct Recorder {
    inner: Box<dyn RunLoop>,
    path: PathBuf,
    writer: io::Result<BufWriter<File>>,
}

impl Recorder {
    /// Creates the file and writes its header.
    pub(crate) fn new(
        mut inner: Box<dyn RunLoop>,
        path: &Path,
        header: &Header,
    ) -> Result<Self, LlmError> {
        inner.trace();
        let writer = File::create(path).map(BufWriter::new);
        let mut recorder = Recorder { inner, path: path.to_path_buf(), writer };
        recorder.write(header);
        recorder.check()?;
        Ok(recorder)
    }

    /// Writes a line, and all the way to the system: a run is recorded to see how it ended.
    fn write(&mut self, line: &impl Serialize) {
        let Ok(writer) = &mut self.writer else { return };
        let written = serde_json::to_writer(&mut *writer, line)
            .map_err(io::Error::from)
            .and_then(|()| writer.write_all(b"\n"))
            .and_then(|()| writer.flush());
        if let Err(error) = written {
            self.writer = Err(error);
        }
    }
}

impl RunLoop for Recorder {
    fn add(&mut self, request: SeqRequest) -> Result<SeqId, Refusal> {
        let recorded = RecordedRequest::new(SeqId(0), &request);
        let seq_id = self.inner.add(request)?;
        self.write(&Event::Add(Box::new(RecordedRequest { seq_id, ..recorded })));
        Ok(seq_id)
    }

    fn finish(&mut self, seq_id: SeqId, reason: FinishReason) -> Option<FinishedSeq> {
        let finished = self.inner.finish(seq_id, reason)?;
        self.write(&Event::Finish { seq_id, reason });
        Some(finished)
    }

    fn step(&mut self) -> StepReport {
        let mut report = self.inner.step();
        if let Some(trace) = report.trace.take() {
            self.write(&Event::Step { observed: trace.observed, digest: trace.digest });
        }
        report
    }

    fn trace(&mut self) {
        self.inner.trace();
    }

    fn repeat_step(&mut self, observed: Observed) -> StepReport {
        self.inner.repeat_step(observed)
    }

    fn has_unfinished(&self) -> bool {
        self.inner.has_unfinished()
    }

    fn reset_prefix_cache(&mut self) -> bool {
        let is_reset = self.inner.reset_prefix_cache();
        if is_reset {
            self.write(&Event::ResetPrefixCache);
        }
        is_reset
    }

    fn scheduler(&self) -> &Scheduler {
        self.inner.scheduler()
    }

    fn device_name(&self) -> String {
        self.inner.device_name()
    }

    fn kv_store_stats(&self) -> Vec<TierReport> {
        self.inner.kv_store_stats()
    }

    fn kv_tier_stats(&self) -> Option<KvTierStats> {
        self.inner.kv_tier_stats()
    }

    fn flush_kv_store(&self) {
        self.inner.flush_kv_store();
    }

    fn check(&self) -> Result<(), LlmError> {
        match &self.writer {
            Ok(_) => Ok(()),
            Err(error) => {
                Err(LlmError::Record { path: self.path.clone(), what: error.to_string() })
            }
        }
    }
}
