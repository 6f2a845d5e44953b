//! What a delivery does over a real socket, and what it refuses to do.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use reqwest::dns::{Name, Resolve, Resolving};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// A target that answers every connection with these bytes, and counts them.
async fn target(answer: String) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (address, connections)
}

fn answer(head: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}

async fn post(deliverer: &Deliverer, url: &str) -> Answer {
    let secrets = [SigningSecret::mint()];
    let parcel = Parcel { url, id: "evt_1", timestamp_s: 1, secrets: &secrets, body: b"{\"a\":1}" };
    deliverer.post(parcel).await
}

fn deliverer(guard: Guard) -> Deliverer {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Deliverer::new(guard).expect("a client")
}

/// Every name leads to this address: to a public one when first asked, if `at_first` says so.
struct To {
    address: SocketAddr,
    at_first: Option<SocketAddr>,
    asked: AtomicUsize,
}

impl Resolve for To {
    fn resolve(&self, _: Name) -> Resolving {
        let first = self.asked.fetch_add(1, Ordering::SeqCst) == 0;
        let found = self.at_first.filter(|_| first).unwrap_or(self.address);
        Box::pin(async move {
            Ok(Box::new(std::iter::once(found)) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}

fn to(address: SocketAddr, at_first: Option<&str>) -> Arc<To> {
    let at_first = at_first.map(|text| SocketAddr::new(text.parse().expect("an address"), 0));
    Arc::new(To { address, at_first, asked: AtomicUsize::new(0) })
}

#[tokio::test]
async fn what_is_answered_is_told_with_its_status_and_its_first_kibibyte() {
    let deliverer = deliverer(Guard::of_system(true));
    for (head, status, fault) in [
        ("200 OK", 200, None),
        ("204 No Content", 204, None),
        ("404 Not Found", 404, Some(DeliveryFault::Status)),
        ("500 Oops", 500, Some(DeliveryFault::Status)),
    ] {
        let body = if status == 204 { String::new() } else { "é".repeat(3_000) };
        let (address, _) = target(answer(head, &body)).await;
        let came = post(&deliverer, &format!("http://{address}/")).await;
        assert_eq!((came.status, came.fault), (Some(status), fault));
        assert!(body.starts_with(came.body.trim_end_matches('\u{fffd}')));
        assert!(came.body.len() <= limits::WEBHOOK_BODY_KEPT_BYTES);
        assert!(status == 204 || came.body.len() > 1_000);
    }
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let (inner, reached) = target(answer("200 OK", "")).await;
    let head = format!("307 Temporary Redirect\r\nlocation: http://{inner}/");
    let (outer, _) = target(answer(&head, "")).await;
    let came = post(&deliverer(Guard::of_system(true)), &format!("http://{outer}/")).await;
    assert_eq!((came.status, came.fault), (Some(307), Some(DeliveryFault::Status)));
    assert_eq!(reached.load(Ordering::SeqCst), 0, "the redirect was followed");
}

#[tokio::test]
async fn a_private_address_is_not_even_connected_to() {
    let (address, reached) = target(answer("200 OK", "")).await;
    let port = address.port();
    let guarded = deliverer(Guard::new(to(address, None), false));
    for url in [
        format!("https://hooks.example:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("https://2130706433:{port}/"),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
        format!("http://hooks.example:{port}/"),
    ] {
        let came = post(&guarded, &url).await;
        assert_eq!((came.status, came.fault), (None, Some(DeliveryFault::Forbidden)), "{url}");
    }
    assert_eq!(reached.load(Ordering::SeqCst), 0, "a connection was made");
}

#[tokio::test]
async fn a_name_that_was_public_when_it_was_checked_and_is_not_when_connected_to_is_refused() {
    let (address, reached) = target(answer("200 OK", "")).await;
    let resolver = to(address, Some("8.8.8.8"));
    let url = format!("https://hooks.example:{}/", address.port());
    // Somebody's check, before the connection.
    let check = Guard::new(Arc::clone(&resolver) as Arc<dyn Resolve>, false);
    let checked = check.resolve("hooks.example".parse().expect("a name")).await;
    assert!(checked.is_ok() && check_url(&url, false).is_ok(), "public at first");
    let came = post(&deliverer(Guard::new(resolver, false)), &url).await;
    assert_eq!(came.fault, Some(DeliveryFault::Forbidden));
    assert_eq!(reached.load(Ordering::SeqCst), 0, "a connection was made");
}

#[tokio::test]
async fn a_name_is_connected_to_where_it_was_found() {
    let (address, reached) = target(answer("200 OK", "")).await;
    let came = post(
        &deliverer(Guard::new(to(address, None), true)),
        &format!("http://hooks.example:{}/", address.port()),
    )
    .await;
    assert_eq!((came.status, came.fault), (Some(200), None));
    assert_eq!(reached.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_cannot_be_reached_says_how() {
    let deliverer = deliverer(Guard::of_system(true));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed = listener.local_addr().expect("an address");
    drop(listener);
    let came = post(&deliverer, &format!("http://{closed}/")).await;
    assert_eq!((came.status, came.fault), (None, Some(DeliveryFault::Unreachable)));
    let came = post(&deliverer, "http://no-such-name.invalid/").await;
    assert_eq!(came.fault, Some(DeliveryFault::Unresolved));
    let (garbled, _) = target("nonsense\r\n\r\n".to_owned()).await;
    let came = post(&deliverer, &format!("http://{garbled}/")).await;
    assert_eq!(came.fault, Some(DeliveryFault::Unreachable));
}

#[tokio::test]
async fn what_takes_too_long_is_given_up_also_while_its_body_drips() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let timeout = Duration::from_millis(150);
    let impatient = Deliverer::within(Guard::of_system(true), timeout).expect("a client");
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let holding = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let _ = stream.read(&mut [0; 4096]).await;
            stream.write_all(answer.as_bytes()).await.expect("written");
            std::future::pending::<()>().await;
        });
        let came = post(&impatient, &format!("http://{address}/")).await;
        assert_eq!(came.fault, Some(DeliveryFault::Timeout), "{answer:?}");
        assert!(came.latency_ms >= 150);
        holding.abort();
    }
}
