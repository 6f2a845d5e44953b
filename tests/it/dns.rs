//! A DNS server on loopback for tests, over UDP and TCP: it holds TXT records, and misbehaves when it
//! is told to.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use hickory_resolver::proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{
        Name, RData, Record,
        rdata::{CNAME, TXT},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
};

/// How the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As it should.
    Answers,
    /// SERVFAIL to everything.
    Fails,
    /// Not at all.
    Silent,
    /// Over UDP with a truncated message, over TCP as it should.
    Truncates,
}

/// One record: the strings that it is made of.
type Strings = Vec<Vec<u8>>;

#[derive(Debug)]
struct Zone {
    mode: Mode,
    texts: BTreeMap<String, Vec<Strings>>,
    aliases: BTreeMap<String, String>,
    asked: Vec<String>,
}

/// A running server; it stops when dropped.
pub struct DnsServer {
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    serving: Vec<JoinHandle<()>>,
}

impl DnsServer {
    pub async fn start() -> Self {
        let (udp, tcp) = sockets().await;
        let address = udp.local_addr().expect("an address");
        let zone = Arc::new(Mutex::new(Zone {
            mode: Mode::Answers,
            texts: BTreeMap::new(),
            aliases: BTreeMap::new(),
            asked: Vec::new(),
        }));
        let serving = vec![
            tokio::spawn(serve_udp(udp, Arc::clone(&zone))),
            tokio::spawn(serve_tcp(tcp, Arc::clone(&zone))),
        ];
        Self { address, zone, serving }
    }

    /// The value of `dns.servers` that asks this one.
    pub fn setting(&self) -> String {
        self.address.to_string()
    }

    pub fn set_mode(&self, mode: Mode) {
        self.zone.lock().expect("a zone").mode = mode;
    }

    /// Makes `values` the TXT records of `name`; with none, the name exists and has no record.
    pub fn set(&self, name: &str, values: &[&str]) {
        let strings = |value: &&str| vec![value.as_bytes().to_vec()];
        self.set_strings(name, values.iter().map(strings).collect());
    }

    /// The same, with records of several strings or of arbitrary bytes.
    pub fn set_strings(&self, name: &str, records: Vec<Strings>) {
        self.zone.lock().expect("a zone").texts.insert(name.to_owned(), records);
    }

    /// Makes `name` an alias (CNAME) of `target`.
    pub fn alias(&self, name: &str, target: &str) {
        self.zone.lock().expect("a zone").aliases.insert(name.to_owned(), target.to_owned());
    }

    /// Takes `name` out of the zone.
    pub fn remove(&self, name: &str) {
        self.zone.lock().expect("a zone").texts.remove(name);
    }

    /// How often `name` was asked for.
    pub fn times_asked(&self, name: &str) -> usize {
        self.zone.lock().expect("a zone").asked.iter().filter(|asked| *asked == name).count()
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.serving.iter().for_each(JoinHandle::abort);
    }
}

/// The same free port for both protocols.
async fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().expect("an address")).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for UDP and TCP");
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = [0; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        if let Some(answer) = answer(&zone, &buffer[..length], true) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Mutex<Zone>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(serve_stream(stream, Arc::clone(&zone)));
    }
}

async fn serve_stream(mut stream: TcpStream, zone: Arc<Mutex<Zone>>) {
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; length.into()];
        if stream.read_exact(&mut query).await.is_err() {
            return;
        }
        if let Some(answer) = answer(&zone, &query, false) {
            let length = u16::try_from(answer.len()).expect("a short answer");
            let framed = [&length.to_be_bytes(), answer.as_slice()].concat();
            if stream.write_all(&framed).await.is_err() {
                return;
            }
        }
    }
}

fn answer(zone: &Mutex<Zone>, query: &[u8], over_udp: bool) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    let asked = query.queries.first()?.clone();
    let mut zone = zone.lock().expect("a zone");
    let name = asked.name().to_ascii().trim_end_matches('.').to_lowercase();
    zone.asked.push(name.clone());
    let mut message = Message::response(query.metadata.id, OpCode::Query);
    message.metadata.recursion_available = true;
    message.add_query(asked);
    match zone.mode {
        Mode::Silent => return None,
        Mode::Fails => message.metadata.response_code = ResponseCode::ServFail,
        Mode::Truncates if over_udp => message.metadata.truncation = true,
        Mode::Answers | Mode::Truncates => fill(&mut message, &zone, &name),
    }
    message.to_vec().ok()
}

fn fill(message: &mut Message, zone: &Zone, name: &str) {
    let full = |name: &str| Name::from_ascii(format!("{name}.")).expect("a name");
    let mut name = name;
    while let Some(target) = zone.aliases.get(name) {
        let alias = RData::CNAME(CNAME(full(target)));
        message.add_answer(Record::from_rdata(full(name), 60, alias));
        name = target;
    }
    let Some(records) = zone.texts.get(name) else {
        message.metadata.response_code = ResponseCode::NXDomain;
        return;
    };
    for strings in records {
        let text = TXT::from_bytes(strings.iter().map(Vec::as_slice).collect());
        message.add_answer(Record::from_rdata(full(name), 60, RData::TXT(text)));
    }
}
