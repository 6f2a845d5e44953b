//! The end of a link that answers.
//!
//! A connection is served once TLS has shown that its other end is a node of this cluster that was
//! not removed; each request is looked at again, for members change. Whoever may not ask gets a
//! reset stream and no word. Must not know what an answer is made of: that is for [`Service`].

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body as Arriving, Bytes};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::exchange::{DIRECTORIES, Directories};
use super::rights::{Standing, is_consensus, may};
use super::snapshot;
use super::tls::{Credentials, holder};
use super::wire::Rpc;
use super::wire_raft::SnapshotHead;
use crate::electorate::Electorate;
use crate::error::StartError;
use crate::limits::{
    PEER_CONNECT_MAX, PEER_CONNECTIONS_MAX, PEER_HANDSHAKES_MAX, PEER_IDLE_PROBE, PEER_MESSAGE_MAX,
    PEER_MESSAGE_MAX_BYTES, PEER_PROBE_ANSWER_MAX, PEER_STREAMS_MAX, PEER_WINDOW_BYTES,
    RETRY_PAUSE,
};
use crate::roster::Roster;
use crate::runtime::{JoinHandle, spawn};
use crate::store::disk::File;
use crate::types::Incarnation;

/// A request is not answered: the other end may not make it, or it is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nothing;

impl fmt::Display for Nothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing to say")
    }
}

impl std::error::Error for Nothing {}

/// Who asks, as its certificate and the members say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asker {
    pub node: u64,
    pub standing: Standing,
}

/// What answers requests.
pub(crate) trait Service: Send + Sync + 'static {
    /// Answers one message.
    fn answer(
        &self,
        from: Asker,
        rpc: Rpc,
        message: Bytes,
    ) -> impl Future<Output = Result<Vec<u8>, Nothing>> + Send;

    /// Takes a snapshot in.
    fn snapshot(
        &self,
        from: Asker,
        head: SnapshotHead,
        file: File,
    ) -> impl Future<Output = Result<Vec<u8>, Nothing>> + Send;
}

/// A bound address whose connections nobody takes yet.
pub(crate) struct Listening {
    listener: TcpListener,
    pub address: SocketAddr,
}

/// Takes the address.
pub(crate) async fn listen(address: SocketAddr) -> Result<Listening, StartError> {
    let error = |e: std::io::Error| StartError::Listen { address, detail: e.to_string() };
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let address = listener.local_addr().map_err(error)?;
    Ok(Listening { listener, address })
}

/// What a server stands on.
pub(crate) struct Server<S> {
    pub own: Incarnation,
    pub roster: Arc<Roster>,
    pub electorate: Arc<Electorate>,
    pub service: S,
    /// Where a snapshot goes while it arrives.
    pub incoming: PathBuf,
    pub stopping: watch::Receiver<bool>,
}

/// Serves until `stopping` says so.
pub(crate) fn serve<S: Service>(
    listening: Listening,
    credentials: Credentials,
    server: Server<S>,
) -> JoinHandle<()> {
    let serving = Arc::new(Serving::new(server));
    spawn(async move {
        let mut stopping = serving.server.stopping.clone();
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => {}
            () = accept(listening.listener, credentials, serving) => {}
        }
    })
}

/// A server with what its requests share.
pub(crate) struct Serving<S> {
    server: Server<S>,
    /// One snapshot at a time.
    receiving: Semaphore,
}

/// Dropping this drops the connections with it.
async fn accept<S: Service>(
    listener: TcpListener,
    credentials: Credentials,
    serving: Arc<Serving<S>>,
) {
    let handshakes = Arc::new(Semaphore::new(PEER_HANDSHAKES_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection of a peer");
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
        };
        let Ok(handshaking) = handshakes.clone().try_acquire_owned() else { continue };
        if connections.len() >= PEER_CONNECTIONS_MAX {
            continue;
        }
        let (serving, credentials) = (serving.clone(), credentials.clone());
        connections.spawn(async move {
            let proved = timeout(PEER_CONNECT_MAX, prove(&credentials, stream));
            let proved = proved.await.ok().flatten();
            drop(handshaking);
            if let Some((node, stream)) = proved {
                serving.connection(node, stream).await;
            }
        });
    }
}

