//! The network between simulated nodes: requests and answers of HTTP, carried by the dice.
//!
//! It takes the place of TLS, TCP and HTTP/2 framing; what builds a request, looks at who may make
//! it, and answers it is the real code. A request may be late, overtaken by later ones, or lost
//! before or after it was answered; it may be cut off in one direction only. It is never delivered
//! twice, for no connection does that; whoever asks again makes a new one. Who gives up may take the
//! work at the other end with it, or not.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::executor::{OUTSIDE, current};
use super::tasks::{JoinHandle, spawn, spawn_on};
use crate::peer::link::{Body, CallError};
use crate::peer::server::{Server, Service, Serving};

pub type Answer = Pin<Box<dyn Future<Output = Option<Bytes>> + Send>>;
pub type Serve = Arc<dyn Fn(u64, Request<Full<Bytes>>) -> Answer + Send + Sync>;
type Reply = oneshot::Sender<Result<Bytes, CallError>>;

/// How the wires are.
#[derive(Default)]
pub struct Wires {
    servers: BTreeMap<u64, Serve>,
    /// Directions in which nothing arrives.
    cut: BTreeSet<(u64, u64)>,
    /// Nodes whose messages are slow, and by up to how many milliseconds.
    slow: BTreeMap<u64, u64>,
    /// Messages lost in a thousand.
    pub lost_permille: u32,
    pub carried: u64,
    pub lost: u64,
}

impl Wires {
    pub fn cut(&mut self, from: u64, to: u64) {
        self.cut.insert((from, to));
    }

    pub fn mend(&mut self, from: u64, to: u64) {
        self.cut.remove(&(from, to));
    }

    pub fn slow(&mut self, node: u64, by_ms: u64) {
        self.slow.insert(node, by_ms);
    }

    pub fn fast(&mut self, node: u64) {
        self.slow.remove(&node);
    }

    /// Nothing listens at `node` any more.
    pub fn close(&mut self, node: u64) -> Option<Serve> {
        self.servers.remove(&node)
    }
}

/// Answers requests to `node` until it stops.
pub fn serve<S: Service>(node: u64, server: Server<S>) -> JoinHandle<()> {
    let mut stopping = server.stopping.clone();
    let serving = Arc::new(Serving::new(server));
    let serve: Serve = Arc::new(move |from, request| {
        let serving = serving.clone();
        Box::pin(async move {
            let answer = serving.request(from, request).await.ok()?;
            Some(answer.into_body().collect().await.ok()?.to_bytes())
        })
    });
    let simulation = current().expect("a simulation runs");
    simulation.world.wires().servers.insert(node, serve);
    spawn(async move {
        // An error says that the node is gone.
        let _ = stopping.wait_for(|stopping| *stopping).await;
        let closed = simulation.world.wires().close(node);
        drop(closed);
    })
}

/// Ends what is under way when whoever waits for it gives up, if the dice say so.
struct Given(Option<JoinHandle<()>>);

impl Drop for Given {
    fn drop(&mut self) {
        if let (Some(courier), Some(simulation)) = (self.0.take(), current())
            && simulation.chance(|dice| dice.chance(500))
        {
            courier.abort();
        }
    }
}

/// Sends `request` and waits for the answer.
pub async fn exchange(
    from: u64,
    to: u64,
    request: Request<Body>,
    sent: &AtomicBool,
) -> Result<Bytes, CallError> {
    let simulation = current().expect("a simulation runs");
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|e| CallError::NotSent(e.to_string()))?.to_bytes();
    let path = parts.uri.path().to_owned();
    sent.store(true, Ordering::Relaxed);
    let (len, hash) = (body.len(), crc32fast::hash(&body));
    simulation.note(format_args!("{from}->{to} {path} {len} {hash:08x}"));
    let (reply, answered) = oneshot::channel();
    let request = Request::from_parts(parts, Full::new(body));
    let mut given = Given(Some(spawn_on(OUTSIDE, carry(from, to, request, reply))));
    let answer = answered.await;
    given.0 = None;
    let answer = answer.unwrap_or_else(|_| Err(CallError::Unanswered("lost".into())));
    let (len, hash) = answer.as_ref().map_or((0, 0), |a| (a.len(), crc32fast::hash(a)));
    simulation.note(format_args!("{from}<-{to} {path} {len} {hash:08x}"));
    answer
}

/// The way of one message from `from` to `to`; false if it does not arrive.
async fn travel(from: u64, to: u64) -> bool {
    let simulation = current().expect("a simulation runs");
    let (slow, lost) = {
        let mut wires = simulation.world.wires();
        wires.carried += 1;
        let slow = [from, to].iter().filter_map(|node| wires.slow.get(node)).max().copied();
        (slow.unwrap_or(0), wires.lost_permille)
    };
    let (ms, lost) = simulation.chance(|dice| {
        let ms = dice.below(3) as u64 + dice.below(slow as usize + 1) as u64;
        (ms, dice.chance(lost))
    });
    sleep(Duration::from_millis(ms)).await;
    let mut wires = simulation.world.wires();
    let arrives = !lost && !wires.cut.contains(&(from, to));
    wires.lost += u64::from(!arrives);
    arrives
}

async fn carry(from: u64, to: u64, request: Request<Full<Bytes>>, reply: Reply) {
    let simulation = current().expect("a simulation runs");
    if !travel(from, to).await {
        return lose(reply).await;
    }
    let serve = simulation.world.wires().servers.get(&to).cloned();
    let Some(serve) = serve else {
        // Whoever asked may have given up.
        let _ = reply.send(Err(CallError::NotSent("nothing listens".into())));
        return;
    };
    let mut answering = AbortOnDrop(spawn_on(to, serve(from, request)));
    drop(serve);
    let answer = (&mut answering.0).await.ok().flatten();
    if !travel(to, from).await {
        return lose(reply).await;
    }
    let _ = reply.send(answer.ok_or_else(|| CallError::Unanswered("reset".into())));
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Says nothing for long, or that the connection broke.
async fn lose(reply: Reply) {
    let simulation = current().expect("a simulation runs");
    if simulation.chance(|dice| dice.chance(700)) {
        sleep(Duration::from_secs(100)).await;
    }
    let _ = reply.send(Err(CallError::Unanswered("the connection broke".into())));
}
