//! Which source wins, and what is said when a value is wrong.

use super::*;

fn sources(profile: Profile, file: Option<&str>, env: &[(&str, &str)]) -> Sources {
    let file = file.map(|text| {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path().keep().unwrap();
        std::fs::write(&path, text).unwrap();
        path
    });
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sources { profile, file, env, flags: Vec::new() }
}

fn resolve(file: &str, env: &[(&str, &str)]) -> Result<Resolved, ConfigError> {
    let sources = sources(Profile::Serve, Some(file), env);
    let path = sources.file.clone().unwrap();
    let resolved = sources.resolve();
    std::fs::remove_file(path).unwrap();
    resolved
}

/// The message, with the file's name made the same in every run.
fn complaint(file: &str, env: &[(&str, &str)]) -> String {
    let message = resolve(file, env).unwrap_err().to_string();
    let name = message.split(':').next().unwrap_or_default().to_owned();
    if name.starts_with('/') { message.replace(&name, "FILE") } else { message }
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let file = "node_id = 2\n[tokens]\nkey_rotation_hours = 2\n[storage]\ncache_mib = 32\n";
    let env = [("AUTHRAI__NODE_ID", "3"), ("AUTHRAI_TOKENS__KEY_ROTATION_HOURS", "3")];
    let mut sources = sources(Profile::Serve, Some(file), &env);
    let (flag, key, value) = ("--node-id".to_owned(), "node_id".to_owned(), "4".to_owned());
    sources.flags.push(Flag { flag, key, value });
    let path = sources.file.clone().unwrap();

    let resolved = sources.resolve().unwrap();
    let origin =
        |name: &str| resolved.origins.iter().find(|(key, ..)| key.name == name).unwrap().2.clone();
    assert_eq!(resolved.config.node_id, 4);
    assert_eq!(origin("node_id"), Origin::Flag("--node-id".into()));
    assert_eq!(resolved.config.tokens.key_rotation_hours, 3);
    assert_eq!(
        origin("tokens.key_rotation_hours"),
        Origin::Env("AUTHRAI_TOKENS__KEY_ROTATION_HOURS".into())
    );
    assert_eq!(resolved.config.storage.cache_mib, 32);
    assert_eq!(origin("storage.cache_mib"), Origin::File(path.clone(), 5));
    assert_eq!(resolved.config.log.level, LogLevel::Info);
    assert_eq!(origin("log.level"), Origin::Default);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn what_nobody_sets_follows_from_what_somebody_set() {
    let config = resolve("listen = \"0.0.0.0:9000\"\ndata_dir = \"/srv/a\"", &[]).unwrap().config;
    assert_eq!(config.public_url.as_str(), "http://127.0.0.1:9000");
    assert_eq!(config.tokens.issuer, "http://127.0.0.1:9000");
    assert_eq!(config.secrets.key_file, PathBuf::from("/srv/a/secrets.key"));

    let config = resolve("public_url = \"https://a.example/\"", &[]).unwrap().config;
    assert_eq!(config.public_url.as_str(), "https://a.example");
    assert_eq!(config.tokens.issuer, "https://a.example");
}

#[test]
fn dev_keeps_its_data_here_and_its_metrics_beside_the_api() {
    let env = [("AUTHRAI__LISTEN", "127.0.0.1:7777")];
    let config = sources(Profile::Dev, None, &env).resolve().unwrap().config;
    assert_eq!(config.data_dir, PathBuf::from(".authrai"));
    assert_eq!(config.metrics.listen, Some(config.listen));
    let env = [("AUTHRAI_METRICS__LISTEN", "")];
    let config = sources(Profile::Dev, None, &env).resolve().unwrap().config;
    assert_eq!(config.metrics.listen, None);
}

#[test]
fn webhooks_go_to_private_addresses_only_in_dev_or_where_somebody_says_so() {
    let of = |profile, env: &[(&str, &str)]| {
        sources(profile, None, env).resolve().unwrap().config.webhooks.allow_private
    };
    let (on, off) = ("true", "false");
    assert!(of(Profile::Dev, &[]) && !of(Profile::Serve, &[]));
    assert!(!of(Profile::Dev, &[("AUTHRAI_WEBHOOKS__ALLOW_PRIVATE", off)]));
    assert!(of(Profile::Serve, &[("AUTHRAI_WEBHOOKS__ALLOW_PRIVATE", on)]));
    assert!(
        resolve("[webhooks]\nallow_private = true", &[]).unwrap().config.webhooks.allow_private
    );
}

#[test]
fn the_schedule_of_retries_is_a_list_of_seconds() {
    let steps = |text: &str| RetrySchedule::parse(text).map(|schedule| schedule.steps_s().to_vec());
    assert_eq!(steps("5,300, 1800"), Some(vec![5, 300, 1_800]));
    assert_eq!(steps(""), Some(vec![]));
    let many = vec!["1"; 33].join(",");
    for bad in ["5,", "5;300", "-1", "2592001", "1.5", many.as_str()] {
        assert_eq!(steps(bad), None, "{bad}");
    }
    let config = resolve("[webhooks]\nretry_schedule = \"1,2\"", &[]).unwrap().config;
    assert_eq!(config.webhooks.retry_schedule.steps_s(), [1, 2]);
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_what_is_right() {
    type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);
    let cases: &[Case] = &[
        (
            "\n[tokens]\nisuer = \"x\"",
            &[],
            "FILE:3: there is no configuration key `tokens.isuer`; did you mean `tokens.issuer`?",
        ),
        (
            "issuer = \"x\"",
            &[],
            "FILE:1: there is no configuration key `issuer`; did you mean `tokens.issuer`?",
        ),
        (
            "[zebra]\nx = 1",
            &[],
            "FILE:1: there is no configuration key `zebra`; `authrai config reference` lists them \
             all",
        ),
        (
            "",
            &[("AUTHRAI_LOG__LEVL", "info")],
            "environment variable AUTHRAI_LOG__LEVL: there is no configuration key \
             `AUTHRAI_LOG__LEVL`; did you mean `AUTHRAI_LOG__LEVEL`?",
        ),
        (
            "listen = 8080",
            &[],
            "FILE:1: `listen` is the integer 8080, but it must be an IP address with a port, such \
             as 127.0.0.1:8080",
        ),
        (
            "node_id = \"1\"",
            &[],
            "FILE:1: `node_id` is the string \"1\", but it must be a whole number from 1 to \
             1000000",
        ),
        (
            "[storage]\ncache_mib = -5",
            &[],
            "FILE:2: `storage.cache_mib` is \"-5\", but it must be a whole number from 16 to \
             1048576",
        ),
        (
            "",
            &[("AUTHRAI_SERVER__SHUTDOWN_GRACE_S", "601")],
            "environment variable AUTHRAI_SERVER__SHUTDOWN_GRACE_S: `server.shutdown_grace_s` is \
             \"601\", but it must be a whole number from 0 to 600",
        ),
        (
            "",
            &[("AUTHRAI_DNS__SERVERS", "127.0.0.1:53,nowhere:0")],
            "environment variable AUTHRAI_DNS__SERVERS: `dns.servers` is \
             \"127.0.0.1:53,nowhere:0\", but it must be up to 8 DNS servers, host:port with commas \
             between, such as 9.9.9.9:53,1.1.1.1:53",
        ),
        ("log = 1", &[], "FILE:1: there is no configuration key `log`; did you mean `log.level`?"),
        (
            "public_url = \"https://u:p@a.example\"",
            &[],
            "FILE:1: `public_url` is \"https://u:p@a.example\", but it must be an http or https \
             URL without user, query or fragment, such as https://auth.example.com",
        ),
    ];
    for (file, env, expected) in cases {
        assert_eq!(complaint(file, env), *expected, "{file:?} {env:?}");
    }
    assert!(complaint("a = ", &[]).starts_with("FILE:1: this is not valid TOML: "));
}

#[test]
fn every_problem_is_reported_at_once() {
    let error = resolve("node_id = 0\n[log]\nlevel = \"loud\"", &[("AUTHRAI_LOG__X__Y", "1")]);
    assert_eq!(error.unwrap_err().problems.len(), 3);
}

#[test]
fn variables_without_two_underscores_are_not_configuration() {
    assert!(resolve("", &[("AUTHRAI_URL", "x"), ("AUTHRAI_NODE_ID", "x"), ("A__B", "x")]).is_ok());
}

#[test]
fn a_dev_only_key_is_an_error_in_production() {
    let message = complaint("", &[("AUTHRAI_DEV__API_KEY", "rai_pk_live_secret")]);
    assert!(message.contains("`dev.api_key` is for `authrai dev` only"), "{message}");
    assert!(!message.contains("secret"), "{message}");
}

#[test]
fn dev_offers_the_same_plans_and_starts_on_its_own() {
    let dev = |env: &[(&str, &str)]| sources(Profile::Dev, None, env).resolve().unwrap().config;
    let serve = resolve("", &[]).unwrap().config;
    let config = dev(&[]);
    assert_eq!(config.plans.offered, serve.plans.offered);
    let names: Vec<&str> = serve.plans.offered.iter().map(|plan| plan.name.as_str()).collect();
    assert_eq!(names, ["free", "team", "enterprise", "unlimited"]);
    assert_eq!(serve.plans.offered.iter().next().unwrap().agents, Some(25));
    assert_eq!(
        (serve.plans.default.as_str(), config.plans.default.as_str()),
        ("free", "unlimited")
    );
    let free = dev(&[("AUTHRAI_DEV__PLAN", "free")]);
    assert_eq!((free.plans.default.as_str(), free.dev.plan.unwrap().as_str()), ("free", "free"));
}

#[test]
fn a_plan_that_is_named_is_one_on_offer() {
    for (file, env, expected) in [
        (
            "[plans]\ndefault = \"gold\"",
            &[][..],
            "FILE:2: `plans.default` is \"gold\", but it must be the name of a plan in \
             `plans.offered`",
        ),
        (
            "",
            &[("AUTHRAI_PLANS__OFFERED", "gold requests_per_second=1 price=x")],
            "default: `plans.default` is \"free\", but it must be the name of a plan in \
             `plans.offered`",
        ),
        (
            "",
            &[("AUTHRAI_DEV__PLAN", "free")],
            "environment variable AUTHRAI_DEV__PLAN: `dev.plan` is for `authrai dev` only; remove \
             it",
        ),
    ] {
        assert_eq!(complaint(file, env), expected);
    }
    let env = [("AUTHRAI_DEV__PLAN".to_owned(), "gold".to_owned())];
    let mut dev = sources(Profile::Dev, None, &[]);
    dev.env = env.to_vec();
    assert_eq!(
        dev.resolve().unwrap_err().to_string(),
        "environment variable AUTHRAI_DEV__PLAN: `dev.plan` is \"gold\", but it must be the name of \
         a plan in `plans.offered`"
    );
}

#[test]
fn a_secret_is_shown_nowhere() {
    let env = [("AUTHRAI_DEV__API_KEY", "rai_pk_live_hush")];
    let resolved = sources(Profile::Dev, None, &env).resolve().unwrap();
    let toml = as_toml(&resolved);
    assert!(toml.contains("api_key = \"(hidden)\""), "{toml}");
    for text in [toml, as_json(&resolved), format!("{:?}", resolved.config)] {
        assert!(!text.contains("hush"), "{text}");
    }
    let wrong = resolve("[dev]\napi_key = 77", &[]).unwrap_err().to_string();
    assert!(!wrong.contains("77"), "{wrong}");
}

#[test]
fn what_show_prints_can_be_read_back() {
    let shown = as_toml(&resolve("[log]\nformat = \"json\"", &[]).unwrap());
    let again = resolve(&shown, &[]).unwrap();
    assert_eq!(again.config.log.format, LogFormat::Json);
    let same =
        |(before, after): (&str, &str)| before.split(" # ").next() == after.split(" # ").next();
    assert!(shown.lines().zip(as_toml(&again).lines()).all(same), "{shown}");
}

#[test]
fn the_reference_in_docs_is_current() {
    assert_eq!(
        include_str!("../../docs/configuration.md"),
        reference(),
        "run: authrai config reference > docs/configuration.md"
    );
}
