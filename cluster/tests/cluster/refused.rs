//! Peers that are not what they say get nothing.

use std::time::Duration;

use authrai_cluster::backup::{RestoreError, restore};
use authrai_cluster::{Config, Node, PeerConfig, Seed, StartError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::certs::{Ca, Files};
use crate::harness::{CLUSTER, Cluster, DEADLINE, propose};
use crate::toy::Counter;
use crate::wires::address_of;

/// A start that tries to join with `files`, judged by `ca`.
async fn join_with(cluster: &Cluster, ca: &Ca, files: Files) -> Result<(), StartError> {
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config {
        node_id: 7,
        peers: Some(PeerConfig {
            listen: (address_of(7), 0).into(),
            advertise: String::new(),
            connect_from: Some(address_of(7)),
            ca: ca.path.clone(),
            certificate: files.certificate,
            key: files.key,
        }),
        ..Config::new(dir.path())
    };
    let seed = Seed { node: 1, address: cluster.places[&1].address.to_string() };
    let joining = Node::join(config, Counter::default(), vec![seed]);
    match tokio::time::timeout(Duration::from_secs(2), joining).await {
        Ok(joined) => joined.map(|_| ()),
        Err(_) => Err(StartError::NotTakenIn { detail: "no word".into() }),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_cluster_another_ca_and_another_node_are_refused() {
    let mut cluster = Cluster::new();
    cluster.found(1).await;
    cluster.ready(1).await;
    let dir = cluster.dir.path().to_owned();
    let other_ca = Ca::new(&dir, "other");
    let others_dir = tempfile::tempdir().expect("a directory");
    // Another CA, then the right one but another cluster.
    let files = other_ca.issue(others_dir.path(), &CLUSTER, 7);
    assert!(join_with(&cluster, &other_ca, files).await.is_err(), "another CA");
    let files = other_ca.issue(others_dir.path(), &CLUSTER, 7);
    assert!(join_with(&cluster, &cluster.ca, files).await.is_err(), "signed by another CA");
    let files = cluster.ca.issue(&dir, &[9; 16], 7);
    assert!(join_with(&cluster, &cluster.ca, files).await.is_err(), "another cluster");
    // A certificate of another node does not even start.
    let files = cluster.ca.issue(&dir, &CLUSTER, 8);
    let got = join_with(&cluster, &cluster.ca, files).await;
    assert!(matches!(got, Err(StartError::Certificate { .. })), "{got:?}");
    // The right one is let in, which shows that the rest was not refused for another reason.
    let files = cluster.ca.issue(&dir, &CLUSTER, 7);
    assert_eq!(join_with(&cluster, &cluster.ca, files).await, Ok(()));
    propose(&cluster.handle(1), 1).await;
    assert_eq!(cluster.handle(1).members().await.len(), 2);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_shows_no_certificate_gets_no_answer() {
    let mut cluster = Cluster::new();
    cluster.found(1).await;
    let node = cluster.places[&1].node.as_ref().expect("it runs");
    let address = node.peer_address().expect("it listens");
    // Plain HTTP, HTTP/2 without TLS, and nothing at all.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice();
    for said in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), preface, b""] {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(said).await.expect("sends");
        let mut heard = Vec::new();
        let reading = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut heard)).await;
        // At most a TLS alert: no HTTP, no word.
        assert!(reading.is_ok(), "the connection is closed");
        assert!(heard.len() <= 7, "{:?}", String::from_utf8_lossy(&heard));
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_founds_no_cluster_under_the_certificates_of_the_one_that_it_is_of() {
    let mut cluster = Cluster::new();
    cluster.found(1).await;
    cluster.ready(1).await;
    let handle = cluster.places[&1].node.as_ref().expect("it runs").handle();
    let mut backup = handle.backup("test".into(), DEADLINE).await.expect("begins");
    let mut bytes = Vec::new();
    while let Some(piece) = backup.next().await {
        bytes.extend(piece.expect("it is not broken off"));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let try_as = |node_id, id| {
        let config = cluster.config(id, (address_of(id), 1).into());
        let config = Config { data_dir: dir.path().into(), node_id, ..config };
        let machine = Counter::default();
        restore(&config, machine, bytes.as_slice(), |_, _, _| Ok(crate::toy::add(0, 1)))
    };
    let came = try_as(1, 1);
    assert!(matches!(came, Err(RestoreError::SameCluster { .. })), "{came:?}");
    let came = try_as(1, 2);
    let certificate = matches!(came, Err(RestoreError::Start(StartError::Certificate { .. })));
    assert!(certificate, "another node's: {came:?}");
    // A certificate of another cluster is what it takes.
    let files = cluster.ca.issue(dir.path(), &[0xab; 16], 1);
    let mut config = cluster.config(1, (address_of(1), 1).into());
    config.data_dir = dir.path().join("data");
    let peers = config.peers.as_mut().expect("it has peers");
    (peers.certificate, peers.key) = (files.certificate, files.key);
    let machine = Counter::default();
    let restored = restore(&config, machine, bytes.as_slice(), |_, _, _| Ok(crate::toy::add(0, 1)));
    assert_eq!(restored.expect("restores").cluster, [0xab; 16]);
}
