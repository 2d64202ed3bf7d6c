//! Sends requests when they are due, and no more at once than may be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::client::{Answer, Endpoint, Question};
use super::dataset::Sample;
use crate::cli::error::CliError;

/// What is sent where.
#[derive(Clone)]
pub(crate) struct Driver {
    pub endpoint: Arc<Endpoint>,
    pub question: Arc<Question>,
    /// Most requests at once.
    pub max_concurrency: Option<usize>,
    pub bar: ProgressBar,
}

impl Driver {
    /// Sends each sample when it is due, and waits for all answers: one for each sample, in their order, and the seconds
    /// that it took.
    ///
    /// # Errors
    /// Only if this program is at fault.
    pub(crate) async fn run(
        &self,
        samples: &Arc<[Sample]>,
        arrivals_s: &[f64],
    ) -> Result<(Vec<Answer>, f64), CliError> {
        let places = self.max_concurrency.map(|num| Arc::new(Semaphore::new(num)));
        let begin = Instant::now();
        let mut tasks = JoinSet::new();
        for (index, &arrival_s) in arrivals_s.iter().enumerate().take(samples.len()) {
            // A trace may name a time that no clock reaches.
            let due = Duration::try_from_secs_f64(arrival_s).unwrap_or(Duration::MAX);
            tokio::time::sleep(due.saturating_sub(begin.elapsed())).await;
            let (driver, samples, places) = (self.clone(), Arc::clone(samples), places.clone());
            tasks.spawn(async move {
                (index, driver.ask(&samples[index], places.as_deref(), begin).await)
            });
        }
        let mut answers = vec![Answer::default(); samples.len()];
        while let Some(done) = tasks.join_next().await {
            let (index, answer) = done.map_err(|error| CliError::from_internal_error(&error))?;
            answers[index] = answer;
        }
        Ok((answers, begin.elapsed().as_secs_f64()))
    }

    async fn ask(&self, sample: &Sample, places: Option<&Semaphore>, begin: Instant) -> Answer {
        let due = Instant::now();
        // Only a closed semaphore fails, and nobody closes it.
        let _place = match places {
            Some(places) => places.acquire().await.ok(),
            None => None,
        };
        let sent = Instant::now();
        let mut answer = self.endpoint.ask(&self.question, sample).await;
        answer.start_s = (sent - begin).as_secs_f64();
        answer.queue_s = (sent - due).as_secs_f64();
        self.bar.inc(1);
        answer
    }
}
