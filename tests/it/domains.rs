//! Verified domains, against a DNS server of the test's own.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    dns::{DnsServer, Mode},
    harness::{Answer, Caller, TestNode, text, until},
};

const RECORD: &str = "_authrai-challenge.acme.example";

async fn start(dns: &DnsServer) -> TestNode {
    TestNode::start_with(&[("dns.servers", &dns.setting()), ("dns.timeout_ms", "1000")]).await
}

/// A node that looks again every second.
async fn start_eager(dns: &DnsServer) -> TestNode {
    let servers = dns.setting();
    let settings = [
        ("dns.servers", servers.as_str()),
        ("dns.timeout_ms", "500"),
        ("dns.recheck_interval_s", "1"),
    ];
    TestNode::start_with(&settings).await
}

async fn add(api: &Caller, name: &str) -> Value {
    api.post("/v1/domains", &json!({"domain": name})).await.expect(201)
}

async fn check(api: &Caller, domain: &Value) -> Answer {
    let path = format!("/v1/domains/{}/verify", text(domain, "id"));
    api.send(reqwest::Method::POST, &path, None).await
}

async fn get(api: &Caller, domain: &Value) -> Value {
    api.get(&format!("/v1/domains/{}", text(domain, "id"))).await.expect(200)
}

fn value(domain: &Value) -> String {
    text(&domain["txt_record"], "value")
}

/// Adds `acme.example`, publishes its record, and verifies it.
async fn verified(api: &Caller, dns: &DnsServer) -> Value {
    let domain = add(api, "acme.example").await;
    dns.set(RECORD, &[&value(&domain)]);
    let answer = check(api, &domain).await.expect(200);
    assert_eq!(answer["status"], "verified", "{answer}");
    answer
}

