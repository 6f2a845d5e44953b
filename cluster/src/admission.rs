//! How many proposals may be in flight, and what counts as in flight.
//!
//! Nothing behind this is bounded but by it. Must not know what a proposal is.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ProposeError;
use crate::limits::{PROPOSALS_MAX, PROPOSALS_MAX_BYTES};
use crate::runtime::spawn;

/// Bounds on what is in flight.
pub(crate) struct Admission {
    proposals: Arc<Semaphore>,
    kibibytes: Arc<Semaphore>,
}

/// Leave to have one proposal in flight.
pub(crate) type Admitted = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Admission {
    pub(crate) fn new() -> Admission {
        Admission {
            proposals: Arc::new(Semaphore::new(PROPOSALS_MAX)),
            kibibytes: Arc::new(Semaphore::new(PROPOSALS_MAX_BYTES / 1024)),
        }
    }

    /// Leave for one more of `bytes`.
    pub(crate) fn admit(&self, bytes: usize) -> Result<Admitted, ProposeError> {
        // At most `COMMAND_MAX_BYTES`, so it fits.
        let kibibytes = bytes.div_ceil(1024) as u32;
        let overloaded = |_| ProposeError::Overloaded;
        let proposal = self.proposals.clone().try_acquire_owned().map_err(overloaded)?;
        let size = self.kibibytes.clone().try_acquire_many_owned(kibibytes).map_err(overloaded)?;
        Ok((proposal, size))
    }
}

/// A proposal that counts as in flight until it is answered, also when its caller has gone: a
/// stuck disk must not let callers that time out pile up work without bound.
pub(crate) struct InFlight<F: Future + Send + 'static>
where
    F::Output: Send,
{
    future: Option<Pin<Box<F>>>,
    admitted: Option<Admitted>,
}

impl<F: Future + Send + 'static> InFlight<F>
where
    F::Output: Send,
{
    pub(crate) fn new(future: F, admitted: Option<Admitted>) -> InFlight<F> {
        InFlight { future: Some(Box::pin(future)), admitted }
    }

    /// For another attempt, once this one is answered.
    pub(crate) fn give_back(&mut self) -> Option<Admitted> {
        self.admitted.take()
    }
}

impl<F: Future + Send + 'static> Future for InFlight<F>
where
    F::Output: Send,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(future) = self.future.as_mut() else {
            return Poll::Pending;
        };
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }
}

impl<F: Future + Send + 'static> Drop for InFlight<F>
where
    F::Output: Send,
{
    fn drop(&mut self) {
        let (Some(future), Some(admitted)) = (self.future.take(), self.admitted.take()) else {
            return;
        };
        if tokio::runtime::Handle::try_current().is_ok() {
            spawn(async move {
                future.await;
                drop(admitted);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::COMMAND_MAX_BYTES;

    #[test]
    fn one_proposal_or_one_byte_too_many_is_overload_until_another_is_answered() {
        for (bytes, fit) in
            [(1, PROPOSALS_MAX), (COMMAND_MAX_BYTES, PROPOSALS_MAX_BYTES / COMMAND_MAX_BYTES)]
        {
            let admission = Admission::new();
            let mut held = Vec::new();
            for _ in 0..fit {
                held.push(admission.admit(bytes).expect("fits"));
            }
            assert_eq!(admission.admit(bytes).map(|_| ()), Err(ProposeError::Overloaded));
            held.pop();
            assert!(admission.admit(bytes).is_ok());
        }
    }

    #[tokio::test]
    async fn a_proposal_whose_caller_has_gone_counts_until_it_is_answered() {
        let admission = Admission::new();
        let (answer, answered) = tokio::sync::oneshot::channel::<()>();
        let admitted = admission.admit(1).expect("fits");
        drop(InFlight::new(answered, Some(admitted)));
        tokio::task::yield_now().await;
        assert_eq!(admission.proposals.available_permits(), PROPOSALS_MAX - 1);
        answer.send(()).expect("awaited");
        while admission.proposals.available_permits() < PROPOSALS_MAX {
            tokio::task::yield_now().await;
        }
    }
}
