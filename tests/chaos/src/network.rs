//! The links between nodes: TCP proxies on loopback that can cut, stall and delay each direction.
//!
//! A run has a /24 network of the loopback range to itself. Node N lives at its Nth address and
//! connects from there, so the one proxy in front of each node knows by the source address which
//! link a connection belongs to. What a cut holds back is delivered when it ends, late as from a
//! network that healed; no new bytes pass meanwhile, nor the end of a connection. Must not know
//! what the bytes mean.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as Claim},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::sleep,
};

const API_PORT: u16 = 8080;
const PEER_PORT: u16 = 7600;
const PROXY_PORT: u16 = 7700;
/// Networks tried before giving up.
const NETWORKS_MAX: usize = 64;
const CHUNK_BYTES: usize = 16 * 1024;

/// How one direction of a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Nothing passes.
    Cut,
    /// Everything takes this much longer.
    Slow(Duration),
    /// Out of a hundred pieces, so many are late as if sent again, and a few break the connection.
    Lossy(u8),
}

/// The network of one run.
#[derive(Clone)]
pub struct Network(Arc<Shared>);

struct Shared {
    prefix: [u8; 3],
    ways: Mutex<HashMap<(u64, u64), watch::Sender<Way>>>,
    /// Held as long as the network is this run's.
    _claim: Claim,
}

impl Network {
    /// Takes a network that no other run has.
    pub fn claim() -> io::Result<Self> {
        for _ in 0..NETWORKS_MAX {
            let prefix = [127, fastrand::u8(1..255), fastrand::u8(0..255)];
            let own = Ipv4Addr::new(prefix[0], prefix[1], prefix[2], 254);
            if let Ok(claim) = Claim::bind((own, PROXY_PORT)) {
                let ways = Mutex::default();
                return Ok(Self(Arc::new(Shared { prefix, ways, _claim: claim })));
            }
        }
        Err(io::Error::other("no free network in 127.0.0.0/8"))
    }

    /// Where a node lives and connects from.
    pub fn ip(&self, node: u64) -> IpAddr {
        let [a, b, c] = self.0.prefix;
        Ipv4Addr::new(a, b, c, u8::try_from(node).unwrap_or(u8::MAX)).into()
    }

    /// Where clients reach a node.
    pub fn api(&self, node: u64) -> SocketAddr {
        SocketAddr::new(self.ip(node), API_PORT)
    }

    /// Where a node listens for peers.
    pub fn peer(&self, node: u64) -> SocketAddr {
        SocketAddr::new(self.ip(node), PEER_PORT)
    }

    /// Where peers are told to reach it: its proxy.
    pub fn proxy(&self, node: u64) -> SocketAddr {
        SocketAddr::new(self.ip(node), PROXY_PORT)
    }

    /// Puts the proxy in front of `node`.
    pub async fn serve(&self, node: u64) -> io::Result<()> {
        let listener = TcpListener::bind(self.proxy(node)).await?;
        let network = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, source)) = listener.accept().await {
                let network = network.clone();
                tokio::spawn(async move { network.connect(stream, source.ip(), node).await });
            }
        });
        Ok(())
    }

    async fn connect(&self, from: TcpStream, source: IpAddr, node: u64) {
        let IpAddr::V4(source) = source else { return };
        let source = u64::from(source.octets()[3]);
        // Nobody there: the caller's connection ends with this one.
        let Ok(to) = TcpStream::connect(self.peer(node)).await else { return };
        if from.set_nodelay(true).is_err() || to.set_nodelay(true).is_err() {
            return;
        }
        let (from_read, from_write) = from.into_split();
        let (to_read, to_write) = to.into_split();
        let there = pump(from_read, to_write, self.watch(source, node));
        let back = pump(to_read, from_write, self.watch(node, source));
        // Once one direction is broken the connection is; an orderly end waits for the other.
        let _ = tokio::try_join!(there, back);
    }

    fn watch(&self, from: u64, to: u64) -> watch::Receiver<Way> {
        let mut ways = self.0.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.entry((from, to)).or_insert_with(|| watch::Sender::new(Way::Open)).subscribe()
    }

    /// Sets what passes from one node to another, on connections that either has made.
    pub fn set(&self, from: u64, to: u64, way: Way) {
        let mut ways = self.0.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.entry((from, to)).or_insert_with(|| watch::Sender::new(way)).send_replace(way);
    }

    /// Opens every link.
    pub fn heal(&self) {
        let ways = self.0.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.values().for_each(|way| {
            way.send_replace(Way::Open);
        });
    }
}

/// Carries bytes one way until the end or an error.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
) -> io::Result<()> {
    let mut bytes = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut bytes).await?;
        pass(&mut way).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&bytes[..read]).await?;
    }
}

/// Waits until what was read may go on.
async fn pass(way: &mut watch::Receiver<Way>) -> io::Result<()> {
    loop {
        let now = *way.borrow_and_update();
        match now {
            Way::Open => return Ok(()),
            Way::Slow(by) => {
                sleep(by).await;
                return Ok(());
            }
            Way::Lossy(percent) => {
                if fastrand::u8(0..100) < percent {
                    if fastrand::u8(0..20) == 0 {
                        return Err(io::ErrorKind::ConnectionReset.into());
                    }
                    sleep(Duration::from_millis(fastrand::u64(200..800))).await;
                }
                return Ok(());
            }
            Way::Cut => way.changed().await.map_err(io::Error::other)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    /// How long is waited for what must not come.
    const SILENCE: Duration = Duration::from_millis(200);

    /// A connection of node 1 to node 2, and its other end.
    async fn link(network: &Network) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(network.peer(2)).await.expect("free");
        network.serve(2).await.expect("free");
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind((network.ip(1), 0).into()).expect("free");
        let from = socket.connect(network.proxy(2)).await.expect("the proxy listens");
        let (to, _) = listener.accept().await.expect("it connects on");
        (from, to)
    }

    async fn arrives(from: &mut TcpStream, to: &mut TcpStream, within: Duration) -> bool {
        from.write_all(b"x").await.expect("sent");
        let mut byte = [0];
        let read = tokio::time::timeout(within, to.read_exact(&mut byte)).await;
        read.is_ok_and(|read| read.is_ok())
    }

    #[tokio::test]
    async fn a_cut_holds_one_direction_back_and_delivers_when_it_ends() {
        let network = Network::claim().expect("a network");
        let (mut one, mut two) = link(&network).await;
        assert!(arrives(&mut one, &mut two, PATIENCE).await);
        assert!(arrives(&mut two, &mut one, PATIENCE).await);
        network.set(1, 2, Way::Cut);
        assert!(!arrives(&mut one, &mut two, SILENCE).await, "cut");
        assert!(arrives(&mut two, &mut one, PATIENCE).await, "the other direction");
        network.heal();
        let mut late = [0];
        two.read_exact(&mut late).await.expect("what was held back");
        assert_eq!(&late, b"x");
        assert!(arrives(&mut one, &mut two, PATIENCE).await);
    }

    #[tokio::test]
    async fn a_slow_link_takes_as_long_as_it_says() {
        let network = Network::claim().expect("a network");
        let (mut one, mut two) = link(&network).await;
        network.set(1, 2, Way::Slow(SILENCE * 2));
        let start = std::time::Instant::now();
        assert!(arrives(&mut one, &mut two, PATIENCE).await);
        assert!(start.elapsed() >= SILENCE * 2);
    }
}
