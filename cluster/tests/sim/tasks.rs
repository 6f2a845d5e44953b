//! What production code spawns: a task of the simulated node that spawns it, or tokio's own where no
//! simulation runs on this thread. Must not know what the tasks do.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use openraft::{AsyncRuntime, OptionalSend, TokioRuntime};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::executor::{Simulation, current, node};

/// Why a task gave no value.
#[derive(Debug)]
pub enum JoinError {
    Tokio(tokio::task::JoinError),
    /// It was aborted, or its node was killed.
    Gone,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Tokio(error) => error.fmt(f),
            JoinError::Gone => f.write_str("the task is gone"),
        }
    }
}

impl std::error::Error for JoinError {}

/// A task that was spawned.
pub enum JoinHandle<T> {
    Tokio(tokio::task::JoinHandle<T>),
    Simulated { simulation: Weak<Simulation>, task: u64, slot: Arc<Mutex<Slot<T>>> },
}

pub struct Slot<T> {
    value: Option<T>,
    gone: bool,
    waiting: Option<Waker>,
}

/// Says that the task has ended when it is dropped.
struct End<T>(Arc<Mutex<Slot<T>>>);

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        let waiting = {
            let mut slot = self.0.lock().expect("not poisoned");
            slot.gone = true;
            slot.waiting.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

impl<T> JoinHandle<T> {
    pub fn abort(&self) {
        match self {
            JoinHandle::Tokio(task) => task.abort(),
            JoinHandle::Simulated { simulation, task, .. } => {
                if let Some(simulation) = simulation.upgrade() {
                    simulation.abort(*task);
                }
            }
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            JoinHandle::Tokio(task) => Pin::new(task).poll(cx).map_err(JoinError::Tokio),
            JoinHandle::Simulated { slot, .. } => {
                let mut slot = slot.lock().expect("not poisoned");
                match slot.value.take() {
                    Some(value) => Poll::Ready(Ok(value)),
                    None if slot.gone => Poll::Ready(Err(JoinError::Gone)),
                    None => {
                        slot.waiting = Some(cx.waker().clone());
                        Poll::Pending
                    }
                }
            }
        }
    }
}

/// Spawns a task of the node that runs.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match current() {
        Some(_) => spawn_on(node(), future),
        None => JoinHandle::Tokio(tokio::spawn(future)),
    }
}

/// Spawns a task of `node`, in the simulation.
pub fn spawn_on<F>(node: u64, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let simulation = current().expect("a simulation runs");
    let slot = Arc::new(Mutex::new(Slot { value: None, gone: false, waiting: None }));
    let end = End(slot.clone());
    let task = simulation.spawn(
        node,
        Box::pin(async move {
            let value = future.await;
            end.0.lock().expect("not poisoned").value = Some(value);
            drop(end);
        }),
    );
    JoinHandle::Simulated { simulation: Arc::downgrade(&simulation), task, slot }
}

/// Runs what would block: as a step of its own.
pub fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    match current() {
        Some(_) => spawn(async move { work() }),
        None => JoinHandle::Tokio(tokio::task::spawn_blocking(work)),
    }
}

/// The consensus engine's runtime: its tasks are spawned as above and its dice are seeded.
#[derive(Debug)]
pub struct Engine(TokioRuntime);

type Tokio<T> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

impl AsyncRuntime for Engine {
    type JoinError = JoinError;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> =
        <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = SmallRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = Tokio<T>;

    fn spawn<T>(future: T) -> JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(error: &JoinError) -> bool {
        matches!(error, JoinError::Tokio(error) if error.is_panic())
    }

    fn thread_rng() -> SmallRng {
        match current() {
            Some(simulation) => {
                SmallRng::seed_from_u64(simulation.chance(|dice| dice.below(usize::MAX)) as u64)
            }
            None => SmallRng::from_rng(&mut rand::rng()),
        }
    }

    fn new(threads: usize) -> Engine {
        Engine(TokioRuntime::new(threads))
    }

    fn block_on<F: Future<Output = T>, T>(&mut self, future: F) -> T {
        self.0.block_on(future)
    }
}
