//! Where values come from, and which of them wins: a flag over the environment over the file over
//! the default.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{Config, ConfigError, Initial, KEYS, Key, Origin, Problem, Setting, local_url};

/// How alike a name must be to be suggested: 1 is equal.
const LIKENESS_MIN: f64 = 0.8;

/// Which command the configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// `authrai dev`.
    Dev,
    /// Everything else.
    Serve,
}

/// A key set on the command line.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The flag as the user knows it, for messages.
    pub flag: String,
    /// The key that it sets.
    pub key: String,
    /// The value.
    pub value: String,
}

/// Everything that a configuration is made from.
#[derive(Debug)]
pub struct Sources {
    /// For which command.
    pub profile: Profile,
    /// The TOML file, if any.
    pub file: Option<PathBuf>,
    /// The environment. Only names that begin with `AUTHRAI_` and contain `__` count.
    pub env: Vec<(String, String)>,
    /// What the command line says.
    pub flags: Vec<Flag>,
}

/// A configuration, and where each value came from.
#[derive(Debug)]
pub struct Resolved {
    /// The configuration.
    pub config: Config,
    /// Each key's value as text, and its origin; in the order of [`KEYS`].
    pub origins: Vec<(&'static Key, String, Origin)>,
}

impl Sources {
    /// Reads, merges and checks.
    ///
    /// # Errors
    /// Everything that is wrong, not just the first.
    pub fn resolve(self) -> Result<Resolved, ConfigError> {
        let mut values = Values::defaults();
        if let Some(path) = &self.file {
            values.file(path);
        }
        for (name, value) in &self.env {
            values.env(name, value);
        }
        for flag in self.flags {
            values.flag(flag);
        }
        values.derive(self.profile);
        let config = Config::read(&mut values);
        if let Some(config) = &config {
            values.check_plans(config);
        }
        match config {
            Some(config) if values.problems.is_empty() => {
                Ok(Resolved { config, origins: values.into_origins() })
            }
            _ => Err(ConfigError { problems: values.problems }),
        }
    }
}

/// The value of a key that stands so far.
#[derive(Debug)]
struct Given {
    text: String,
    origin: Origin,
}

/// The values that stand so far, and what was wrong with others.
#[derive(Debug)]
pub(super) struct Values {
    given: BTreeMap<&'static str, Given>,
    problems: Vec<Problem>,
}

impl Values {
    fn defaults() -> Self {
        let given = KEYS.iter().filter_map(|key| match key.initial {
            Initial::Text(text) => {
                Some((key.name, Given { text: text.to_owned(), origin: Origin::Default }))
            }
            Initial::From(_) => None,
        });
        Self { given: given.collect(), problems: Vec::new() }
    }

    fn set(&mut self, key: &'static Key, text: &str, origin: Origin) {
        self.given.insert(key.name, Given { text: text.to_owned(), origin });
    }