async fn events(api: &Caller, event: &str) -> Vec<Value> {
    let page = api.get(&format!("/v1/audit?event={event}&limit=100")).await.expect(200);
    page["data"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn a_domain_is_pending_until_its_record_is_found() {
    let dns = DnsServer::start().await;
    let node = start(&dns).await;
    let domain = add(&node.api, "ACME.Example.").await;
    assert_eq!((&domain["domain"], &domain["status"]), (&json!("acme.example"), &json!("pending")));
    let record = &domain["txt_record"];
    assert_eq!((&record["name"], &record["type"]), (&json!(RECORD), &json!("TXT")));
    let secret = value(&domain);
    let secret = secret.strip_prefix("authrai-verification=").expect("a challenge");
    assert_eq!(secret.len(), 43, "32 bytes in base64url");
    for unknown in ["seen", "last_checked_at", "verified_at", "lost_at"] {
        assert_eq!(domain[unknown], Value::Null, "{unknown}");
    }
    assert_eq!(get(&node.api, &domain).await, domain);

    dns.set(RECORD, &["v=spf1 -all", &value(&domain)]);
    let answer = check(&node.api, &domain).await;
    assert!(answer.header("authrai-log-index").is_some());
    let answer = answer.expect(200);
    assert_eq!(answer["status"], "verified");
    assert_eq!(answer["seen"], json!([value(&domain), "v=spf1 -all"]));
    assert!(answer["verified_at"].is_string() && answer["last_checked_at"].is_string());
    assert_eq!(get(&node.api, &domain).await, answer);

    let again = check(&node.api, &domain).await.expect(200);
    assert_eq!(
        (&again["status"], &again["verified_at"]),
        (&json!("verified"), &answer["verified_at"])
    );
    assert_eq!(dns.times_asked(RECORD), 2, "each check asks afresh");
    for event in ["domain.created", "domain.verified"] {
        let told = events(&node.api, event).await;
        assert_eq!(told.len(), 1, "{event}");
        assert_eq!(
            (&told[0]["data"]["domain"], &told[0]["data"]["domain_id"]),
            (&json!("acme.example"), &domain["id"])
        );
    }
    node.stop().await;
}

#[tokio::test]
async fn an_unsuccessful_check_says_what_was_seen() {
    let dns = DnsServer::start().await;
    let node = start(&dns).await;
    let domain = add(&node.api, "acme.example").await;
    let seen = async || {
        let answer = check(&node.api, &domain).await.expect(200);
        assert_eq!((&answer["status"], &answer["verified_at"]), (&json!("failed"), &Value::Null));
        answer["seen"].clone()
    };
    assert_eq!(seen().await, json!(["NXDOMAIN: the name does not exist"]));
    dns.set(RECORD, &[]);
    assert_eq!(seen().await, json!(["NOERROR: the name exists and has no TXT record"]));
    let cut = &value(&domain)[..60];
    let spaced = format!(" {}", value(&domain));
    for wrong in ["authrai-verification=x", cut, &spaced, &value(&domain).to_uppercase()] {
        dns.set(RECORD, &[wrong]);
        assert_eq!(seen().await, json!([wrong]));
    }
    dns.set_strings(RECORD, vec![vec![vec![0xff, 0, b'a'], vec![b'b'; 255]]]);
    let shown = seen().await;
    assert_eq!(shown, json!([format!("\u{fffd}\u{fffd}a{}", "b".repeat(252))]));
    let many: Vec<String> = (0..50).map(|number| format!("record {number}")).collect();
    dns.set(RECORD, &many.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(seen().await.as_array().map(Vec::len), Some(8));
    dns.set("acme.example", &[&value(&domain)]);
    dns.remove(RECORD);
    assert_eq!(seen().await, json!(["NXDOMAIN: the name does not exist"]));

    let told = events(&node.api, "domain.failed").await;
    assert_eq!(told.len(), 1, "only the first failure changes anything");
    assert_eq!(told[0]["data"]["seen"], json!(["NXDOMAIN: the name does not exist"]));
    dns.set(RECORD, &[&value(&domain)]);
    assert_eq!(check(&node.api, &domain).await.expect(200)["status"], "verified");
    node.stop().await;
}

#[tokio::test]
async fn a_record_counts_in_pieces_behind_an_alias_among_many_and_over_tcp() {
    let dns = DnsServer::start().await;
    let node = start(&dns).await;
    let verifies = async |name: &str, publish: &dyn Fn(&str, &str)| {
        let domain = add(&node.api, name).await;
        publish(&text(&domain["txt_record"], "name"), &value(&domain));
        let answer = check(&node.api, &domain).await.expect(200);
        assert_eq!(answer["status"], "verified", "{answer}");
    };
    let bytes = |text: &str| text.as_bytes().to_vec();
    verifies("pieces.example", &|name, value| {
        dns.set_strings(name, vec![vec![bytes(&value[..9]), bytes(&value[9..])]]);
    })
    .await;
    verifies("alias.example", &|name, value| {
        dns.alias(name, "elsewhere.provider.example");
        dns.set("elsewhere.provider.example", &[value]);
    })
    .await;
    dns.set_mode(Mode::Truncates);
    verifies("tcp.example", &|name, value| {
        let others = (0..60).map(|number| format!("{number} {}", "x".repeat(200)));
        let mut records: Vec<_> = others.map(|text| vec![bytes(&text)]).collect();
        records.push(vec![bytes(value)]);
        dns.set_strings(name, records);
    })
    .await;
    node.stop().await;
}

#[tokio::test]
async fn a_dns_that_fails_or_is_silent_or_down_is_a_502_and_changes_nothing() {
    let dns = DnsServer::start().await;
    let node = start(&dns).await;
    let domain = verified(&node.api, &dns).await;
    let servers = dns.setting();
    for (mode, said) in [(Mode::Fails, "SERVFAIL"), (Mode::Silent, "did not answer in time")] {
        dns.set_mode(mode);
        let problem = check(&node.api, &domain).await.expect_problem(502, "dns_failed");
        let detail = text(&problem, "detail");
        assert!(detail.contains(said), "{detail}");
        // Whom the operator asks is for the log.
        let (host, port) = servers.rsplit_once(':').expect("a port");
        assert!(!detail.contains(host) && !detail.contains(port), "{detail}");
        assert_eq!(get(&node.api, &domain).await, domain);
    }
    drop(dns);
    let begun = Instant::now();
    let problem = check(&node.api, &domain).await.expect_problem(502, "dns_failed");
    assert!(!text(&problem, "detail").contains("127.0.0.1"), "{problem}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(get(&node.api, &domain).await, domain);
    assert_eq!(events(&node.api, "domain.lost").await.len(), 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_organisation_does_not_keep_the_others_from_checking() {
    let dns = DnsServer::start().await;
    let servers = dns.setting();
    let settings = [("dns.servers", servers.as_str()), ("dns.timeout_ms", "10000")];
    let node = TestNode::start_with(&settings).await;
    let (_, other) = node.tenant("Other", "live").await;
    let (ours, theirs) = (add(&node.api, "acme.example").await, add(&other, "b.example").await);
    dns.set_mode(Mode::Silent);
    let mut waiting = Vec::new();
    for number in 0..authrai::limits::DOMAIN_CHECKS_PER_ORGANIZATION_MAX {
        let (api, domain) = (node.api.clone(), add(&node.api, &format!("{number}.example")).await);
        let record = text(&domain["txt_record"], "name");
        waiting.push(tokio::spawn(async move { check(&api, &domain).await }));
        until("it to be under way", || async { (dns.times_asked(&record) > 0).then_some(()) })
            .await;
    }
    let answer = check(&node.api, &ours).await;
    answer.expect_problem(429, "limit_reached");
    assert!(answer.header("retry-after").is_some());
    dns.set_mode(Mode::Answers);
    assert_eq!(check(&other, &theirs).await.expect(200)["status"], "failed");
    for check in waiting {
        let answer = check.await.expect("an answer");
        assert!(matches!(answer.status.as_u16(), 200 | 502), "{}", answer.text);
    }
    check(&node.api, &ours).await.expect(200);
    node.stop().await;
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_does_not_answer() {
    let (silent, failing, good) =
        (DnsServer::start().await, DnsServer::start().await, DnsServer::start().await);
    silent.set_mode(Mode::Silent);
    failing.set_mode(Mode::Fails);
    let port = good.address.port();
    let servers = format!("{},{}, localhost:{port}", silent.setting(), failing.setting());
    let settings = [("dns.servers", servers.as_str()), ("dns.timeout_ms", "200")];
    let node = TestNode::start_with(&settings).await;
    verified(&node.api, &good).await;
    node.stop().await;
}

#[tokio::test]
async fn a_domain_whose_record_is_gone_is_marked_so_by_itself_and_comes_back() {
    let dns = DnsServer::start().await;
    let node = start_eager(&dns).await;
    let domain = verified(&node.api, &dns).await;
    let never = add(&node.api, "never.example").await;
    let has_status = async |status: &str| {
        until(status, || async {
            let now = get(&node.api, &domain).await;
            (now["status"] == status).then_some(now)
        })
        .await
    };
    let looked_again = async || {
        let before = dns.times_asked(RECORD);
        until("another look", || async { (dns.times_asked(RECORD) > before + 1).then_some(()) })
            .await;
    };
    looked_again().await;
    for mode in [Mode::Fails, Mode::Silent] {
        dns.set_mode(mode);
        looked_again().await;
        assert_eq!(get(&node.api, &domain).await["status"], "verified", "{mode:?}");
    }
    assert_eq!(events(&node.api, "domain.verified").await.len(), 1);

    dns.set_mode(Mode::Answers);
    dns.remove(RECORD);
    let lost = has_status("failed").await;
    assert_eq!(lost["seen"], json!(["NXDOMAIN: the name does not exist"]));
    assert!(lost["lost_at"].is_string() && lost["verified_at"].is_null(), "{lost}");
    let told = events(&node.api, "domain.lost").await;
    assert_eq!((told.len(), &told[0]["actor"]["type"]), (1, &json!("node")));
    assert_eq!(told[0]["data"]["domain_id"], domain["id"]);

    dns.set(RECORD, &[&value(&domain)]);
    let back = has_status("verified").await;
    assert!(back["lost_at"].is_null() && back["verified_at"].is_string(), "{back}");
    assert_eq!(events(&node.api, "domain.verified").await.len(), 2);
    assert_eq!(get(&node.api, &never).await, never, "one that never was verified is left alone");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_organisations_that_race_for_a_domain_one_gets_it() {
    let dns = DnsServer::start().await;
    let node = start(&dns).await;
    let (_, other) = node.tenant("Other", "live").await;
    let (ours, theirs) = (add(&node.api, "acme.example").await, add(&other, "acme.example").await);
    assert_ne!(value(&ours), value(&theirs));
    dns.set(RECORD, &[&value(&ours), &value(&theirs)]);
    let racing = (0..4).flat_map(|_| [check(&node.api, &ours), check(&other, &theirs)]);
    for answer in futures_util::future::join_all(racing).await {
        assert!(matches!(answer.status.as_u16(), 200 | 409), "{}", answer.text);
    }
    let statuses =
        [get(&node.api, &ours).await, get(&other, &theirs).await].map(|d| text(&d, "status"));
    let verified = statuses.iter().filter(|status| *status == "verified").count();
    assert_eq!(verified, 1, "{statuses:?}");

    let we_hold = statuses[0] == "verified";
    let (holder, held) = if we_hold { (&node.api, &ours) } else { (&other, &theirs) };
    let (loser, wanted) = if we_hold { (&other, &theirs) } else { (&node.api, &ours) };
    let problem = check(loser, wanted).await.expect_problem(409, "domain_taken");
    assert!(text(&problem, "detail").contains("another organisation"), "{problem}");
    assert_eq!(get(loser, wanted).await["status"], "pending");

    // Deleting it frees the name.
    holder.delete(&format!("/v1/domains/{}", text(held, "id"))).await.expect(200);
    assert_eq!(check(loser, wanted).await.expect(200)["status"], "verified");
    node.stop().await;
}

#[tokio::test]
async fn who_lost_a_domain_to_another_does_not_get_it_back_while_that_one_holds_it() {
    let dns = DnsServer::start().await;
    let node = start(&dns).await;
    let (_, other) = node.tenant("Other", "live").await;
    let ours = verified(&node.api, &dns).await;
    let theirs = add(&other, "acme.example").await;
    dns.set(RECORD, &[&value(&theirs)]);
    check(&other, &theirs).await.expect_problem(409, "domain_taken");
    assert_eq!(check(&node.api, &ours).await.expect(200)["status"], "failed");
    assert_eq!(check(&other, &theirs).await.expect(200)["status"], "verified");
    dns.set(RECORD, &[&value(&theirs), &value(&ours)]);
    check(&node.api, &ours).await.expect_problem(409, "domain_taken");
    dns.remove(RECORD);
    assert_eq!(check(&other, &theirs).await.expect(200)["status"], "failed");
    dns.set(RECORD, &[&value(&ours)]);
    assert_eq!(check(&node.api, &ours).await.expect(200)["status"], "verified");
    node.stop().await;
}

#[tokio::test]
async fn a_verification_shows_the_organisations_verified_domains() {
    let dns = DnsServer::start().await;
    let node = start(&dns).await;
    let agent = node.api.agent("a").await;
    let (token, _) = node.api.token(&agent, &["a"]).await;
    let (_, other) = node.tenant("Other", "live").await;
    let stranger = other.agent("b").await;
    let (foreign, _) = other.token(&stranger, &["a"]).await;
    let anybody = node.api.with_key(None);
    let shown = async || {
        let one = anybody.post("/v1/tokens/verify", &json!({"token": token})).await.expect(200);
        let batch = json!({"tokens": [token, foreign]});
        let batch = anybody.post("/v1/tokens/verify/batch", &batch).await.expect(200);
        assert_eq!(batch["results"][0]["verified_domains"], one["verified_domains"]);
        assert_eq!(batch["results"][1]["verified_domains"], json!([]), "of another organisation");
        one["verified_domains"].clone()
    };
    assert_eq!(shown().await, json!([]));
    let domain = verified(&node.api, &dns).await;
    add(&node.api, "pending.example").await;
    assert_eq!(shown().await, json!(["acme.example"]));
    let first = add(&node.api, "aaa.example").await;
    dns.set("_authrai-challenge.aaa.example", &[&value(&first)]);
    check(&node.api, &first).await.expect(200);
    assert_eq!(shown().await, json!(["aaa.example", "acme.example"]));
    dns.remove(RECORD);
    check(&node.api, &domain).await.expect(200);
    assert_eq!(shown().await, json!(["aaa.example"]));
    node.api.delete(&format!("/v1/domains/{}", text(&first, "id"))).await.expect(200);
    assert_eq!(shown().await, json!([]));
    node.stop().await;
}

#[tokio::test]
async fn domains_are_listed_found_and_deleted_and_no_name_stands_twice() {
    let dns = DnsServer::start().await;
    let node = start(&dns).await;
    let mut made = Vec::new();
    for name in ["a.example", "b.example", "bücher.example"] {
        made.push(add(&node.api, name).await);
    }
    assert_eq!(made[2]["domain"], "xn--bcher-kva.example");
    let page = node.api.get("/v1/domains?limit=2").await.expect(200);
    assert_eq!((&page["total"], &page["has_more"]), (&json!(3), &json!(true)));
    assert_eq!(page["data"], json!([made[2], made[1]]), "newest first");
    for name in ["A.example", "xn--bcher-kva.example."] {
        let twice = node.api.post("/v1/domains", &json!({"domain": name})).await;
        twice.expect_problem(409, "domain_exists");
    }
    for bad in ["localhost", "192.0.2.1", "*.a.example", "https://a.example/", ""] {
        let answer = node.api.post("/v1/domains", &json!({"domain": bad})).await;
        let problem = answer.expect_problem(422, "validation_failed");
        assert_eq!(problem["errors"][0]["field"], "domain", "{bad}");
    }
    let path = format!("/v1/domains/{}", text(&made[0], "id"));
    let gone = node.api.delete(&path).await.expect(200);
    assert_eq!(gone, json!({"id": made[0]["id"], "deleted": true}));
    node.api.delete(&path).await.expect_problem(404, "not_found");
    check(&node.api, &made[0]).await.expect_problem(404, "not_found");
    let again = add(&node.api, "a.example").await;
    assert_ne!(value(&again), value(&made[0]), "a new challenge");
    assert_eq!(events(&node.api, "domain.deleted").await.len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn domains_belong_to_the_organisation_and_to_no_other() {
    let dns = DnsServer::start().await;
    let node = start(&dns).await;
    let test = node.key("test", &["domains:read", "domains:write", "audit:read"]).await;
    let domain = verified(&node.api, &dns).await;
    assert_eq!(get(&test, &domain).await, domain);
    let of_test = format!("/v1/domains/{}", text(&domain, "id"));
    for refused in [
        test.post("/v1/domains", &json!({"domain": "b.example"})).await,
        test.delete(&of_test).await,
        check(&test, &domain).await,
    ] {
        refused.expect_problem(403, "wrong_kind_of_key");
    }
    assert_eq!(node.api.get("/v1/domains").await.expect(200)["total"], 1);
    assert_eq!(check(&node.api, &domain).await.expect(200)["status"], "verified");
    assert_eq!(events(&node.api, "domain.verified").await.len(), 1, "in the live chain");
    assert_eq!(events(&test, "domain.verified").await.len(), 0, "and not in the test chain");

    let (_, other) = node.tenant("Other", "live").await;
    let path = format!("/v1/domains/{}", text(&domain, "id"));
    other.get(&path).await.expect_problem(404, "not_found");
    other.delete(&path).await.expect_problem(404, "not_found");
    check(&other, &domain).await.expect_problem(404, "not_found");
    assert_eq!(other.get("/v1/domains").await.expect(200)["total"], 0);
    node.stop().await;
}

#[tokio::test]
async fn domains_survive_a_restart() {
    let dns = DnsServer::start().await;
    let node = start(&dns).await;
    let domain = verified(&node.api, &dns).await;
    let node = node.restart().await;
    assert_eq!(get(&node.api, &domain).await, domain);
    node.stop().await;
}
