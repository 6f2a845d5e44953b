//! Which directories a node starts on, and how it refuses the others.

mod support;
mod toy;

use authrai_cluster::{Config, Node, StartError, What};
use support::{propose, start, try_start};
use toy::Counter;

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_founded_only_when_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config::new(dir.path().join("new"));
    let got = Node::start(config.clone(), Counter::default(), false).await.map(|_| ());
    assert_eq!(got, Err(StartError::NotInitialised { dir: config.data_dir.clone() }));
    assert!(!config.data_dir.exists());
    try_start(config.clone(), 0).await.expect("starts").shutdown().await.expect("stops");
    let node = Node::start(config, Counter::default(), false).await.expect("starts");
    node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_or_of_another_node_or_cluster_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config::new(dir.path());
    let node = start(dir.path()).await;
    let cluster = node.handle().status().cluster_id;
    let got = try_start(config.clone(), 0).await.map(|_| ());
    assert_eq!(got, Err(StartError::Locked { dir: dir.path().into() }));
    node.shutdown().await.expect("stops");

    let got = try_start(Config { node_id: 2, ..config.clone() }, 0).await.map(|_| ());
    assert!(
        matches!(got, Err(StartError::ForeignNode { stored: 1, configured: 2, .. })),
        "{got:?}"
    );
    let other = Config { cluster_id: Some([7; 16]), ..config.clone() };
    let got = try_start(other, 0).await.map(|_| ());
    assert!(matches!(got, Err(StartError::ForeignCluster { .. })), "{got:?}");
    let same = Config { cluster_id: Some(cluster), ..config };
    try_start(same, 0).await.expect("starts").shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_or_snapshot_from_elsewhere_is_refused() {
    let (here, there) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    for dir in [&here, &there] {
        let node = start(dir.path()).await;
        propose(&node.handle(), 1, 1).await;
        node.handle().snapshot_now().await.expect("a snapshot");
        node.shutdown().await.expect("stops");
    }
    for part in ["snapshots", "store"] {
        let aside = here.path().join("aside");
        std::fs::rename(here.path().join(part), &aside).expect("moves");
        std::fs::rename(there.path().join(part), here.path().join(part)).expect("moves");
        let got = try_start(Config::new(here.path()), 0).await.map(|_| ());
        let Err(StartError::ForeignCluster { path, .. }) = got else { panic!("{part}: {got:?}") };
        assert!(path.starts_with(here.path().join(part)), "{part}: {path:?}");
        std::fs::rename(here.path().join(part), there.path().join(part)).expect("moves");
        std::fs::rename(&aside, here.path().join(part)).expect("moves");
    }
    std::fs::remove_dir_all(here.path().join("store")).expect("removes");
    let got = try_start(Config::new(here.path()), 0).await.map(|_| ());
    assert!(matches!(got, Err(StartError::Damaged { what: What::Store, .. })), "{got:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, b"").expect("writes");
    let got = try_start(Config::new(file.join("data")), 0).await.map(|_| ());
    assert!(matches!(got, Err(StartError::Unwritable { .. })), "{got:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founding_that_was_cut_short_is_taken_up_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path()).await;
    let cluster = node.handle().status().cluster_id;
    node.shutdown().await.expect("stops");
    std::fs::remove_file(dir.path().join("identity")).expect("removes");
    let config = Config::new(dir.path());
    let got = Node::start(config, Counter::default(), false).await.map(|_| ());
    assert_eq!(got, Err(StartError::NotInitialised { dir: dir.path().into() }));
    let node = start(dir.path()).await;
    assert_eq!(node.handle().status().cluster_id, cluster);
    node.shutdown().await.expect("stops");
}
