//! Attacks with stolen certificates on a real node: what each would gain if it were heard.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::{ChangeMembers, EntryPayload};

use super::PeerConfig;
use super::link::{CallError, Lane, Links, Target, Way};
use super::tls::Credentials;
use super::wire::{Message, Rpc};
use super::wire_raft::{Append, AskVote};
use crate::certs::Ca;
use crate::config::Config;
use crate::handle::Handle;
use crate::machine::Machine;
use crate::node::Node;
use crate::status::Role;
use crate::store::identity::ClusterId;
use crate::toy::{Counter, add};
use crate::types::{Command, Entry, LogId, Member, Proposed, Vote};

const CLUSTER: ClusterId = [0xc1; 16];
const DEADLINE: Duration = Duration::from_secs(30);

struct Victim {
    dir: tempfile::TempDir,
    ca: Ca,
    node: Node<Counter>,
}

fn peers(ca: &Ca, dir: &Path, node: u64) -> PeerConfig {
    let files = ca.issue(dir, &CLUSTER, node);
    PeerConfig {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        advertise: String::new(),
        connect_from: None,
        ca: ca.path.clone(),
        certificate: files.certificate,
        key: files.key,
    }
}

fn incarnation(node: u64) -> u64 {
    node * 11
}

impl Victim {
    /// Node 1, which leads a cluster of itself.
    async fn start() -> Victim {
        let dir = tempfile::tempdir().expect("a directory");
        let ca = Ca::new(dir.path(), "ca");
        let peers = Some(peers(&ca, dir.path(), 1));
        let config = Config { peers, ..Config::new(dir.path().join("data")) };
        let node = Node::start(config, Counter::default(), true).await.expect("founds");
        let ready = tokio::time::timeout(DEADLINE, node.handle().ready()).await;
        ready.expect("ready in time");
        Victim { dir, ca, node }
    }

    fn handle(&self) -> Handle<Counter> {
        self.node.handle()
    }

    fn target(&self) -> Target {
        let address = self.node.peer_address().expect("it listens").to_string();
        let incarnation = Some(self.handle().core().identity.incarnation);
        Target { node: 1, address, incarnation }
    }

    fn credentials(&self, node: u64) -> Credentials {
        let config = peers(&self.ca, self.dir.path(), node);
        Credentials::of_node(&config, node).expect("they fit")
    }

    async fn send(&self, node: u64, rpc: Rpc, message: &impl Message) -> Result<Bytes, CallError> {
        let links = Links::new(Way::Tls(self.credentials(node)), incarnation(node));
        let message = message.to_wire().expect("encodes");
        links.call(&self.target(), Lane::Calls, rpc, message, DEADLINE).await
    }

    async fn learner(&self, node: u64, address: String) {
        let nodes = BTreeMap::from([(node, Member { address, incarnation: incarnation(node) })]);
        let handle = self.handle();
        let raft = &handle.core().raft;
        raft.change_membership(ChangeMembers::AddNodes(nodes), true).await.expect("commits");
    }

    fn term(&self) -> u64 {
        self.handle().status().term
    }

    /// It leads in the term of before, takes writes, and holds nothing of the attacker's.
    async fn is_unharmed(&self, term: u64) {
        assert_eq!((self.handle().status().role, self.term()), (Role::Leader, term));
        let before = self.handle().journal().head(b"\x01");
        self.handle().propose(add(1, before + 1), DEADLINE).await.expect("commits");
        assert_eq!(self.handle().journal().head(b"\x01"), before + 1);
    }
}

/// A message of a leader that nobody elected, with an entry of its own.
fn forged(victim: &Victim, node: u64, term: u64) -> Append {
    let handle = victim.handle();
    let last = handle.core().raft.metrics().borrow_watched().last_applied;
    let index = last.map_or(0, |id| id.index()) + 1;
    let vote = Vote::new_committed(term, node);
    let log_id = LogId::new(*vote.leader_id(), index);
    let bytes = Arc::from(Counter::encode_command(&add(1, 999)));
    let command = Command { at_ms: 1, everywhere: false, bytes };
    let payload = EntryPayload::Normal(Proposed::Command(command));
    let entries = vec![Entry { log_id, payload }];
    Append { vote, prev_log_id: last, entries, leader_commit: Some(log_id) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_leader_without_a_vote_writes_nothing() {
    let victim = Victim::start().await;
    victim.learner(3, "127.0.0.1:1".into()).await;
    let term = victim.term();
    // A learner, and a node that never joined.
    for node in [3, 9] {
        let append = forged(&victim, node, term + 1);
        let heard = victim.send(node, Rpc::Append, &append).await;
        assert!(heard.is_err(), "node {node}: {heard:?}");
        victim.is_unharmed(term).await;
    }
    victim.node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_term_is_taken_from_nobody() {
    let victim = Victim::start().await;
    let term = victim.term();
    let ask = |node| AskVote {
        vote: Vote::new(u64::MAX, node),
        last_log_id: Some(LogId::new(*Vote::new(u64::MAX, node).leader_id(), u64::MAX)),
        leadership_transfer: true,
    };
    for rpc in [Rpc::Vote, Rpc::PreVote] {
        assert!(victim.send(9, rpc, &ask(9)).await.is_err(), "{rpc:?} of one that never joined");
    }
    victim.is_unharmed(term).await;
    // Not of a voter either: node 2, whose promotion is under way.
    victim.learner(2, "127.0.0.1:1".into()).await;
    let (handle, ids) = (victim.handle(), BTreeSet::from([2]));
    let promoting = tokio::spawn(async move {
        handle.core().raft.change_membership(ChangeMembers::AddVoterIds(ids), true).await
    });
    let end = Instant::now() + DEADLINE;
    while !victim.handle().core().electorate.has_vote(2) {
        assert!(Instant::now() < end, "the change begins in time");
        tokio::task::yield_now().await;
    }
    let heard = victim.send(2, Rpc::Vote, &AskVote { vote: Vote::new(0, 2), ..ask(2) }).await;
    assert!(heard.is_err(), "an entry of a later term than the candidate's: {heard:?}");
    let old = AskVote { vote: Vote::new(0, 2), last_log_id: None, leadership_transfer: false };
    assert!(victim.send(2, Rpc::Vote, &old).await.is_ok(), "a voter is answered");
    for rpc in [Rpc::Vote, Rpc::PreVote] {
        assert!(victim.send(2, rpc, &ask(2)).await.is_err(), "{rpc:?} of a voter");
    }
    assert!(victim.send(2, Rpc::Append, &forged(&victim, 2, u64::MAX)).await.is_err());
    assert_eq!((victim.handle().status().role, victim.term()), (Role::Leader, term));
    promoting.abort();
    victim.node.shutdown().await.expect("stops");
}
