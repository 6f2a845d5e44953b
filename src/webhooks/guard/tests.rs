//! Every kind of address that webhooks may not go to, however it is spelled or found.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn is_refused(address: &str) -> bool {
    refused(address.parse().expect("an address")).is_some()
}

#[test]
fn addresses_outside_the_public_internet_are_refused_by_kind() {
    for (kind, addresses) in [
        ("loopback", &["127.0.0.1", "127.255.255.254", "::1"][..]),
        (
            "private",
            &["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1"],
        ),
        ("link-local", &["169.254.1.1", "fe80::1", "febf::1"]),
        ("metadata", &["169.254.169.254", "fd00:ec2::254"]),
        ("mapped IPv4", &["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8"]),
        ("compatible IPv4", &["::127.0.0.1", "::8.8.8.8"]),
        ("NAT64", &["64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::1"]),
        ("6to4", &["2002:7f00:1::", "2002:808:808::1", "192.88.99.1"]),
        ("Teredo and protocols", &["2001::1", "2001:1ff:ffff::", "192.0.0.1"]),
        ("unspecified", &["0.0.0.0", "0.1.2.3", "::"]),
        ("multicast", &["224.0.0.1", "239.255.255.255", "ff02::1"]),
        ("shared", &["100.64.0.1", "100.127.255.255"]),
        ("benchmark", &["198.18.0.1", "198.19.255.255", "2001:2::1"]),
        ("documentation", &["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"]),
        ("reserved", &["240.0.0.1", "255.255.255.255", "100::1", "4000::1", "5f00::1", "fec0::1"]),
    ] {
        for address in addresses {
            assert!(is_refused(address), "{kind}: {address}");
        }
    }
}

#[test]
fn addresses_of_the_public_internet_are_let_through_up_to_the_edges() {
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2000::1",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2003::1",
        "2606:4700::1111",
        "3ffe:ffff::1",
    ] {
        assert!(!is_refused(address), "{address}");
    }
}

#[test]
fn a_literal_address_is_judged_however_it_is_spelled() {
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "0",
        "10.1",
        "0xa.0.0.1",
        "192.168.257",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[::7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "localhost",
        "LOCALHOST",
        "api.localhost.",
    ] {
        let url = format!("https://{host}/hook");
        let refusal = check_url(&url, false).expect_err(host);
        assert!(refusal.contains("public internet"), "{host}: {refusal}");
    }
    for host in ["8.8.8.8", "[2606:4700::1111]", "example.com", "134744072", "münchen.example"] {
        assert!(check_url(&format!("https://{host}/hook"), false).is_ok(), "{host}");
    }
}

#[test]
fn a_url_is_https_without_what_would_not_be_sent() {
    for (url, said) in [
        ("http://example.com/", "https"),
        ("ftp://example.com/", "https"),
        ("file:///etc/passwd", "https"),
        ("https://", "URL"),
        ("example.com", "URL"),
        ("", "URL"),
        ("https://user@example.com/", "user name"),
        ("https://:secret@example.com/", "user name"),
        ("https://example.com/#top", "fragment"),
        ("https://example.com/a b", "spaces"),
        ("https://exam\nple.com/", "control"),
    ] {
        let refusal = check_url(url, false).expect_err(url);
        assert!(refusal.contains(said), "{url}: {refusal}");
        assert!(!refusal.contains("secret"), "{refusal}");
    }
    let long = format!("https://example.com/{}", "x".repeat(limits::WEBHOOK_URL_MAX_BYTES));
    assert!(check_url(&long, true).is_err());
    for url in ["http://127.0.0.1:9/", "http://localhost/", "https://[::1]/", "http://10.0.0.1/"] {
        assert!(check_url(url, true).is_ok(), "{url}");
    }
}

/// Answers each question with the next of its answers, and the last for ever.
struct Script(Vec<&'static [&'static str]>, AtomicUsize);

impl Script {
    fn guarded(answers: &[&'static [&'static str]], allow_private: bool) -> Guard {
        Guard::new(Arc::new(Self(answers.to_vec(), AtomicUsize::new(0))), allow_private)
    }
}

impl Resolve for Script {
    fn resolve(&self, _: Name) -> Resolving {
        let turn = self.1.fetch_add(1, Ordering::Relaxed).min(self.0.len() - 1);
        let parse = |text: &&str| SocketAddr::new(text.parse().expect("an address"), 0);
        let found: Vec<SocketAddr> = self.0[turn].iter().map(parse).collect();
        Box::pin(async move {
            Ok(Box::new(found.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}

async fn resolves(guard: &Guard) -> Result<usize, Box<dyn Error + Send + Sync>> {
    let name = "hooks.example".parse().expect("a name");
    Ok(guard.resolve(name).await?.count())
}

#[tokio::test]
async fn a_name_with_one_refused_address_is_refused_as_a_whole() {
    for answer in [
        &["8.8.8.8", "127.0.0.1"][..],
        &["10.0.0.1", "8.8.8.8"],
        &["2606:4700::1111", "8.8.8.8", "fe80::1"],
        &["::ffff:8.8.8.8"],
    ] {
        let error = resolves(&Script::guarded(&[answer], false)).await.expect_err("refused");
        assert!(error.is::<Forbidden>(), "{answer:?}: {error}");
        let open = Script::guarded(&[answer], true);
        assert_eq!(resolves(&open).await.expect("let through"), answer.len());
    }
    let good = Script::guarded(&[&["8.8.8.8", "2606:4700::1111"]], false);
    assert_eq!(resolves(&good).await.expect("let through"), 2);
}

#[tokio::test]
async fn a_name_that_changes_is_judged_anew_each_time() {
    let guard = Script::guarded(&[&["8.8.8.8"], &["127.0.0.1"]], false);
    assert_eq!(resolves(&guard).await.expect("public"), 1);
    for _ in 0..2 {
        assert!(resolves(&guard).await.expect_err("refused").is::<Forbidden>());
    }
}

#[tokio::test]
async fn a_name_without_an_address_says_so() {
    let guard = Script::guarded(&[&[]], false);
    assert!(resolves(&guard).await.expect_err("nothing").is::<Unresolved>());
}
