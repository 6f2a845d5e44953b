//! Writing a configuration out: what is in force and where each value came from, and the reference
//! of all keys. A secret is never written.

use std::fmt::Write as _;

use super::{Initial, KEYS, Key, Resolved};

const HIDDEN: &str = "(hidden)";

/// The configuration as TOML, each value with its origin in a comment.
pub fn as_toml(resolved: &Resolved) -> String {
    let lines = resolved.origins.iter().map(|(key, text, origin)| {
        let (section, name) = split(key);
        let line = if text.is_empty() {
            format!("# {name} is not set")
        } else {
            format!("{name} = {}", literal(key, text))
        };
        (section, format!("{line:<48} # {origin}"))
    });
    let mut out = String::new();
    let mut current = "";
    for (section, line) in lines {
        if section != current {
            let _ = write!(out, "\n[{section}]\n");
            current = section;
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// The configuration as JSON: `{"key": {"value": …, "from": "…"}}`.
pub fn as_json(resolved: &Resolved) -> String {
    let object: serde_json::Map<String, serde_json::Value> = resolved
        .origins
        .iter()
        .map(|(key, text, origin)| {
            let value = match text.parse::<u64>() {
                _ if text.is_empty() => serde_json::Value::Null,
                _ if key.secret => HIDDEN.into(),
                Ok(number) if !key.quoted => number.into(),
                _ => text.as_str().into(),
            };
            let entry = serde_json::json!({"value": value, "from": origin.to_string()});
            (key.name.to_owned(), entry)
        })
        .collect();
    format!("{:#}\n", serde_json::Value::Object(object))
}

/// The reference of all keys, in Markdown.
pub fn reference() -> String {
    let mut out = String::from(REFERENCE_HEAD);
    for key in KEYS {
        let _ = write!(out, "\n### `{}`\n\n", key.name);
        for line in key.doc {
            out.push_str(line.trim_start());
            out.push('\n');
        }
        let initial = match key.initial {
            Initial::Text("") => "not set".to_owned(),
            Initial::Text(text) => format!("`{}`", literal(key, text)),
            Initial::From(how) => format!("from {how}"),
        };
        let _ = write!(
            out,
            "\n- Value: {}\n- Default: {initial}\n- Environment: `{}`\n",
            key.expectation(),
            key.env_name()
        );
    }
    out
}

const REFERENCE_HEAD: &str = "\
<!-- Written by `authrai config reference`; a test compares. -->
# Configuration

A value comes from a flag, else from the environment, else from the TOML file given with `--config`,
else from the default. A key `section.key` is `AUTHRAI_SECTION__KEY` in the environment, and a key
without a section `AUTHRAI__KEY`; variables without `__` are not configuration. `--set KEY=VALUE`
sets any key on the command line. An unknown key is an error, wherever it stands. Relative paths
start at the working directory.

`authrai config show --config FILE` prints what is in force and where each value came from.
`authrai dev` reads no file, keeps its data in `.authrai` in the working directory and serves
`/metrics` on the API's address; otherwise its defaults are the same.

```toml
listen = \"0.0.0.0:8080\"
public_url = \"https://auth.example.com\"
data_dir = \"/var/lib/authrai\"

[secrets]
key_file = \"/etc/authrai/secrets.key\"

[log]
format = \"json\"
```

## Keys
";

fn split(key: &Key) -> (&'static str, &'static str) {
    key.name.split_once('.').unwrap_or(("", key.name))
}

fn literal(key: &Key, text: &str) -> String {
    if key.secret {
        toml::Value::from(HIDDEN).to_string()
    } else if key.quoted {
        toml::Value::from(text).to_string()
    } else {
        text.to_owned()
    }
}
