//! The commands of `docs/domains.md`, run against a node that asks the page's own DNS server.

use std::{
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use crate::harness::{TestNode, free_address, until};

const PAGE: &str = include_str!("../../docs/domains.md");

/// The fenced blocks of the page in these languages, in order, each with its language.
fn blocks(languages: &[&'static str]) -> Vec<(&'static str, &'static str)> {
    let fenced = PAGE.split("\n```").skip(1).step_by(2);
    let block = fenced.filter_map(|text| text.split_once('\n'));
    block.filter(|(language, _)| languages.contains(language)).collect()
}

/// The page's own DNS server; it ends when dropped.
struct Python(Child);

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Python {
    async fn start(folder: &Path, port: u16) -> Self {
        let (_, script) = blocks(&["python"])[0];
        std::fs::write(folder.join("txt.py"), script).expect("written");
        let arguments = ["txt.py", &port.to_string(), "zone.txt"];
        let child = Command::new("python3").args(arguments).current_dir(folder).spawn();
        let server = Self(child.expect("python3 is there"));
        let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        client.connect(("127.0.0.1", port)).await.expect("connected");
        // A question for the root's name: no label, then type and class.
        let question = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\0\0\x10\0\x01";
        until("the page's DNS server", || async {
            let _ = client.send(question).await;
            let mut buffer = [0; 512];
            let answer = client.recv(&mut buffer);
            tokio::time::timeout(Duration::from_millis(50), answer).await.ok()?.ok()
        })
        .await;
        server
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_print_what_it_shows() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_address().port();
    let _server = Python::start(folder.path(), port).await;
    let servers = format!("127.0.0.1:{port}");
    let node = TestNode::start_with(&[("dns.servers", &servers)]).await;
    let mut blocks = blocks(&["sh", "json"]).into_iter().peekable();
    let mut ran = 0;
    while let Some((_, script)) = blocks.next() {
        let output = Command::new("bash")
            .args(["-c", &format!("set -euo pipefail\n{script}")])
            .current_dir(folder.path())
            .env("AUTHRAI_URL", &node.api.url)
            .env("AUTHRAI_KEY", node.api.key.as_deref().expect("a key"))
            .output()
            .expect("bash");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let shown =
            blocks.next_if(|(language, _)| *language == "json").map_or("", |(_, text)| text);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), shown.trim(), "{script}");
        ran += 1;
    }
    assert_eq!(ran, 4);
    node.stop().await;
}