type Stream = tokio_rustls::server::TlsStream<TcpStream>;

/// The node at the other end, if it proves to be one of this cluster.
async fn prove(credentials: &Credentials, stream: TcpStream) -> Option<(u64, Stream)> {
    stream.set_nodelay(true).ok()?;
    let stream = TlsAcceptor::from(credentials.server.clone()).accept(stream).await.ok()?;
    let (cluster, node) = holder(stream.get_ref().1.peer_certificates()?.first()?)?;
    (cluster == credentials.cluster && node != credentials.node).then_some((node, stream))
}

impl<S: Service> Serving<S> {
    pub(crate) fn new(server: Server<S>) -> Serving<S> {
        Serving { server, receiving: Semaphore::new(1) }
    }

    async fn connection(self: Arc<Self>, node: u64, stream: Stream) {
        let mut roster = self.server.roster.subscribe();
        let service = service_fn(|request| {
            let serving = self.clone();
            async move { serving.request(node, request).await }
        });
        let serving = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PEER_IDLE_PROBE)
            .keep_alive_timeout(PEER_PROBE_ANSWER_MAX)
            .max_concurrent_streams(PEER_STREAMS_MAX)
            .initial_stream_window_size(PEER_WINDOW_BYTES)
            .initial_connection_window_size(PEER_WINDOW_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            _ = roster.wait_for(|known| known.removed.contains(&node)) => {}
            served = serving => if let Err(error) = served {
                tracing::debug!(node, %error, "a connection of a peer ended");
            }
        }
    }

    /// Answers what `node` asks.
    pub(crate) async fn request<B>(
        &self,
        node: u64,
        request: Request<B>,
    ) -> Result<Response<Full<Bytes>>, Nothing>
    where
        B: Arriving<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let rpc = Rpc::at(request.uri().path()).filter(|_| request.method() == Method::POST);
        let rpc = rpc.ok_or(Nothing)?;
        let directories = request.headers().get(DIRECTORIES).and_then(Directories::parse);
        let directories = directories.ok_or(Nothing)?;
        let from = self.admit(node, directories, rpc).ok_or(Nothing)?;
        let answer = match rpc {
            Rpc::Snapshot => self.receive(from, request.into_body()).await?,
            _ => {
                let body = Limited::new(request.into_body(), PEER_MESSAGE_MAX_BYTES).collect();
                let body = timeout(PEER_MESSAGE_MAX, body).await.map_err(|_| Nothing)?;
                let message = body.map_err(|_| Nothing)?.to_bytes();
                self.server.service.answer(from, rpc, message).await?
            }
        };
        Ok(Response::new(Full::from(answer)))
    }

    /// As whom `node`, speaking for one directory to another, makes a request of this kind, if it may.
    fn admit(&self, node: u64, Directories { from, to }: Directories, rpc: Rpc) -> Option<Asker> {
        let meant = to.map_or(rpc == Rpc::Join, |to| to == self.server.own);
        let standing = self.server.electorate.standing(node, from);
        if meant && may(standing, rpc) {
            return Some(Asker { node, standing });
        }
        if meant && is_consensus(rpc) && standing != Standing::Removed {
            tracing::debug!(node, ?standing, ?rpc, "a node without a vote speaks for the engine");
            self.server.electorate.claims_to_lead();
        }
        None
    }

    async fn receive<B>(&self, from: Asker, body: B) -> Result<Vec<u8>, Nothing>
    where
        B: Arriving<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let _turn = self.receiving.try_acquire().map_err(|_| Nothing)?;
        let own = |head: &SnapshotHead| head.vote.leader_id().node_id == from.node;
        let received = snapshot::incoming(body, self.server.incoming.clone(), own).await;
        let (head, file) = received.map_err(|error| {
            tracing::warn!(node = from.node, %error, "a snapshot did not arrive");
            Nothing
        })?;
        self.server.service.snapshot(from, head, file).await
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
