//! A node as one value: the replicated store, the actors, and the HTTP front end, started in this
//! order and stopped in the other.
//!
//! The only place that knows all of them. Must not know the command line.

pub mod backup;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use authrai_cluster::{
    Fatal, Node, PeerConfig, Seed,
    lease::{BadParams, DRIFT_DEFAULT_PPM, Params},
};
use axum::Router;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    actors::{KeyStore, KeyStoreError, Settings, Supervisor},
    api,
    audit::AuditLog,
    config::{Config, Lease, OfferedPlan, OfferedPlans, Peers},
    dns::Resolver,
    domain::{Plan, PlanLimits},
    handover::{self, Handover, HandoverError},
    limits,
    machine::AuthMachine,
    secrets::{KeyFile, KeyFileError},
    verify::Views,
    webhooks::{Deliverer, Guard},
};

/// Where in the data directory private signing keys are kept.
const SIGNING_KEYS: &str = "signing-keys";

/// What may become of an empty data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Founding {
    /// A new cluster; the key file is made too if it is missing.
    Allowed,
    /// Nothing: it is an error.
    Refused,
    /// A new node of the cluster that these are members of.
    Joining(Vec<Seed>),
}

/// Why a node does not start. Each says what happened, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The API's or the metrics' address cannot be had.
    #[error("cannot listen on {address} (set by {key}): {source}{}", listen_advice(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The configuration key that says so.
        key: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The data directory cannot be made.
    #[error("cannot create the data directory {}: {source}. Check its parent's owner and permissions, or choose another with data_dir", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is needed to speak to the other nodes is not configured whole.
    #[error(
        "peers.listen is set, but {missing} is not: the other nodes are spoken to over mutual TLS. `authrai cluster certs` makes the files to try it out"
    )]
    Peers {
        /// The configuration key.
        missing: &'static str,
    },
    /// The leases' length and renewal do not fit.
    #[error(transparent)]
    Lease(#[from] BadParams),
    /// The store says no.
    #[error(transparent)]
    Store(#[from] authrai_cluster::StartError),
    /// The key file was not handed over.
    #[error(transparent)]
    Handover(#[from] HandoverError),
    /// The key file says no.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The signing keys cannot be used.
    #[error(transparent)]
    KeyStore(#[from] KeyStoreError),
    /// Nothing can be set up that posts to webhooks.
    #[error("the client that posts to webhooks cannot be set up: {0}")]
    Deliverer(#[from] reqwest::Error),
    /// The actors do not start.
    #[error("the node's actors do not start: {0}")]
    Actors(String),
}

fn listen_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            ". Another process has this port: stop it, or choose another address"
        }
        io::ErrorKind::PermissionDenied => {
            ". Ports below 1024 need privileges: choose a higher one"
        }
        io::ErrorKind::AddrNotAvailable => ". No interface of this machine has this address",
        _ => "",
    }
}

/// A running node.
pub struct Server {
    app: api::App,
    node: Node<AuthMachine>,
    supervisor: Supervisor,
    address: SocketAddr,
    listeners: Vec<(TcpListener, Router)>,
    fronts: Vec<Front>,
    stopping: CancellationToken,
    grace: Duration,
}

struct Front {
    handle: axum_server::Handle<SocketAddr>,
    serving: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Opens the store and starts the actors. The addresses are taken, but nothing is answered
    /// before [`Server::serve`].
    ///
    /// # Errors
    ///
    /// As [`StartError`] says; nothing is left running.
    pub async fn start(config: &Config, founding: Founding) -> Result<Self, StartError> {
        let listener = listen(config.listen, "listen")?;
        let address = listener.local_addr().unwrap_or(config.listen);
        // A node that joins is given the key file with its vote, unless it has it already.
        let without_vote = !config.peers.voter;
        let joins = matches!(founding, Founding::Joining(_));
        let path = &config.secrets.key_file;
        let key_file = if path.exists() || !(joins || without_vote) {
            Some(open_key_file(config, &founding)?)
        } else {
            // Without a vote a node seals nothing, and opens nothing.
            without_vote.then(KeyFile::unkept)
        };
        let views = Views::default();
        let node = open_store(config, &views, founding).await?;
        let key_file = match key_file {
            Some(key_file) => Arc::new(key_file),
            None => match handover::fetch(&node.handle(), config.node_id, path).await {
                Ok(key_file) => Arc::new(key_file),
                Err(error) => {
                    // Why it has no key file is what counts.
                    let _ = node.shutdown().await;
                    return Err(error.into());
                }
            },
        };
        let signing_keys = config.data_dir.join(SIGNING_KEYS);
        let key_store = KeyStore::open(signing_keys, config.node_id, Arc::clone(&key_file))?;
        key_store.check()?;
        install_crypto_provider();
        let deliverer = Deliverer::new(Guard::of_system(config.webhooks.allow_private))?;
        let audit = AuditLog::new(Arc::new(node.handle().journal()));
        let issuer: Arc<str> = config.tokens.issuer.as_str().into();
        let supervisor = Supervisor::start(Settings {
            node: config.node_id,
            voter: config.peers.voter,
            handle: node.handle(),
            views: views.clone(),
            key_store,
            issuer: Arc::clone(&issuer),
            rotate_keys_every: Duration::from_secs(config.tokens.key_rotation_hours * 3600),
            audit: audit.clone(),
            key_file: Arc::clone(&key_file),
            deliverer,
            retry_schedule: config.webhooks.retry_schedule.steps_s().into(),
            resolver: Resolver::new(
                config.dns.servers.0.clone(),
                Duration::from_millis(config.dns.timeout_ms),
            ),
            recheck_domains_every: Duration::from_secs(config.dns.recheck_interval_s),
            plans: plans(&config.plans.offered),
            operator_plans: operator_plans(&config.plans.offered),
        })
        .await
        .map_err(|error| StartError::Actors(error.to_string()))?;
        let stopping = CancellationToken::new();
        let app = api::App {
            handle: node.handle(),
            voter: config.peers.voter,
            views,
            proposals: supervisor.proposals.clone(),
            agents: supervisor.agents.clone(),
            policies: supervisor.policies.clone(),
            keys: supervisor.keys.clone(),
            key_use: supervisor.key_use.clone(),
            audit,
            webhooks: supervisor.webhooks.clone(),
            domains: supervisor.domains.clone(),
            issuer,
            rounds: Arc::new(api::ReadRounds::default()),
            relaying: api::Relaying::default(),
            stopping: stopping.clone(),
            key_rates: Arc::new(api::KeyRates::default()),
            address_rates: api::AddressRates::new(config.rate_limits.verify_per_address)
                .map(Arc::new),
            backups: Arc::new(tokio::sync::Semaphore::new(limits::BACKUPS_MAX)),
            default_plan: config.plans.default.as_str().into(),
        };
        let mut server = Self {
            app,
            node,
            supervisor,
            address,
            listeners: Vec::new(),
            fronts: Vec::new(),
            stopping,
            grace: Duration::from_secs(config.server.shutdown_grace_s),
        };
        server.route(config, listener, key_file)?;
        Ok(server)
    }

    /// The API, and `/metrics` on the same address or on its own.
    fn route(
        &mut self,
        config: &Config,
        listener: TcpListener,
        key_file: Arc<KeyFile>,
    ) -> Result<(), StartError> {
        let api = api::router(self.app.clone());
        if self.app.voter {
            let handle = self.app.handle.clone();
            let is_voter = Box::new(move |node| handle.is_voter(node));
            let requests = api::Relayed::new(api.clone(), self.stopping.clone());
            self.app.handle.answer_with(Arc::new(Handover { requests, key_file, is_voter }));
        }
        let metrics = || api::metrics_router(self.app.handle.clone());
        match config.metrics.listen {
            Some(address) if address == config.listen => {
                self.listeners.push((listener, api.merge(metrics())));
            }
            Some(address) => {
                self.listeners.push((listener, api));
                let own = listen(address, "metrics.listen")?;
                self.listeners.push((own, metrics()));
            }
            None => self.listeners.push((listener, api)),
        }
        Ok(())
    }

    /// Answers requests from now on.
    pub fn serve(&mut self) {
        for (listener, router) in self.listeners.drain(..) {
            self.fronts.push(Front::start(listener, router));
        }
    }

    /// The address of the API, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the API works with; setting up uses it too.
    pub fn app(&self) -> &api::App {
        &self.app
    }

    /// The actors.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Resolves when the node cannot go on.
    pub async fn fatal(&self) -> Fatal {
        self.node.fatal().await
    }

    /// Takes no more requests, lets those in flight finish within the grace, and closes the store.
    ///
    /// # Errors
    ///
    /// If the store cannot be closed in order.
    pub async fn stop(self) -> Result<(), Fatal> {
        info!("stopping: requests in flight are finished first");
        self.stopping.cancel();
        for front in &self.fronts {
            front.handle.graceful_shutdown(Some(self.grace));
        }
        for front in self.fronts {
            match front.serving.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "a listener ended badly"),
                Err(error) => warn!(%error, "a listener ended badly"),
            }
        }
        self.supervisor.stop().await;
        drop(self.app);
        self.node.shutdown().await
    }
}

