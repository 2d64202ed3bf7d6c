//! A request's answer on its way to whoever reads it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use crate::error::LlmError;
use crate::llm::{RequestId, RequestUpdate};

/// What a request gives, as it gives it; ends after the update that has `finished`.
///
/// Updates that come faster than they are read are merged into one for each sequence: texts are
/// joined and tokens appended. Dropping the stream withdraws the request.
#[derive(Debug)]
pub struct RequestStream {
    id: RequestId,
    slot: Arc<Mutex<Slot>>,
}

/// The engine's end of a stream.
#[derive(Debug)]
pub(super) struct Feed {
    slot: Arc<Mutex<Slot>>,
}

/// What lies between the two ends.
#[derive(Debug, Default)]
struct Slot {
    /// At most one for each sequence; the one with `finished` comes last.
    unread: VecDeque<RequestUpdate>,
    waker: Option<Waker>,
    /// Nothing more will come.
    is_fed: bool,
    /// The last update has been read, or an error in its place.
    is_read: bool,
}

/// Both ends of request `id`'s stream.
pub(super) fn stream(id: RequestId) -> (Feed, RequestStream) {
    let slot = Arc::default();
    (Feed { slot: Arc::clone(&slot) }, RequestStream { id, slot })
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    // A slot is whole between any two statements that hold it.
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Feed {
    /// Whether nobody reads any more.
    pub(super) fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.slot) == 1
    }

    /// Adds an update to what the reader has not read yet.
    pub(super) fn push(&self, update: RequestUpdate) {
        let mut slot = lock(&self.slot);
        slot.is_fed = update.finished.is_some();
        let place = slot.unread.iter().position(|unread| unread.index == update.index);
        let unread = place.and_then(|place| slot.unread.remove(place));
        slot.unread.push_back(match unread {
            Some(unread) => unread.merged(update),
            None => update,
        });
        wake(slot);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut slot = lock(&self.slot);
        slot.is_fed = true;
        wake(slot);
    }
}

/// Wakes the reader, if one waits, once the slot is free.
fn wake(mut slot: MutexGuard<'_, Slot>) {
    let waker = slot.waker.take();
    drop(slot);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl RequestStream {
    /// Which request.
    pub fn id(&self) -> RequestId {
        self.id
    }
}

impl Stream for RequestStream {
    type Item = Result<RequestUpdate, LlmError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut slot = lock(&self.slot);
        if let Some(update) = slot.unread.pop_front() {
            slot.is_read = update.finished.is_some();
            return Poll::Ready(Some(Ok(update)));
        }
        if slot.is_read {
            return Poll::Ready(None);
        }
        if slot.is_fed {
            slot.is_read = true;
            return Poll::Ready(Some(Err(LlmError::Stopped)));
        }
        slot.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
