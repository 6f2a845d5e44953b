//! Backups without a node: what is in one, and a new cluster that is founded from one.
//!
//! The cluster crate reads and seeds; here is what that means for this machine. Must not know the
//! command line.

use std::io::Read;

use authrai_cluster::{
    ClusterId,
    backup::{self, BackupError, Contents},
};

use super::{SIGNING_KEYS, StartError, storage};
use crate::{
    clock,
    config::Config,
    domain::{
        Action, Actor, BackupOrigin, Command, CreateOperatorKey, OperatorKeyId, Restore, State,
    },
    machine::AuthMachine,
    mint,
    secrets::{KeyFile, KeyKind, Secret},
    verify::Views,
    webhooks::SigningSecret,
};

/// What a backup holds.
#[derive(Debug)]
pub struct Inventory {
    /// Where and when it was made, and of how much.
    pub contents: Contents,
    /// Organisations.
    pub organizations: u64,
    /// API keys.
    pub api_keys: u64,
    /// Agents, revoked ones too.
    pub agents: u64,
    /// Live tokens.
    pub tokens: u64,
    /// Policies.
    pub policies: u64,
    /// Webhooks.
    pub webhooks: u64,
}

impl Inventory {
    fn of(contents: Contents, state: &State) -> Self {
        Self {
            contents,
            organizations: state.organizations.len() as u64,
            api_keys: state.api_keys.len() as u64,
            agents: state.agents.len() as u64,
            tokens: state.token_lists.total(),
            policies: state.policies.len() as u64,
            webhooks: state.webhooks.len() as u64,
        }
    }
}

/// A cluster that was founded from a backup.
pub struct Restored {
    /// What the backup held.
    pub inventory: Inventory,
    /// The new cluster.
    pub cluster: ClusterId,
    /// The one operator key that there is.
    pub operator_key: Secret,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The key file or the configuration says no.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The backup or the directory says no.
    #[error(transparent)]
    Restore(#[from] backup::RestoreError),
}

/// Checks all of a backup: every frame, every record's hash, and that the state and the journal are
/// of one moment. Holds the state in memory.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn inspect(from: impl Read) -> Result<Inventory, BackupError> {
    let mut machine = AuthMachine::default();
    let contents = backup::check(from, &mut machine)?;
    Ok(Inventory::of(contents, machine.state()))
}

/// Founds a cluster from a backup in the configured data directory, under the key file of the
/// cluster that the backup is of.
///
/// # Errors
///
/// As [`RestoreError`] says; no cluster is founded then.
pub fn restore(config: &Config, from: impl Read) -> Result<Restored, RestoreError> {
    let key_file = KeyFile::load(&config.secrets.key_file).map_err(StartError::from)?;
    if config.data_dir.join(SIGNING_KEYS).exists() {
        let dir = config.data_dir.clone();
        return Err(backup::RestoreError::NotEmpty { dir }.into());
    }
    let operator_key = Secret::mint(KeyKind::Operator);
    let mut inventory = None;
    let machine = AuthMachine::new(Views::default());
    let first = |machine: &AuthMachine, contents: &Contents, cluster| {
        let state = machine.state();
        check_key_file(config, &key_file, state)?;
        inventory = Some(Inventory::of(contents.clone(), state));
        let command = command(contents, cluster, &operator_key);
        match state.decide(clock::now_ms().max(state.clock), &command) {
            Ok(_) => Ok(command),
            Err(refusal) => {
                Err(format!("the state of the backup cannot be taken over: {refusal:?}"))
            }
        }
    };
    let restored = backup::restore(&storage(config)?, machine, from, first)?;
    let inventory = inventory.ok_or_else(|| {
        backup::RestoreError::Declined("the state of the backup was not looked at".into())
    })?;
    Ok(Restored { inventory, cluster: restored.cluster, operator_key })
}

fn command(contents: &Contents, cluster: ClusterId, operator_key: &Secret) -> Command {
    let Contents { origin, sha256, .. } = contents;
    let restore = Restore {
        cluster,
        backup: BackupOrigin {
            cluster: origin.cluster,
            index: origin.index,
            at: origin.at_ms,
            sha256: *sha256,
        },
        operator_key: CreateOperatorKey {
            id: OperatorKeyId::from_ulid(mint::ulid()),
            name: "first operator after the restore".into(),
            secret_hash: operator_key.hash(),
            last_four: operator_key.last_four().into(),
        },
    };
    Command {
        actor: Actor::Setup(()),
        request_id: format!("restore-{:032x}", mint::ulid()),
        action: Action::Restore(restore),
        idempotency: None,
    }
}

/// Another key file would open none of the secrets that sign what webhooks are sent.
fn check_key_file(config: &Config, key_file: &KeyFile, state: &State) -> Result<(), String> {
    for webhook in state.webhooks.values() {
        let opened = SigningSecret::open(key_file, webhook.tenant, webhook.id, &webhook.secret);
        opened.map_err(|why| {
            format!(
                "{} is not the key file of the cluster that the backup is of: the secret of \
                 webhook {} does not open with it ({why}). Put back a copy of that cluster's \
                 secrets.key_file",
                config.secrets.key_file.display(),
                webhook.id
            )
        })?;
    }
    Ok(())
}