impl Front {
    fn start(listener: TcpListener, router: Router) -> Self {
        let handle = axum_server::Handle::new();
        let watched = handle.clone();
        let serving = tokio::spawn(async move {
            let mut server = axum_server::from_tcp(listener)?.handle(watched);
            server
                .http_builder()
                .http1()
                .timer(hyper_util::rt::TokioTimer::new())
                .header_read_timeout(Duration::from_secs(limits::HEADER_READ_TIMEOUT_S));
            server.serve(router.into_make_service_with_connect_info::<SocketAddr>()).await
        });
        Self { handle, serving }
    }
}

/// Chooses the TLS implementation of this process; harmless when it is chosen already.
pub fn install_crypto_provider() {
    // Fails only if another call was first, with the same provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The configured plans; the later, the higher.
pub fn plans(offered: &OfferedPlans) -> Vec<Plan> {
    let plan = |(rank, plan): (usize, &OfferedPlan)| Plan {
        name: plan.name.clone(),
        price: plan.price.clone(),
        rank: u16::try_from(rank).unwrap_or(u16::MAX),
        limits: PlanLimits {
            agents: plan.agents,
            tokens_per_month: plan.tokens_per_month,
            webhooks: plan.webhooks,
            requests_per_second: plan.requests_per_second,
        },
        is_offered: true,
    };
    offered.iter().enumerate().map(plan).collect()
}

/// The configured plans that only an operator gives an organisation.
pub fn operator_plans(offered: &OfferedPlans) -> Vec<String> {
    let operators = offered.iter().filter(|plan| !plan.self_service);
    operators.map(|plan| plan.name.clone()).collect()
}

fn listen(address: SocketAddr, key: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|source| StartError::Listen { address, key, source })
}

