//! Every kind of request from a node of every standing, over real TLS.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full};

use super::*;
use crate::certs::Ca;
use crate::peer::PeerConfig;
use crate::peer::link::{Lane, Links, Target, Way};
use crate::peer::wire::Message;
use crate::roster::Known;
use crate::store::identity::ClusterId;
use crate::types::{LogId, Member, Membership, SnapshotMeta, StoredMembership, Vote};

const CLUSTER: ClusterId = [0xc1; 16];
const OWN: Incarnation = 100;

/// Tells whoever is let through as whom.
struct Says;

impl Service for Says {
    async fn answer(&self, from: Asker, _: Rpc, _: Bytes) -> Result<Vec<u8>, Nothing> {
        Ok(format!("{:?}", from.standing).into_bytes())
    }

    async fn snapshot(&self, from: Asker, _: SnapshotHead, _: File) -> Result<Vec<u8>, Nothing> {
        Ok(format!("{:?}", from.standing).into_bytes())
    }
}

/// Node 1 is the server; 2 votes; 3 gets its vote by a change that is not applied; 4 learns; 5 was
/// removed; 6 is unknown, and 7 too, but it was named as the leader.
fn node_of(standing: Standing) -> u64 {
    match standing {
        Standing::Voter => 2,
        Standing::Changing => 3,
        Standing::Learner => 4,
        Standing::Removed => 5,
        Standing::Stranger => 6,
        Standing::Named => 7,
    }
}

fn membership(voters: &[&[u64]]) -> StoredMembership {
    let voters = voters.iter().map(|ids| ids.iter().copied().collect()).collect();
    let member = |id| Member { address: "a".into(), incarnation: incarnation(id) };
    let nodes = (1..=4).map(|id| (id, member(id))).collect::<BTreeMap<_, _>>();
    StoredMembership::new(None, Membership::new(voters, nodes).expect("valid"))
}

fn incarnation(node: u64) -> Incarnation {
    if node == 1 { OWN } else { node * 10 }
}

fn credentials(ca: &Ca, dir: &Path, node: u64) -> Credentials {
    let files = ca.issue(dir, &CLUSTER, node);
    let config = PeerConfig {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        advertise: String::new(),
        connect_from: None,
        ca: ca.path.clone(),
        certificate: files.certificate,
        key: files.key,
    };
    Credentials::of_node(&config, node).expect("they fit")
}

async fn served(ca: &Ca, dir: &Path) -> (SocketAddr, watch::Sender<bool>) {
    let roster = Arc::new(Roster::new(1));
    roster.restored(Known {
        membership: membership(&[&[1, 2]]),
        removed: BTreeSet::from([5]),
        ..Known::default()
    });
    roster.name(7);
    let electorate = Arc::new(Electorate::new(roster.clone()));
    let newest = Arc::new(membership(&[&[1, 2], &[1, 2, 3]]));
    electorate.watch(move || [newest.clone(), Arc::new(membership(&[&[1, 2]]))]);
    let (stop, stopping) = watch::channel(false);
    let incoming = dir.join("incoming");
    let server = Server { own: OWN, roster, electorate, service: Says, incoming, stopping };
    let listening = listen((Ipv4Addr::LOCALHOST, 0).into()).await.expect("a free port");
    let address = listening.address;
    serve(listening, credentials(ca, dir, 1), server);
    (address, stop)
}

/// The head of an empty snapshot that `node` sends.
fn snapshot_of(node: u64) -> Vec<u8> {
    let meta = SnapshotMeta { last_log_id: None::<LogId>, last_membership: membership(&[&[1]]) };
    let head = SnapshotHead { vote: Vote::new_committed(1, node), meta };
    let head = head.to_wire().expect("encodes");
    [(head.len() as u32).to_le_bytes().as_slice(), &head].concat()
}

async fn answered(links: &Links, target: &Target, node: u64, rpc: Rpc) -> Option<Bytes> {
    let body = if rpc == Rpc::Snapshot { snapshot_of(node) } else { b"anything".to_vec() };
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
    let deadline = Duration::from_secs(20);
    links.call_streaming(target, Lane::Calls, rpc, body, deadline).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_answered_for_exactly_the_standings_of_the_table() {
    let dir = tempfile::tempdir().expect("a directory");
    let ca = Ca::new(dir.path(), "ca");
    let (address, stop) = served(&ca, dir.path()).await;
    let target = |to| Target { node: 1, address: address.to_string(), incarnation: to };
    for standing in Standing::ALL {
        let node = node_of(standing);
        let way = || Way::Tls(credentials(&ca, dir.path(), node));
        let links = Links::new(way(), incarnation(node));
        let wiped = Links::new(way(), incarnation(node) + 1);
        for rpc in Rpc::ALL {
            let heard = answered(&links, &target(Some(OWN)), node, rpc).await;
            let expected = may(standing, rpc).then(|| format!("{standing:?}"));
            assert_eq!(
                heard.as_deref(),
                expected.as_deref().map(str::as_bytes),
                "{standing:?} {rpc:?}"
            );
            // Meant for a directory that is gone.
            let heard = answered(&links, &target(Some(OWN + 1)), node, rpc).await;
            assert_eq!(heard, None, "{standing:?} {rpc:?} to another directory");
            // Only a node that joins may not know whom it asks.
            let heard = answered(&links, &target(None), node, rpc).await;
            assert_eq!(
                heard.is_some(),
                rpc == Rpc::Join && may(standing, rpc),
                "{standing:?} {rpc:?}"
            );
            // From a directory that is not the member's.
            if [Standing::Voter, Standing::Changing, Standing::Learner].contains(&standing) {
                let heard = answered(&wiped, &target(Some(OWN)), node, rpc).await;
                assert_eq!(
                    heard.is_some(),
                    may(Standing::Stranger, rpc),
                    "{standing:?} {rpc:?} wiped"
                );
            }
        }
    }
    stop.send_replace(true);
}

#[test]
fn consensus_is_for_nodes_that_may_vote_or_were_named() {
    for rpc in Rpc::ALL {
        let heard = Standing::ALL.into_iter().filter(|standing| may(*standing, rpc));
        let heard = heard.collect::<Vec<_>>();
        if is_consensus(rpc) {
            assert_eq!(heard, [Standing::Voter, Standing::Changing, Standing::Named], "{rpc:?}");
        }
        assert!(!heard.contains(&Standing::Removed), "{rpc:?}");
        assert_eq!(heard.contains(&Standing::Stranger), rpc == Rpc::Join, "{rpc:?}");
    }
}