    fn file(&mut self, path: &Path) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let (path, why) = (path.to_owned(), error.to_string());
                return self.problems.push(Problem::Unreadable { path, why });
            }
        };
        let at = |offset: usize| Origin::File(path.to_owned(), line_of(&text, offset));
        match DeTable::parse(&text) {
            Ok(table) => self.table("", table.get_ref(), &at),
            Err(error) => self.problems.push(Problem::NotToml {
                path: path.to_owned(),
                line: line_of(&text, error.span().map_or(0, |span| span.start)),
                why: error.message().to_owned(),
            }),
        }
    }

    fn table(&mut self, section: &str, table: &DeTable<'_>, at: &dyn Fn(usize) -> Origin) {
        for (name, value) in table {
            let origin = at(name.span().start);
            let full = format!("{section}{}", name.get_ref());
            let Some(key) = find(&full) else {
                match value.get_ref() {
                    DeValue::Table(inner) if section.is_empty() && is_section(&full) => {
                        self.table(&format!("{full}."), inner, at);
                    }
                    _ => self.unknown_key(full, origin),
                }
                continue;
            };
            match toml_text(key, value.get_ref()) {
                Ok(text) => self.set(key, text, origin),
                Err(found) => self.problems.push(Problem::bad_value(key, origin, found)),
            }
        }
    }

    fn env(&mut self, name: &str, value: &str) {
        if !name
            .strip_prefix("AUTHRAI_")
            .is_some_and(|rest| rest.contains("__") || rest.starts_with('_'))
        {
            return;
        }
        let origin = Origin::Env(name.to_owned());
        match KEYS.iter().find(|key| key.env_name() == name) {
            Some(key) => self.set(key, value, origin),
            None => {
                let known: Vec<String> = KEYS.iter().map(Key::env_name).collect();
                let nearest = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
                let name = name.to_owned();
                self.problems.push(Problem::UnknownKey { name, origin, nearest });
            }
        }
    }

    fn flag(&mut self, flag: Flag) {
        let origin = Origin::Flag(flag.flag);
        match find(&flag.key) {
            Some(key) => self.set(key, &flag.value, origin),
            None => self.unknown_key(flag.key, origin),
        }
    }

    fn unknown_key(&mut self, name: String, origin: Origin) {
        let last = |name: &str| name.rsplit('.').next().map(str::to_owned);
        let nearest = nearest(&name, KEYS.iter().map(|key| key.name))
            .or_else(|| KEYS.iter().map(|key| key.name).find(|known| last(known) == last(&name)))
            .map(str::to_owned);
        self.problems.push(Problem::UnknownKey { name, origin, nearest });
    }

    /// Fills in what nobody set and other keys decide.
    fn derive(&mut self, profile: Profile) {
        if profile == Profile::Dev {
            self.initial("data_dir", ".authrai".to_owned(), Origin::DevDefault);
            let listen = self.text("listen").to_owned();
            self.initial("metrics.listen", listen, Origin::DevDefault);
            self.initial("webhooks.allow_private", "true".to_owned(), Origin::DevDefault);
            let plan = match self.text("dev.plan") {
                "" => "unlimited",
                named => named,
            };
            self.initial("plans.default", plan.to_owned(), Origin::DevDefault);
        } else {
            for key in ["dev.api_key", "dev.plan"] {
                if let Some(given) = self.given.get(key)
                    && given.origin != Origin::Default
                {
                    let origin = given.origin.clone();
                    self.problems.push(Problem::DevOnly { key, origin });
                }
            }
        }
        // Something that is no address is reported where `listen` is read.
        let url = self.text("listen").parse().map_or_else(|_| "http://".to_owned(), local_url);
        self.initial("public_url", url, Origin::From("listen"));
        let issuer = self.text("public_url").trim_end_matches('/').to_owned();
        self.initial("tokens.issuer", issuer, Origin::From("public_url"));
        let key_file = Path::new(self.text("data_dir")).join("secrets.key");
        let key_file = key_file.to_string_lossy().into_owned();
        self.initial("secrets.key_file", key_file, Origin::From("data_dir"));
    }

    fn text(&self, name: &str) -> &str {
        self.given.get(name).map_or("", |given| &given.text)
    }

    /// Sets a key that nobody else has set.
    fn initial(&mut self, name: &'static str, text: String, origin: Origin) {
        let untouched = self.given.get(name).is_none_or(|given| given.origin == Origin::Default);
        if untouched {
            self.given.insert(name, Given { text, origin });
        }
    }

    /// The value of the key `name`; a problem is noted if it is none of its type.
    pub(super) fn read<T: Setting>(&mut self, name: &'static str) -> Option<T> {
        let key = find(name)?;
        let given = self.given.get(name)?;
        let in_range = key.range.as_ref().is_none_or(|range| {
            given.text.parse::<u64>().is_ok_and(|number| range.contains(&number))
        });
        let value = if in_range { T::parse(&given.text) } else { None };
        if value.is_none() {
            let found = format!("{:?}", given.text);
            self.problems.push(Problem::bad_value(key, given.origin.clone(), found));
        }
        value
    }

    /// A plan that is named has to be one of those on offer.
    fn check_plans(&mut self, config: &Config) {
        let default = Some(&config.plans.default);
        let dev = config.dev.plan.as_ref();
        // The default of `authrai dev` follows `dev.plan`, which is to be named once.
        let named = [("dev.plan", dev), ("plans.default", default.filter(|_| default != dev))];
        for (name, plan) in named {
            let Some(plan) = plan.filter(|plan| !config.plans.offered.contains(plan)) else {
                continue;
            };
            if let (Some(key), Some(given)) = (find(name), self.given.get(name)) {
                let found = format!("{:?}", plan.as_str());
                self.problems.push(Problem::bad_value(key, given.origin.clone(), found));
            }
        }
    }

    fn into_origins(mut self) -> Vec<(&'static Key, String, Origin)> {
        KEYS.iter()
            .filter_map(|key| {
                let given = self.given.remove(key.name)?;
                Some((key, given.text, given.origin))
            })
            .collect()
    }
}

fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.split_once('.').is_some_and(|(section, _)| section == name))
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// The text of a value of the right TOML type, or a description of the one that stands there.
fn toml_text<'v>(key: &Key, value: &'v DeValue<'_>) -> Result<&'v str, String> {
    match value {
        DeValue::String(text) if key.quoted => Ok(text),
        DeValue::Integer(number) if !key.quoted && number.radix() == 10 => Ok(number.as_str()),
        DeValue::Boolean(true) if !key.quoted => Ok("true"),
        DeValue::Boolean(false) if !key.quoted => Ok("false"),
        DeValue::String(text) => Err(format!("the string {text:?}")),
        DeValue::Integer(number) => Err(format!("the integer {}", number.as_str())),
        DeValue::Float(number) => Err(format!("the float {}", number.as_str())),
        DeValue::Boolean(truth) => Err(format!("the boolean {truth}")),
        DeValue::Datetime(time) => Err(format!("the date {time}")),
        DeValue::Array(_) => Err("an array".to_owned()),
        DeValue::Table(_) => Err("a table".to_owned()),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