fn open_key_file(config: &Config, founding: &Founding) -> Result<KeyFile, StartError> {
    let path = &config.secrets.key_file;
    // Where signing keys are sealed already, a new key file would only open none of them.
    let fresh = !config.data_dir.join(SIGNING_KEYS).exists();
    if *founding == Founding::Allowed && fresh && !path.exists() {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|source| StartError::DataDir { path: folder.to_owned(), source })?;
        }
        return Ok(KeyFile::create(path)?);
    }
    Ok(KeyFile::load(path)?)
}

async fn open_store(
    config: &Config,
    views: &Views,
    founding: Founding,
) -> Result<Node<AuthMachine>, StartError> {
    let storage = storage(config)?;
    let machine = AuthMachine::new(views.clone());
    Ok(match founding {
        Founding::Allowed => Box::pin(Node::start(storage, machine, true)).await?,
        Founding::Refused => Box::pin(Node::start(storage, machine, false)).await?,
        Founding::Joining(seeds) => Box::pin(Node::join(storage, machine, seeds)).await?,
    })
}

/// Where the node lives and how it behaves, as the cluster crate wants to know it.
fn storage(config: &Config) -> Result<authrai_cluster::Config, StartError> {
    let mut storage = authrai_cluster::Config::new(config.data_dir.clone());
    storage.node_id = config.node_id;
    storage.snapshot_every_entries = config.storage.snapshot_every_entries;
    storage.cache_bytes = config.storage.cache_mib * 1024 * 1024;
    storage.peers = peers(&config.peers)?;
    storage.voter = config.peers.voter;
    storage.lease = lease(&config.lease)?;
    Ok(storage)
}

/// How the node speaks to the others, if it does.
fn peers(peers: &Peers) -> Result<Option<PeerConfig>, StartError> {
    let Some(listen) = peers.listen else { return Ok(None) };
    let file = |path: &Option<PathBuf>, missing| path.clone().ok_or(StartError::Peers { missing });
    Ok(Some(PeerConfig {
        listen,
        advertise: peers.advertise.clone().unwrap_or_default(),
        connect_from: peers.connect_from,
        ca: file(&peers.ca_file, "peers.ca_file")?,
        certificate: file(&peers.certificate_file, "peers.certificate_file")?,
        key: file(&peers.key_file, "peers.key_file")?,
    }))
}

fn lease(lease: &Lease) -> Result<Params, BadParams> {
    Params::new(lease.length_ms * 1_000_000, lease.renew_ms * 1_000_000, DRIFT_DEFAULT_PPM)
}
