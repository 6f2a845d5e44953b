//! The flags that set configuration keys, the same for every command that has them.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Flag, Profile, Resolved, Sources};

use super::Failure;

/// Flags that set configuration keys.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub struct Overrides {
    /// Address on which the API answers [key: listen]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    /// Directory that holds the node's data [key: data_dir]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Set any other configuration key, as in --set log.format=json; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once('=').ok_or("write KEY=VALUE, as in log.format=json".to_owned())?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl Overrides {
    /// The configuration that holds with these flags.
    ///
    /// # Errors
    /// If anything about it is wrong.
    pub fn resolve(
        &self,
        profile: Profile,
        file: Option<PathBuf>,
        more: Vec<Flag>,
    ) -> Result<Resolved, Failure> {
        let mut flags = more;
        let named =
            [("--listen", "listen", &self.listen), ("--data-dir", "data_dir", &self.data_dir)];
        for (flag, key, value) in named {
            if let Some(value) = value {
                let (flag, key, value) = (flag.to_owned(), key.to_owned(), value.clone());
                flags.push(Flag { flag, key, value });
            }
        }
        for (key, value) in &self.set {
            let flag = format!("--set {key}");
            flags.push(Flag { flag, key: key.clone(), value: value.clone() });
        }
        let env = std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .collect();
        Ok(Sources { profile, file, env, flags }.resolve()?)
    }
}
