//! The download slots: permits that all download stages of a process share.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type Waiting = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

/// One stage's way to the shared slots. A stage that finds none stands in the line of the semaphore, which is fair,
/// and leaves it when it has nothing left to start.
pub(super) struct Slots {
    all: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
    waiting: Option<Waiting>,
}

impl Slots {
    pub(super) fn new(all: Arc<Semaphore>) -> Self {
        Slots { all, taken: None, waiting: None }
    }

    /// A slot, if one is free; else the stage begins to wait for one.
    pub(super) fn take(&mut self) -> Option<OwnedSemaphorePermit> {
        if let Some(permit) = self.taken.take() {
            return Some(permit);
        }
        if self.waiting.is_none() {
            if let Ok(permit) = self.all.clone().try_acquire_owned() {
                return Some(permit);
            }
            let all = self.all.clone();
            self.waiting = Some(Box::pin(async move { all.acquire_owned().await.ok() }));
        }
        None
    }

    /// Waits until a slot is free that the stage waits for; for ever if it waits for none.
    pub(super) async fn freed(&mut self) {
        let Some(waiting) = &mut self.waiting else { return std::future::pending().await };
        self.taken = waiting.await;
        self.waiting = None;
    }

    /// Leaves the line: there is nothing to start.
    pub(super) fn leave(&mut self) {
        self.taken = None;
        self.waiting = None;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn two_stages_share_the_slots_and_a_freed_one_goes_to_who_waits() {
        let all = Arc::new(Semaphore::new(2));
        let (mut one, mut two) = (Slots::new(all.clone()), Slots::new(all.clone()));
        let (first, second) = (one.take(), one.take());
        assert!(first.is_some() && second.is_some() && one.take().is_none() && two.take().is_none());
        assert!(two.freed().now_or_never().is_none(), "there is none");
        one.leave();
        drop(first);
        assert!(one.take().is_none(), "the freed one is the other's");
        two.freed().await;
        assert!(two.take().is_some());
        two.leave();
        drop(second);
        one.freed().await;
        one.leave();
        assert_eq!(all.available_permits(), 2, "who leaves gives back what he was given");
    }
}
