//! The wires between the nodes of a test: a proxy before each node, which can cut any direction
//! between any two.
//!
//! A cut wire is silent: connections stay open and nothing passes, as with a cable pulled out.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

type Cuts = BTreeSet<(u64, u64)>;

/// The address that node `node` connects from, by which the proxies know it.
pub fn address_of(node: u64) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 7, node as u8))
}

fn node_at(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => v4.octets()[3].into(),
        IpAddr::V6(_) => 0,
    }
}

/// All wires of one cluster.
#[derive(Clone)]
pub struct Wires {
    cuts: Arc<watch::Sender<Cuts>>,
}

impl Wires {
    pub fn new() -> Wires {
        Wires { cuts: Arc::new(watch::Sender::new(Cuts::new())) }
    }

    /// Nothing gets from or to `node` any more.
    pub fn isolate(&self, node: u64, all: impl IntoIterator<Item = u64>) {
        self.cuts.send_modify(|cuts| {
            for other in all {
                cuts.extend([(node, other), (other, node)]);
            }
        });
    }

    /// Every wire works.
    pub fn heal(&self) {
        self.cuts.send_modify(BTreeSet::clear);
    }

    /// An address at which `node`, which listens on `to` sooner or later, can be reached.
    pub async fn before(&self, node: u64) -> (SocketAddr, watch::Sender<Option<SocketAddr>>) {
        let listener = TcpListener::bind((address_of(node), 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (to, target) = watch::channel(None::<SocketAddr>);
        let cuts = self.cuts.clone();
        tokio::spawn(async move {
            while let Ok((incoming, from)) = listener.accept().await {
                let (from, mut target, cuts) = (node_at(from.ip()), target.clone(), cuts.clone());
                tokio::spawn(async move {
                    let there = target.wait_for(Option::is_some).await.ok().and_then(|to| *to);
                    let Some(there) = there else { return };
                    let Ok(outgoing) = TcpStream::connect(there).await else { return };
                    for stream in [&incoming, &outgoing] {
                        stream.set_nodelay(true).expect("can be set");
                    }
                    let ((a, b), (c, d)) = (incoming.into_split(), outgoing.into_split());
                    // Whichever end closes, closes both.
                    tokio::select! {
                        () = pass(a, d, (from, node), cuts.subscribe()) => {}
                        () = pass(c, b, (node, from), cuts.subscribe()) => {}
                    }
                });
            }
        });
        (address, to)
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    wire: (u64, u64),
    mut cuts: watch::Receiver<Cuts>,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read) = from.read(&mut bytes).await {
        if read == 0
            || cuts.wait_for(|cuts| !cuts.contains(&wire)).await.is_err()
            || to.write_all(&bytes[..read]).await.is_err()
        {
            return;
        }
    }
}
