//! The end of a run: what every node says of everything that was made, and what the audit chains
//! say. Must not know what is right.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufReader, Write},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    cluster::{Cluster, RECOVERY_MAX},
    history::{Event, Said, Shown},
    load::World,
};

const BATCH: usize = 100;
/// How long audit heads may take to agree.
const AGREE_MAX: Duration = Duration::from_secs(30);

/// Asks every node about everything.
pub async fn take(cluster: &Cluster) -> io::Result<()> {
    let (world, nodes) = (&cluster.world, cluster.ids());
    let at = world.recorder().now();
    world.recorder().record(Event::Final { at, nodes: nodes.clone() });
    for node in &nodes {
        credentials(world, *node).await;
        agents(world, *node).await;
    }
    let api = world.api();
    for (chain, key) in [("live", &api.api_key), ("system", &api.operator_key)] {
        heads(world, &nodes, chain, key).await;
        let export = cluster.site.folder.join(format!("audit-{chain}.json"));
        download(world, nodes[0], key, &export).await?;
        judge(cluster, chain, &export)?;
    }
    Ok(())
}

async fn credentials(world: &World, node: u64) {
    let (tokens, keys) = {
        let pool = world.pool();
        let tokens: Vec<(u32, Arc<str>)> =
            pool.tokens.iter().map(|token| (token.number, token.text.clone())).collect();
        (tokens, pool.keys.clone())
    };
    for batch in tokens.chunks(BATCH) {
        until(async || world.ask(node, batch).await.iter().copied().all(answered)).await;
    }
    for key in keys {
        until(async || answered(world.ask_key(node, key.number, &key.text).await)).await;
    }
}

const fn answered(said: Said) -> bool {
    !matches!(said, Said::Refused | Said::Nothing)
}

async fn agents(world: &World, node: u64) {
    let agents = world.pool().agents.clone();
    let address = world.network().api(node);
    for (number, id) in (0..).zip(agents) {
        let mut shown: Option<Shown> = None;
        until(async || {
            shown = world.api().shown(address, &id).await;
            shown.is_some()
        })
        .await;
        if let Some(shown) = shown {
            world.recorder().record(Event::AgentSeen { node, agent: number, shown });
        }
    }
}

/// Tries again until it is done or much too late, which the checker will notice.
async fn until(mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + RECOVERY_MAX;
    while !done().await && Instant::now() < deadline {
        sleep(Duration::from_millis(50)).await;
    }
}

/// What each node says of a chain. A node may still be applying the last entries: they are given
/// time to agree.
async fn heads(world: &World, nodes: &[u64], chain: &str, key: &str) {
    let deadline = Instant::now() + AGREE_MAX;
    loop {
        let mut heads = Vec::new();
        for node in nodes {
            heads.extend(head(world, *node, chain, key).await);
        }
        let same = heads.windows(2).all(|pair| pair[0].1 == pair[1].1);
        if (same && heads.len() == nodes.len()) || Instant::now() > deadline {
            return heads.into_iter().for_each(|(event, _)| world.recorder().record(event));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn head(world: &World, node: u64, chain: &str, key: &str) -> Option<(Event, String)> {
    let address: SocketAddr = world.network().api(node);
    let (_, body) = world.api().read(key, address, "/v1/audit/verify").await?;
    let head = body["head_hash"].as_str()?.to_owned();
    let (ok, length) = (body["ok"] == true, body["length"].as_u64()?);
    let event = Event::Chain { node, chain: chain.into(), ok, length, head: head.clone() };
    Some((event, head))
}

async fn download(world: &World, node: u64, key: &str, to: &PathBuf) -> io::Result<()> {
    let path = "/v1/audit/export?format=json";
    let address = world.network().api(node);
    let mut answer = world.api().stream(key, address, path).await.map_err(io::Error::other)?;
    let mut file = File::create(to)?;
    while let Some(piece) = answer.chunk().await.map_err(io::Error::other)? {
        file.write_all(&piece)?;
    }
    Ok(())
}

/// An exported event, as far as it matters here.
#[derive(Deserialize)]
struct Exported {
    event: String,
    token_id: Option<String>,
    agent_id: Option<String>,
    #[serde(default, rename = "data")]
    _data: IgnoredAny,
}

/// Whether the export verifies, and which acknowledged writes it lacks.
fn judge(cluster: &Cluster, chain: &str, export: &PathBuf) -> io::Result<()> {
    let verified = cluster.site.run(&["audit".into(), "verify".into(), export.into()]);
    let mut missing = Vec::new();
    if chain == "live" {
        let exported: Vec<Exported> = serde_json::from_reader(BufReader::new(File::open(export)?))
            .map_err(io::Error::other)?;
        let of = |event: &str, id: fn(&Exported) -> Option<&String>| -> HashSet<&str> {
            let such = exported.iter().filter(|one| one.event == event);
            such.filter_map(id).map(String::as_str).collect()
        };
        let issued = of("token.issued", |one| one.token_id.as_ref());
        let revoked = of("token.revoked", |one| one.token_id.as_ref());
        let created = of("agent.created", |one| one.agent_id.as_ref());
        let pool = cluster.world.pool();
        let lacks = |ids: &mut dyn Iterator<Item = &String>, set: &HashSet<&str>, what: &str| {
            ids.filter(|id| !set.contains(id.as_str()))
                .map(|id| format!("{what} {id}"))
                .collect::<Vec<_>>()
        };
        missing.extend(lacks(&mut pool.tokens.iter().map(|token| &token.id), &issued, "issue"));
        missing.extend(lacks(&mut pool.revoked.iter(), &revoked, "revoke"));
        missing.extend(lacks(&mut pool.agents.iter(), &created, "agent"));
    }
    if let Err(error) = &verified {
        eprintln!("{error}");
    }
    let accepted = verified.is_ok();
    cluster.world.recorder().record(Event::Export { chain: chain.into(), accepted, missing });
    Ok(())
}

/// What a node says of itself, for people.
pub async fn describe(world: &World, node: u64) -> Value {
    let api = world.api();
    let answer = api.read(&api.operator_key, world.network().api(node), "/v1/cluster").await;
    answer.map_or(Value::Null, |(_, body)| body)
}
