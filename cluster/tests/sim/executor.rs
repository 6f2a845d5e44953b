//! The executor: every task of every simulated node, on one thread, in an order that a seed draws.
//!
//! It runs inside one tokio runtime whose time stands still while anything can run, and jumps to the
//! next timer when nothing can. Whatever wakes tasks in an order of its own (tokio does, in places)
//! does not matter: tasks that can run form a set, and the dice choose. A node that is paused keeps
//! its tasks, which do not run; one that is killed loses them, wherever they stand. Must not know
//! what the tasks do.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use tokio::time::Instant;

use super::clocks::Clocks;
use super::dice::Dice;
use super::trace::Trace;

pub type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Stands for what is no node: the network, the clients, whoever causes faults.
pub const OUTSIDE: u64 = 0;
/// Steps that may be taken without time going on: more is a loop that never ends.
const STEPS_AT_ONCE_MAX: u64 = 200_000;

thread_local! {
    static SIMULATION: RefCell<Option<Arc<Simulation>>> = const { RefCell::new(None) };
    static NODE: Cell<u64> = const { Cell::new(OUTSIDE) };
}

/// One run.
pub struct Simulation {
    inner: Mutex<Inner>,
    ready: Arc<Ready>,
    pub trace: Mutex<Trace>,
    pub world: super::world::Shared,
    begun: Instant,
}

struct Inner {
    tasks: BTreeMap<u64, (u64, Option<Boxed>)>,
    next: u64,
    order: Dice,
    chance: Dice,
    paused: BTreeSet<u64>,
    /// Nodes whose tasks are being dropped: what they spawn is dropped as well.
    dying: Option<u64>,
    /// To be killed before any other step.
    doomed: BTreeSet<u64>,
    clocks: BTreeMap<u64, Clocks>,
}

#[derive(Default)]
struct Ready {
    tasks: Mutex<(BTreeSet<u64>, Option<Waker>)>,
}

struct TaskWaker {
    task: u64,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.add(self.task);
    }
}

impl Ready {
    fn add(&self, task: u64) {
        let root = {
            let mut tasks = self.tasks.lock().expect("not poisoned");
            tasks.0.insert(task);
            tasks.1.take()
        };
        if let Some(root) = root {
            root.wake();
        }
    }
}

/// The run on this thread, if there is one.
pub fn current() -> Option<Arc<Simulation>> {
    SIMULATION.with(|simulation| simulation.borrow().clone())
}

/// The node whose task runs.
pub fn node() -> u64 {
    NODE.with(Cell::get)
}

/// Runs `f` as `node`, with its clocks.
pub fn as_node<T>(node: u64, f: impl FnOnce() -> T) -> T {
    let before = NODE.with(|current| current.replace(node));
    let value = f();
    NODE.with(|current| current.set(before));
    value
}

/// Takes the simulation off the thread when a run ends, well or not.
struct Ended;

impl Drop for Ended {
    fn drop(&mut self) {
        let simulation = SIMULATION.with(|simulation| simulation.borrow_mut().take());
        if let Some(simulation) = simulation {
            let tasks = std::mem::take(&mut simulation.inner().tasks);
            drop(tasks);
        }
    }
}

