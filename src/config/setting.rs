//! The types that a configuration value can have: how each is spelled, and the phrase that
//! completes "it must be …" when it is misspelled.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use secrecy::SecretString;

use crate::{
    dns::DnsServer,
    limits::{self, WEBHOOK_RETRY_STEP_MAX_S, WEBHOOK_RETRY_STEPS_MAX},
};

/// A type that a configuration key can have.
pub trait Setting: Sized {
    /// Completes "it must be …".
    const EXPECTED: &'static str;
    /// Whether TOML spells it as a string.
    const QUOTED: bool = true;
    /// Whether its value is never shown.
    const SECRET: bool = false;

    /// Reads it from text; `None` if that is not a value of this type.
    fn parse(text: &str) -> Option<Self>;
}

impl Setting for u64 {
    const EXPECTED: &'static str = "a whole number";
    const QUOTED: bool = false;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "`true` or `false`";
    const QUOTED: bool = false;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// After how many seconds each further attempt is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySchedule(Vec<u64>);

impl RetrySchedule {
    /// The steps, in seconds.
    pub fn steps_s(&self) -> &[u64] {
        &self.0
    }
}

impl Setting for RetrySchedule {
    const EXPECTED: &'static str =
        "up to 32 whole numbers of seconds, 30 days at most, separated by commas, such as `5,300`";

    fn parse(text: &str) -> Option<Self> {
        let step = |text: &str| text.trim().parse().ok().filter(|s| *s <= WEBHOOK_RETRY_STEP_MAX_S);
        let steps: Option<Vec<u64>> = match text.trim() {
            "" => Some(Vec::new()),
            some => some.split(',').map(step).collect(),
        };
        steps.filter(|steps| steps.len() <= WEBHOOK_RETRY_STEPS_MAX).map(Self)
    }
}

impl Setting for String {
    const EXPECTED: &'static str = "text of 1 to 200 printable characters";

    fn parse(text: &str) -> Option<Self> {
        let fits = (1..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        fits.then(|| text.to_owned())
    }
}

impl Setting for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
    }
}

impl Setting for SocketAddr {
    const EXPECTED: &'static str = "an IP address with a port, such as 127.0.0.1:8080";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Setting for IpAddr {
    const EXPECTED: &'static str = "an IP address, such as 10.0.0.2";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl<T: Setting> Setting for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const QUOTED: bool = T::QUOTED;
    const SECRET: bool = T::SECRET;

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() { Some(None) } else { T::parse(text).map(Some) }
    }
}

impl Setting for SecretString {
    const EXPECTED: &'static str = "a secret";
    const SECRET: bool = true;

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }
}

/// DNS servers, in the order in which they are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsServers(pub Vec<DnsServer>);

impl Setting for DnsServers {
    const EXPECTED: &'static str =
        "up to 8 DNS servers, host:port with commas between, such as 9.9.9.9:53,1.1.1.1:53";

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(Vec::new()));
        }
        let servers = text.split(',').map(|server| DnsServer::parse(server.trim()));
        let servers: Vec<_> = servers.collect::<Option<_>>()?;
        (servers.len() <= limits::DNS_SERVERS_MAX).then_some(Self(servers))
    }
}

/// A URL of the API, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for PublicUrl {
    const EXPECTED: &'static str =
        "an http or https URL without user, query or fragment, such as https://auth.example.com";

    fn parse(text: &str) -> Option<Self> {
        let url = url::Url::parse(text).ok()?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        plain.then(|| Self(text.trim_end_matches('/').to_owned()))
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Setting for LogFormat {
    const EXPECTED: &'static str = "`text` or `json`";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// The least severe level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what went wrong.
    Error,
    /// And what looks wrong.
    Warn,
    /// And what happens.
    Info,
    /// And how.
    Debug,
    /// And everything else.
    Trace,
}

impl Setting for LogLevel {
    const EXPECTED: &'static str = "`error`, `warn`, `info`, `debug` or `trace`";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "error" => Some(Self::Error),
            "warn" => Some(Self::Warn),
            "info" => Some(Self::Info),
            "debug" => Some(Self::Debug),
            "trace" => Some(Self::Trace),
            _ => None,
        }
    }
}
