//! `authrai dev`: a node for trying out and for tests, without configuration.

use std::path::Path;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use crate::actors::CommandError;
use crate::config::{Flag, PlanName, Profile, local_url};
use crate::domain::Refusal;
use crate::secrets::{self, KeyKind, Secret};
use crate::server::{Founding, Server, operator_plans, plans};
use crate::setup::{self, DevKeys, DevWishes};

use super::node::{self, StopSignals};
use super::{Exit, Failure, Overrides, invocation, logging, print};

/// `authrai dev`
#[derive(Debug, Args)]
pub struct Dev {
    /// A fixed API key instead of a minted one, for CI [key: dev.api_key]
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// The organisation's plan, such as free; unlimited to begin with [key: dev.plan]
    #[arg(long, value_name = "NAME")]
    plan: Option<String>,
    #[command(flatten)]
    overrides: Overrides,
}

/// Runs it.
///
/// # Errors
/// If the node does not start, or cannot go on.
pub async fn run(dev: Dev) -> Result<(), Failure> {
    let mut signals = StopSignals::catch()?;
    let named = [("--api-key", "dev.api_key", dev.api_key), ("--plan", "dev.plan", dev.plan)];
    let flags = named
        .into_iter()
        .filter_map(|(flag, key, value)| {
            Some(Flag { flag: flag.to_owned(), key: key.to_owned(), value: value? })
        })
        .collect();
    let config = dev.overrides.resolve(Profile::Dev, None, flags)?.config;
    logging::start(&config.log);
    let fixed = config.dev.api_key.as_ref().map(fixed_key).transpose()?;

    let server = Server::start(&config, Founding::Allowed).await?;
    keep_out_of_git(&config.data_dir);
    let app = server.app();
    let plans = plans(&config.plans.offered);
    let wishes = DevWishes {
        api_key: fixed,
        plans: &plans,
        operator_plans: &operator_plans(&config.plans.offered),
        plan: config.dev.plan.as_ref().map(PlanName::as_str),
        default_plan: config.plans.default.as_str(),
    };
    let keys = tokio::select! {
        keys = setup::development(&app.proposals, &app.views, wishes) => keys.map_err(explained)?,
        fatal = server.fatal() => return Err(fatal.into()),
        () = signals.next() => return Ok(server.stop().await?),
    };
    let url = local_url(server.address());
    print(&welcome(&url, &config.data_dir, &keys))?;
    node::run(server, signals).await
}

/// What a developer can do something about, in words.
fn explained(error: CommandError) -> Failure {
    match error {
        CommandError::Refused(Refusal::PlanTooSmall(too_small)) => Failure::new(
            Exit::Config,
            format!(
                "the development organisation uses more than the plan {} allows, so it stays on \
                 its own. Start without --plan, or with another data directory",
                too_small.plan
            ),
        ),
        error => error.into(),
    }
}

fn fixed_key(text: &SecretString) -> Result<Secret, Failure> {
    let fault = match secrets::parse(text.expose_secret()) {
        Ok((KeyKind::ApiLive, bytes)) => return Ok(Secret::from_bytes(KeyKind::ApiLive, &bytes)),
        Ok(_) => "it is a key of another kind".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Failure::new(
        Exit::Usage,
        format!(
            "the fixed API key is not a live API key, rai_pk_live_ and 49 characters: {fault}. \
             `authrai key generate` prints one that fits"
        ),
    ))
}

/// The development data stands in a project's directory, where it must not be committed by
/// accident. Not being able to say so is no reason not to start.
fn keep_out_of_git(data_dir: &Path) {
    let ignore = data_dir.join(".gitignore");
    if !ignore.exists() {
        let _ = std::fs::write(ignore, "*\n");
    }
}

fn welcome(url: &str, data_dir: &Path, keys: &DevKeys) -> String {
    let data_dir = data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_owned());
    format!(
        "\
AuthRAI {version}: a development node. Ctrl-C stops it.

  API           {url}/v1
  Swagger UI    {url}/docs
  Data          {data_dir}

{keys}
{try_it}
",
        version = env!("CARGO_PKG_VERSION"),
        data_dir = data_dir.display(),
        keys = show_keys(keys),
        try_it = try_it(url, keys.api_key.as_ref()),
    )
}

fn show_keys(keys: &DevKeys) -> String {
    let line = |name: &str, key: &Option<Secret>| match key {
        Some(key) => format!("  {name:<14}{}\n", key.expose()),
        None => format!("  {name:<14}shown when the data directory was new\n"),
    };
    let mut text = line("API key", &keys.api_key) + &line("Operator key", &keys.operator_key);
    if keys.operator_key.is_some() {
        text.push_str("                Keep them: they are not shown again.\n");
    }
    if keys.api_key.is_none() {
        let (dev, program) = (invocation::instead(1, "dev"), invocation::program());
        text.push_str("\nLost the API key? Stop the node and start it with a new one:\n\n");
        text.push_str(&format!("  {dev} --api-key \"$({program} key generate)\"\n"));
    }
    text
}

fn try_it(url: &str, key: Option<&Secret>) -> String {
    let Some(key) = key else { return format!("Try it:\n\n  curl -s {url}/readyz\n") };
    let key = key.expose();
    format!(
        "\
For the examples of the README, paste this into another terminal:

  export AUTHRAI_URL={url} AUTHRAI_KEY={key}

Register an agent:

  curl -s {url}/v1/agents \\
    -H 'Authorization: Bearer {key}' \\
    -H 'Content-Type: application/json' \\
    -d '{{\"name\":\"data-processor\",\"owner\":\"engineering\"}}'
"
    )
}