/// Runs `main` as a task of the outside, to its end.
pub fn run<T, F>(seed: u64, main: impl FnOnce(Arc<Simulation>) -> F) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async move {
        let simulation = Arc::new(Simulation::new(seed));
        SIMULATION.with(|current| *current.borrow_mut() = Some(simulation.clone()));
        let _ended = Ended;
        let result = Arc::new(Mutex::new(None));
        let (done, main) = (result.clone(), main(simulation.clone()));
        simulation.spawn(
            OUTSIDE,
            Box::pin(async move {
                let value = main.await;
                *done.lock().expect("not poisoned") = Some(value);
            }),
        );
        let mut steps = (Instant::now(), 0);
        poll_fn(|cx| {
            loop {
                if let Some(value) = result.lock().expect("not poisoned").take() {
                    return Poll::Ready(value);
                }
                let now = Instant::now();
                steps = if steps.0 == now { (now, steps.1 + 1) } else { (now, 0) };
                assert!(steps.1 < STEPS_AT_ONCE_MAX, "time does not go on");
                if !simulation.step(cx) {
                    return Poll::Pending;
                }
            }
        })
        .await
    })
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut seeds = Dice::new(seed);
        let mut dice = || Dice::new(seeds.below(usize::MAX) as u64);
        let inner = Inner {
            tasks: BTreeMap::new(),
            next: 1,
            order: dice(),
            chance: dice(),
            paused: BTreeSet::new(),
            dying: None,
            doomed: BTreeSet::new(),
            clocks: BTreeMap::new(),
        };
        Simulation {
            inner: Mutex::new(inner),
            ready: Arc::default(),
            trace: Mutex::default(),
            world: super::world::Shared::default(),
            begun: Instant::now(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("not poisoned")
    }

    /// Nanoseconds since the run began.
    pub fn now_ns(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    /// Notes a line of what happens.
    pub fn note(&self, line: std::fmt::Arguments<'_>) {
        self.trace.lock().expect("not poisoned").note(self.now_ns(), line);
    }

    /// Draws from what is left to chance.
    pub fn chance<T>(&self, draw: impl FnOnce(&mut Dice) -> T) -> T {
        draw(&mut self.inner().chance)
    }

    /// Adds a task of `node`; its number.
    pub fn spawn(&self, node: u64, task: Boxed) -> u64 {
        let mut inner = self.inner();
        if inner.dying == Some(node) {
            drop(inner);
            drop(task);
            return 0;
        }
        let id = inner.next;
        inner.next += 1;
        inner.tasks.insert(id, (node, Some(task)));
        drop(inner);
        self.ready.add(id);
        id
    }

    /// Drops a task.
    pub fn abort(&self, task: u64) {
        let dropped = self.inner().tasks.remove(&task);
        drop(dropped);
    }

    /// The tasks of `node` do not run until [`Simulation::resume`].
    pub fn pause(&self, node: u64) {
        self.inner().paused.insert(node);
    }

    pub fn resume(&self, node: u64) {
        self.inner().paused.remove(&node);
    }

    /// Drops every task of `node`, wherever it stands.
    pub fn kill(&self, node: u64) {
        let mut dropped = Vec::new();
        {
            let mut inner = self.inner();
            inner.dying = Some(node);
            inner.paused.remove(&node);
            let tasks: Vec<u64> =
                inner.tasks.iter().filter(|(_, task)| task.0 == node).map(|(id, _)| *id).collect();
            dropped.extend(tasks.iter().map(|id| inner.tasks.remove(id)));
        }
        as_node(node, || drop(dropped));
        self.inner().dying = None;
    }

    /// `node` is killed before anything else happens.
    pub fn doom(&self, node: u64) {
        self.inner().doomed.insert(node);
    }

    /// Gives `node` clocks.
    pub fn set_clocks(&self, node: u64, clocks: Clocks) {
        self.inner().clocks.insert(node, clocks);
    }

    pub fn clocks(&self, node: u64) -> Option<Clocks> {
        self.inner().clocks.get(&node).copied()
    }

    /// Lets one task that can run take a step; false if none can.
    fn step(&self, cx: &Context<'_>) -> bool {
        let doomed = self.inner().doomed.pop_first();
        if let Some(node) = doomed {
            self.kill(node);
            self.world.crashed(node);
        }
        let (id, node, mut task) = {
            let mut inner = self.inner();
            let mut ready = self.ready.tasks.lock().expect("not poisoned");
            let inner = &mut *inner;
            ready.0.retain(|id| inner.tasks.contains_key(id));
            let runs = |id: &&u64| {
                inner.tasks.get(id).is_some_and(|(node, _)| !inner.paused.contains(node))
            };
            let can_run: Vec<u64> = ready.0.iter().filter(runs).copied().collect();
            if can_run.is_empty() {
                ready.1 = Some(cx.waker().clone());
                return false;
            }
            let id = can_run[inner.order.below(can_run.len())];
            ready.0.remove(&id);
            let (node, task) = inner.tasks.get_mut(&id).expect("chosen among them");
            (id, *node, task.take().expect("not running"))
        };
        let waker = Waker::from(Arc::new(TaskWaker { task: id, ready: self.ready.clone() }));
        NODE.with(|current| current.set(node));
        let polled = {
            // Fairness among tasks is the dice's business.
            let mut step = std::pin::pin!(tokio::task::unconstrained(task.as_mut()));
            step.as_mut().poll(&mut Context::from_waker(&waker))
        };
        let mut inner = self.inner();
        let dropped = match polled {
            Poll::Ready(()) => {
                inner.tasks.remove(&id);
                Some(task)
            }
            // It may have been aborted by itself.
            Poll::Pending => match inner.tasks.get_mut(&id) {
                Some((_, place)) => place.replace(task),
                None => Some(task),
            },
        };
        drop(inner);
        drop(dropped);
        NODE.with(|current| current.set(OUTSIDE));
        true
    }
}
