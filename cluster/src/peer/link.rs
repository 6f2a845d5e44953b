//! A way to one peer: connections that are made when needed, and requests over them.
//!
//! A caller learns whether its request may have reached the peer: what was not sent may be sent
//! again elsewhere, what may have been sent has an unknown outcome. Traffic of different urgency
//! goes over connections of its own, so that a snapshot never holds a heartbeat up. Must not know
//! what the requests mean.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::exchange::{DIRECTORIES, Directories};
use super::tls::Credentials;
use super::wire::Rpc;
use crate::limits::{
    PEER_CONNECT_MAX, PEER_IDLE_PROBE, PEER_MESSAGE_MAX_BYTES, PEER_PROBE_ANSWER_MAX,
    PEER_WINDOW_BYTES,
};
use crate::types::{Incarnation, Member};

/// What a request carries.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Which connection a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Log entries.
    Log,
    /// Heartbeats, votes and leases: small, and late is as bad as lost.
    Pulse,
    /// Snapshots.
    Bulk,
    /// What callers of this node asked for.
    Calls,
}

/// Why a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallError {
    /// It was not sent.
    NotSent(String),
    /// It may have arrived, but no answer came, or none that is one.
    Unanswered(String),
    /// As before, because the deadline passed.
    TimedOut,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::NotSent(why) => write!(f, "not sent: {why}"),
            CallError::Unanswered(why) => write!(f, "no answer: {why}"),
            CallError::TimedOut => f.write_str("no answer in time"),
        }
    }
}

/// A peer as a request addresses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub node: u64,
    /// `host:port`.
    pub address: String,
    /// The data directory that is meant; `None` if unknown.
    pub incarnation: Option<Incarnation>,
}

impl Target {
    pub(crate) fn member(node: u64, member: &Member) -> Target {
        let Member { address, incarnation } = member.clone();
        Target { node, address, incarnation: Some(incarnation) }
    }
}

/// What carries requests.
#[derive(Clone)]
pub(crate) enum Way {
    /// TLS over TCP.
    Tls(Credentials),
    /// The simulated network, from this node.
    #[cfg(test)]
    Simulated(u64),
}

/// Ways to every peer of one node.
#[derive(Clone)]
pub(crate) struct Links(Arc<Shared>);

struct Shared {
    way: Way,
    own: Incarnation,
    links: Mutex<HashMap<(u64, Lane), Arc<Link>>>,
    /// Requests sent, by kind, in the order of [`Rpc::ALL`].
    sent: [AtomicU64; Rpc::ALL.len()],
}

struct Link {
    address: String,
    connection: tokio::sync::Mutex<Option<SendRequest<Body>>>,
}

impl Links {
    pub(crate) fn new(way: Way, own: Incarnation) -> Links {
        let sent = [const { AtomicU64::new(0) }; Rpc::ALL.len()];
        Links(Arc::new(Shared { way, own, links: Mutex::default(), sent }))
    }

    /// Sends `message` and gives the bytes of the answer.
    pub(crate) async fn call(
        &self,
        target: &Target,
        lane: Lane,
        rpc: Rpc,
        message: Vec<u8>,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let body = Full::new(Bytes::from(message)).map_err(|never| match never {});
        self.call_streaming(target, lane, rpc, body.boxed_unsync(), deadline).await
    }

    /// Sends `body`, whatever its size.
    pub(super) async fn call_streaming(
        &self,
        target: &Target,
        lane: Lane,
        rpc: Rpc,
        body: Body,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let sent = AtomicBool::new(false);
        match timeout(deadline, self.exchange(target, lane, rpc, body, &sent)).await {
            Ok(answer) => answer,
            Err(_) if sent.load(Ordering::Relaxed) => Err(CallError::TimedOut),
            Err(_) => Err(CallError::NotSent("no connection in time".into())),
        }
    }

    async fn exchange(
        &self,
        target: &Target,
        lane: Lane,
        rpc: Rpc,
        body: Body,
        sent: &AtomicBool,
    ) -> Result<Bytes, CallError> {
        let directories = Directories { from: self.0.own, to: target.incarnation };
        let header = directories.header().ok_or_else(|| CallError::NotSent("a header".into()))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("https://peer{}", rpc.path()))
            .header(DIRECTORIES, header)
            .body(body)
            .map_err(|e| CallError::NotSent(e.to_string()))?;
        #[cfg(test)]
        if let Way::Simulated(own) = self.0.way {
            return crate::sim::network::exchange(own, target.node, request, sent).await;
        }
        let mut sender = self.connection(target, lane).await?;
        sender.ready().await.map_err(|e| CallError::NotSent(e.to_string()))?;
        sent.store(true, Ordering::Relaxed);
        if let Some(count) = self.0.sent.get(rpc as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let answer = sender.try_send_request(request).await.map_err(|mut e| {
            let unsent = e.take_message().is_some();
            let why = e.into_error().to_string();
            if unsent { CallError::NotSent(why) } else { CallError::Unanswered(why) }
        })?;
        let body = Limited::new(answer.into_body(), PEER_MESSAGE_MAX_BYTES).collect().await;
        body.map(http_body_util::Collected::to_bytes)
            .map_err(|e| CallError::Unanswered(e.to_string()))
    }

    /// The link of that lane, a new one if the peer has moved.
    fn link(&self, target: &Target, lane: Lane) -> Arc<Link> {
        let mut links = self.0.links.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || {
            let (address, connection) = (target.address.clone(), tokio::sync::Mutex::new(None));
            Arc::new(Link { address, connection })
        };
        let link = links.entry((target.node, lane)).or_insert_with(fresh);
        if link.address != target.address {
            *link = fresh();
        }
        link.clone()
    }

    async fn connection(
        &self,
        target: &Target,
        lane: Lane,
    ) -> Result<SendRequest<Body>, CallError> {
        let link = self.link(target, lane);
        let mut connection = link.connection.lock().await;
        if let Some(sender) = connection.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        *connection = None;
        let sender = timeout(PEER_CONNECT_MAX, connect(&self.0.way, target)).await;
        let sender = sender.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let sender = sender.map_err(|e| CallError::NotSent(e.to_string()))?;
        *connection = Some(sender.clone());
        Ok(sender)
    }

    /// How many requests of each kind were sent.
    pub(crate) fn sent(&self) -> Vec<(&'static str, u64)> {
        let counts = self.0.sent.iter().map(|count| count.load(Ordering::Relaxed));
        Rpc::ALL.into_iter().map(Rpc::name).zip(counts).collect()
    }

    /// Lets go of every connection.
    pub(crate) fn close(&self) {
        self.0.links.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A new connection to `target`.
async fn connect(way: &Way, target: &Target) -> io::Result<SendRequest<Body>> {
    #[cfg(test)]
    let Way::Tls(credentials) = way else { return Err(io::ErrorKind::Unsupported.into()) };
    #[cfg(not(test))]
    let Way::Tls(credentials) = way;
    let name = credentials.server_name(target.node).ok_or(io::ErrorKind::InvalidInput)?;
    let stream = dial(&target.address, credentials.connect_from).await?;
    stream.set_nodelay(true)?;
    let connector = TlsConnector::from(credentials.client.clone());
    let stream = TokioIo::new(connector.connect(name, stream).await?);
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PEER_IDLE_PROBE)
        .keep_alive_timeout(PEER_PROBE_ANSWER_MAX)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(PEER_WINDOW_BYTES)
        .initial_connection_window_size(PEER_WINDOW_BYTES)
        .handshake(stream)
        .await
        .map_err(io::Error::other)?;
    let node = target.node;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(node, %error, "a connection to a peer ended");
        }
    });
    Ok(sender)
}

/// A TCP connection to the first address of `host:port` that answers.
async fn dial(address: &str, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(from) = from else { return TcpStream::connect(address).await };
    let mut last = io::ErrorKind::NotFound.into();
    for to in lookup_host(address).await?.filter(|to| to.is_ipv4() == from.is_ipv4()) {
        let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind(SocketAddr::new(from, 0))?;
        match socket.connect(to).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
